"""Where a rising rate breaks the latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOST_PERCENT, SLOWER = 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Point:
    """One rate of a sweep. `p95_ms` is None where too few frames arrived to tell."""

    rate_hz: float
    p50_ms: float | None
    p95_ms: float | None
    not_fused_percent: float


def knee(points: Sequence[Point]) -> float | None:
    """The highest rate, counted from the lowest upwards, that still holds.

    It holds while at most 1 % of the frames are not fused and p95 is at most twice that of the lowest rate. None where
    even the lowest does not.
    """
    held: float | None = None
    first = points[0].p95_ms if points else None
    for point in points:
        if first is None or point.p95_ms is None:
            break
        if point.not_fused_percent > LOST_PERCENT or point.p95_ms > SLOWER * first:
            break
        held = point.rate_hz
    return held
