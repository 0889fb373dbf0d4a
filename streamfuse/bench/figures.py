"""From stamps to figures: percentiles with enough samples, their uncertainty, jitter, slopes. Pure.

Latency counts from the scheduled capture time, so a stall charges every frame behind it. Frames that never came have
no latency: their number stands beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamfuse.bench.schedule import Schedule
from streamfuse.frames import FusedFrame
from streamfuse.timing import STAGES, percentile_summary

Rows = NDArray[np.int64]
COLUMNS = ("number", "skew", *STAGES)
"""Columns of a table of outputs, one row each: number of the RGB frame (-1 - n: thermal frame n, alone), skew in ns
(`NONE`: alone), every stamp."""
NONE = np.iinfo(np.int64).min
P999_NEEDS = 10_000
RESIDUAL_PERCENT = 2.0
RESAMPLES, BLOCKS, CONFIDENCE = 200, 20, 95.0
FLOORS, STUDENT_8 = 10, 2.306
"""Memory is followed by the lowest value of each tenth of the run; Student's t (97.5 %) for the 8 degrees left."""

Numbers = dict[str, float | int | None]


def row_of(frame: FusedFrame) -> tuple[int, ...]:
    """One output as a row of a table with `COLUMNS`."""
    thermal = NONE if frame.thermal is None else -1 - frame.thermal.sequence
    number = thermal if frame.rgb is None else frame.rgb.sequence
    skew = NONE if frame.skew_ns is None else frame.skew_ns
    return (number, skew, *(frame.stamps.get(stage, NONE) for stage in STAGES))


def table(rows: Sequence[tuple[int, ...]]) -> Rows:
    return np.array(rows, dtype=np.int64).reshape(-1, len(COLUMNS))


def of_cameras(rows: Rows, cameras: str) -> Rows:
    """The outputs that count in a cell with these cameras; those of a single one are numbered by its frames, skew 0."""
    if cameras == "both":
        return rows
    alone = rows[rows[:, 1] == NONE]
    alone[:, 1] = 0
    if cameras == "thermal":
        alone[:, 0] = -1 - alone[:, 0]
    return alone


def measured(rows: Rows, plan: Schedule, until: str) -> Rows:
    """Pairs after the warm-up that got as far as `until`, each once, in order of their RGB frames."""
    kept = rows[arrived(rows, plan, until) & (rows[:, 1] != NONE)]
    _, first = np.unique(kept[:, 0], return_index=True)
    return kept[first]


def arrived(rows: Rows, plan: Schedule, until: str) -> NDArray[np.bool_]:
    """Which rows show an RGB frame after the warm-up that got as far as `until`, paired or alone."""
    return (rows[:, 0] >= plan.warm) & (rows[:, COLUMNS.index(until)] != NONE)


def latency_ns(rows: Rows, plan: Schedule, start_ns: int, until: str) -> NDArray[np.int64]:
    """From the scheduled capture time, by the schedule itself, to `until`."""
    due_ns = np.array(plan.due_ns, dtype=np.int64)[rows[:, 0]]
    return rows[:, COLUMNS.index(until)] - start_ns - due_ns


def stages_ns(rows: Rows, until: str) -> dict[str, NDArray[np.int64]]:
    """Duration of every stage up to `until`; one that was not stamped on every frame makes its successor longer."""
    names = STAGES[: STAGES.index(until) + 1]
    stamped = [name for name in names if len(rows) and (rows[:, COLUMNS.index(name)] != NONE).all()]
    columns = {name: rows[:, COLUMNS.index(name)] for name in stamped}
    return {after: columns[after] - columns[before] for before, after in itertools.pairwise(stamped)}


def residual_percent(stages: dict[str, NDArray[np.int64]], total: NDArray[np.int64]) -> float | None:
    """Largest difference, over frames, between the total and the sum of its stages, as a share of the total.

    A stage that ends before it begins counts as 0: overlapping or disordered stamps show here.
    """
    if not len(total):
        return None
    parts = np.sum([np.maximum(stage, 0) for stage in stages.values()], axis=0)
    return round(float((np.abs(parts - total) / np.maximum(np.abs(total), 1)).max() * 100), 3)


def summary(values_ns: NDArray[np.int64]) -> Numbers:
    """p50, p95, p99, p99.9, max and mean in ms, and n; a percentile without enough samples is None."""
    told: Numbers = dict(percentile_summary(values_ns))
    count = told.pop("n")
    enough = len(values_ns) >= P999_NEEDS
    told["p99.9"] = round(float(np.percentile(values_ns, 99.9)) / 1e6, 3) if enough else None
    told["max"] = round(float(values_ns.max()) / 1e6, 3) if len(values_ns) else None
    told["mean"] = round(float(values_ns.mean()) / 1e6, 3) if len(values_ns) else None
    return {**told, "n": count}


def interval(values: NDArray[np.int64], figure: Callable[[NDArray[np.int64]], float], seed: int = 0) -> list[float]:
    """95 % bootstrap interval of `figure` in ms; whole blocks are drawn, since neighbouring frames are alike."""
    blocks: list[NDArray[np.int64]] = np.array_split(values, min(BLOCKS, len(values)))
    chance = np.random.default_rng(seed)
    drawn = [
        figure(np.concatenate([blocks[int(k)] for k in chance.integers(0, len(blocks), len(blocks))]))
        for _ in range(RESAMPLES)
    ]
    tails = [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2]
    return [round(float(value) / 1e6, 3) for value in np.percentile(drawn, tails)]


def intervals(values_ns: NDArray[np.int64]) -> dict[str, list[float]]:
    """Of each percentile that `summary` gives."""
    known = [name for name in ("p50", "p95", "p99", "p99.9") if summary(values_ns)[name] is not None]
    return {name: interval(values_ns, lambda v, q=float(name[1:]): float(np.percentile(v, q))) for name in known}


def jitter(arrivals_ns: NDArray[np.int64]) -> Numbers:
    """Standard deviation of the time between outputs, and its p99 minus its p50, in ms."""
    gaps = np.diff(np.sort(arrivals_ns))
    if len(gaps) < 2:
        return {"sd": None, "p99_minus_p50": None}
    spread = float(np.percentile(gaps, 99) - np.percentile(gaps, 50)) / 1e6 if len(gaps) >= 100 else None
    return {
        "sd": round(float(gaps.std(ddof=1)) / 1e6, 3),
        "p99_minus_p50": None if spread is None else round(spread, 3),
    }


def slope(at_ns: Sequence[int], values: Sequence[float]) -> tuple[float, float] | None:
    """Slope per hour and half the width of its 95 % interval, by least squares over the floor of each tenth.

    None with fewer than two samples in each tenth: a short or idle run cannot pass.
    """
    if len(values) < 2 * FLOORS:
        return None
    hours = [float(np.mean(part)) / 3.6e12 for part in np.array_split(np.asarray(at_ns, dtype=np.float64), FLOORS)]
    floors = [float(np.min(part)) for part in np.array_split(np.asarray(values, dtype=np.float64), FLOORS)]
    x = np.array(hours) - np.mean(hours)
    y = np.array(floors) - np.mean(floors)
    gain = float((x * y).sum() / (x * x).sum())
    error = math.sqrt(float(((y - gain * x) ** 2).sum()) / (FLOORS - 2) / float((x * x).sum()))
    return gain, STUDENT_8 * error


def frames_told(rows: Rows, plan: Schedule, start_ns: int, until: str) -> dict[str, Any]:
    """Everything that the stamps of one run say about its measured part."""
    kept = measured(rows, plan, until)
    total, stages = latency_ns(kept, plan, start_ns, until), stages_ns(kept, until)
    expected, arrivals = len(plan.due_ns) - plan.warm, kept[:, COLUMNS.index(until)]
    span_s = float(arrivals.max() - arrivals.min()) / 1e9 if len(kept) > 1 else 0.0
    alone = int((arrived(rows, plan, until) & (rows[:, 1] == NONE)).sum())
    return {
        "frames": {
            "warm_up": plan.warm,
            "offered": expected,
            "fused": len(kept),
            "alone": alone,
            "missing": expected - len(kept) - alone,
        },
        "rate_hz": {
            "offered": round((expected - 1) / plan.seconds, 3) if expected > 1 else None,
            "achieved": round((len(kept) - 1) / span_s, 3) if span_s else None,
        },
        "latency_ms": summary(total),
        "intervals_ms": intervals(total),
        "stages_ms": {name: summary(values) for name, values in stages.items()},
        "residual_percent": residual_percent(stages, total),
        "jitter_ms": jitter(arrivals),
        "skew_ms": summary(np.abs(kept[:, 1])),
    }
