"""Stage stamps and percentiles: what took how long, told only where there are enough samples to tell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streamfuse.frames import Stamps

STAGES = ("offered", "captured", "matched", "registered", "toned", "computed", "fused", "sent", "received")
"""Every stamp a frame can carry, in the data's order. A stage lasts from the stamp before it to its own.

offered: scheduled capture time (what latency counts from); captured: handed over by the source; matched: left the
PairMatcher; registered: map attached; toned / computed: tone curve known / graph done, the Fuser's inner marks;
fused: FusedFrame complete; sent: handed to the socket; received: in the consumer's hands.
"""


def stage_durations_ns(stamps: Stamps) -> dict[str, int]:
    """Duration of every stage that has a stamp, from the nearest stamp before it; their sum is last minus first."""
    durations: dict[str, int] = {}
    before = None
    for stage in STAGES:  # a plain loop: this runs once a frame, between its last stamp and the socket
        if (at := stamps.get(stage)) is not None:
            if before is not None:
                durations[stage] = at - before
            before = at
    return durations


def percentile_summary(values_ns: Sequence[int] | Iterable[int]) -> dict[str, float | int | None]:
    """p50, p95, p99 in milliseconds and n; a percentile without enough samples (3, 20, 100) is None, never guessed."""
    values = np.asarray(list(values_ns), dtype=np.float64) / 1e6
    needed = {"p50": 3, "p95": 20, "p99": 100}
    summary: dict[str, float | int | None] = {
        name: round(float(np.percentile(values, float(name[1:]))), 3) if len(values) >= enough else None
        for name, enough in needed.items()
    }
    return {**summary, "n": len(values)}
