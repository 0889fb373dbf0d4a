"""From a believed drift to the correction that is applied: late to start, slow to move, bounded, and frozen in doubt.

Pure: time comes in as an argument. Lengths are output pixels; `unit` = output width / 640 scales the limits.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from streamfuse.correct import Reading, Shift, length
from streamfuse.correct_belief import Belief
from streamfuse.frames import Alignment

START_PX, STOP_PX = 0.75, 0.2
"""A correction starts where drift and correction are this far apart, and moves until they are this near."""
SIGNIFICANT, SIGNIFICANT_ALERT = 3.0, 2.0  # standard deviations of the drift; the second where a change was seen
RATE_PX_S = 0.75
"""Fastest movement of the correction: drift of 0.5 px/s can be caught up with. A knock is corrected in one step."""
KNOCK_PX = 2.5
LIMIT_PX = 16.0
"""Beyond this the rig has to be calibrated again; the correction stays where it is."""
RECENT, FEW = 8, 0.4
"""Frozen while fewer than this share of the recent estimates was trusted."""


class Tracker:
    """Readings in, an Alignment out: belief, correction and state in one."""

    def __init__(self, unit: float = 1.0, *, apply: bool = True) -> None:
        self._unit, self._apply = unit, apply
        self._belief = Belief(unit)
        self._applied: Shift = np.zeros(2)
        self._moving = False
        self._good: deque[bool] = deque(maxlen=RECENT)

    def follow(self, reading: Reading | None, seconds: float) -> Alignment:
        """Take in the reading made `seconds` after the one before; None where none could be made."""
        self._belief.wait(seconds, new_scene=reading is not None and reading.new_scene)
        heard = reading is not None and reading.sure and self._belief.hear(reading)
        self._good.append(heard)
        frozen = self._frozen()
        if not frozen and heard and self._apply:
            self._move(seconds)
        return self._told("frozen" if frozen else "following" if self._apply else "watching")

    def _frozen(self) -> bool:
        trusted = sum(self._good) / RECENT
        far = length(self._belief.drift_px) > LIMIT_PX * self._unit
        return trusted < FEW or far or not self._belief.settled

    def _move(self, seconds: float) -> None:
        gap = self._belief.drift_px - self._applied
        size = length(gap)
        doubt = (SIGNIFICANT_ALERT if self._belief.alert else SIGNIFICANT) * self._belief.spread_px
        start, stop = max(START_PX * self._unit, doubt), STOP_PX * self._unit
        self._moving = size > (stop if self._moving else start)
        if not self._moving:
            return
        knocked = self._belief.alert and size > KNOCK_PX * self._unit
        step = size if knocked else min(size, RATE_PX_S * self._unit * seconds)
        self._applied = self._applied + gap * (step / size)

    def _told(self, state: str) -> Alignment:
        drift_x, drift_y = self._belief.drift_px.tolist()
        applied_x, applied_y = self._applied.tolist()
        return Alignment(
            state=state,
            drift_px=(drift_x, drift_y),
            spread_px=self._belief.spread_px,
            applied_px=(applied_x, applied_y),
            trusted=sum(self._good) / RECENT,
        )
