"""When each frame is due: a schedule fixed before the first frame, so that no stall of the consumer can change it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BURST = 4
"""Frames of one burst; they come at four times the rate, then the camera pauses until the mean rate is met."""
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due times in ns after the first frame, strictly rising; frames from number `warm` on are measured."""

    due_ns: tuple[int, ...]
    warm: int

    @property
    def seconds(self) -> float:
        """Length of the measured part."""
        return (self.due_ns[-1] - self.due_ns[self.warm]) / SECOND_NS


def schedule(
    arrivals: str, rate_hz: float, *, seconds: float, warmup_s: float, warmup_frames: int, seed: int
) -> Schedule:
    """At least `seconds` after a warm-up of `warmup_s` and `warmup_frames`, whichever ends later.

    arrivals "fixed": one frame per period; "poisson": independent exponential gaps (MLPerf's server scenario);
    "bursts": groups of `BURST`. All have the mean rate `rate_hz`; random ones follow from `seed`.
    """
    count = math.ceil(rate_hz * (max(warmup_s, warmup_frames / rate_hz) + seconds)) + BURST
    due_ns = _due_ns(arrivals, count, SECOND_NS / rate_hz, seed)
    late_enough = (number for number, at_ns in enumerate(due_ns) if at_ns >= warmup_s * SECOND_NS)
    warm = min(max(warmup_frames, next(late_enough, count)), count - 2)
    return Schedule(due_ns, warm)


def _due_ns(arrivals: str, count: int, period_ns: float, seed: int) -> tuple[int, ...]:
    numbers = np.arange(count)
    if arrivals == "poisson":
        gaps = np.random.default_rng(seed).exponential(period_ns, count - 1)
        due = np.concatenate([[0.0], np.cumsum(gaps)])
    elif arrivals == "bursts":
        due = (numbers // BURST * BURST + numbers % BURST / BURST) * period_ns
    else:
        due = numbers * period_ns
    rising = np.rint(due).astype(np.int64) + numbers  # a nanosecond apart at least, however short a gap
    return tuple(int(at_ns) for at_ns in rising)
