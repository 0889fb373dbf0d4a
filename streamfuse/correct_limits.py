"""From a believed drift to the correction that is applied: late to start, slow to move, bounded, and frozen in doubt.

Pure: time comes in as an argument. Lengths are output pixels at an output width of 640; `unit` scales them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from streamfuse.correct import Shift, length
from streamfuse.correct_belief import LEAST_NOISE, Belief

STOP_PX = 0.2
SIGNIFICANT, SIGNIFICANT_ALERT = 3.0, 2.0  # standard deviations of the drift; the second where a change was seen
RATE_PX_S = 0.75
"""Fastest movement of the correction: drift of 0.5 px/s can be caught up with. A knock is corrected in one step."""
KNOCK_PX = 2.5
RECENT, FEW = 8, 0.4
"""Frozen while fewer than this share of the recent estimates was trusted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A correction starts where drift and correction are `start_px` apart, and moves until they are `STOP_PX` apart.

    Beyond `most_px` the rig has to be calibrated again; the correction stays where it is. `noise_px`: of an estimate,
    at least.
    """

    start_px: float
    most_px: float
    noise_px: float


SHIFT = Limits(start_px=0.75, most_px=16.0, noise_px=LEAST_NOISE)
TURN = Limits(start_px=1.25, most_px=6.0, noise_px=0.4)
"""At a corner of the output; the most is 0.8 degrees or 1.5 % at 640x512. What moves within a scene changes the turn
between the spectra by the noise."""


class Follower:
    """Estimates of two numbers in, a correction out: belief, correction and doubt in one."""

    def __init__(self, unit: float, limits: Limits, *, apply: bool) -> None:
        """`unit`: what the two numbers are when the image moves by a pixel. Without `apply` nothing is corrected."""
        self._unit, self._limits, self._apply = unit, limits, apply
        self._belief = Belief(unit, limits.noise_px)
        self.applied: Shift = np.zeros(2)
        self._moving = False
        self._good: deque[bool] = deque(maxlen=RECENT)

    @property
    def drift(self) -> Shift:
        return self._belief.drift

    @property
    def spread(self) -> float:
        return self._belief.spread

    @property
    def trusted(self) -> float:
        """Share of the recent estimates that could be used."""
        return sum(self._good) / RECENT

    @property
    def frozen(self) -> bool:
        far = length(self._belief.drift) > self._limits.most_px * self._unit
        return self.trusted < FEW or far or not self._belief.settled

    def follow(self, estimate: Shift | None, seconds: float, *, new_scene: bool) -> None:
        """None: there is none that can be trusted."""
        self._belief.wait(seconds, new_scene=new_scene)
        heard = estimate is not None and self._belief.hear(estimate)
        self._good.append(heard)
        if heard and self._apply and not self.frozen:
            self._move(seconds)

    def _move(self, seconds: float) -> None:
        gap = self._belief.drift - self.applied
        size = length(gap)
        doubt = (SIGNIFICANT_ALERT if self._belief.alert else SIGNIFICANT) * self._belief.spread
        start, stop = max(self._limits.start_px * self._unit, doubt), STOP_PX * self._unit
        self._moving = size > (stop if self._moving else start)
        if not self._moving:
            return
        knocked = self._belief.alert and size > KNOCK_PX * self._unit
        step = size if knocked else min(size, RATE_PX_S * self._unit * seconds)
        self.applied = self.applied + gap * (step / size)
