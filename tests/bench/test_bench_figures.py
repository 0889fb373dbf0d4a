"""From stamps to figures, on stamps whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from streamfuse.bench.figures import (
    COLUMNS,
    NONE,
    frames_told,
    interval,
    jitter,
    latency_ns,
    measured,
    residual_percent,
    slope,
    stages_ns,
    summary,
    table,
)
from streamfuse.bench.schedule import Schedule
from streamfuse.timing import STAGES

MS = 1_000_000
START = 5_000 * MS
PLAN = Schedule(tuple(range(0, 400 * MS, 10 * MS)), warm=10)


def row(number, *, skew=0, late_ms=0, steps_ms=(1, 1, 1, 1, 4, 1, 1, 2), **without):
    """Stages of so many ms each, from the due time on; `late_ms` of stall before the first."""
    at = START + PLAN.due_ns[number] if number != NONE else START
    stamps = [at, *(at + (late_ms + done) * MS for done in np.cumsum(steps_ms))]
    told = {stage: NONE if without.get(stage) else int(ns) for stage, ns in zip(STAGES, stamps, strict=True)}
    return (number, skew, *told.values())


def test_only_pairs_after_the_warm_up_count_each_once_in_order():
    rows = table([row(12), row(11), row(11), row(9), row(13, skew=NONE), row(14, received=True), row(NONE)])
    assert measured(rows, PLAN, "received")[:, 0].tolist() == [11, 12]


def test_latency_counts_from_the_schedule_whatever_the_frame_says_it_was_offered():
    rows = table([row(10), row(11, late_ms=30)])
    rows[:, COLUMNS.index("offered")] += 7 * MS
    assert (latency_ns(rows, PLAN, START, "received") // MS).tolist() == [12, 42]
    assert (latency_ns(rows, PLAN, START, "sent") // MS).tolist() == [10, 40]


def test_stages_add_up_to_the_total():
    rows = table([row(10), row(11, late_ms=30)])
    stages = stages_ns(rows, "received")
    assert list(stages) == list(STAGES[1:])
    assert (stages["computed"] // MS).tolist() == [4, 4]
    assert (stages["captured"] // MS).tolist() == [1, 31]
    assert residual_percent(stages, latency_ns(rows, PLAN, START, "received")) == 0


def test_a_stage_nobody_stamped_is_not_made_up():
    rows = table([row(10, registered=True), row(11)])
    stages = stages_ns(rows, "received")
    assert "registered" not in stages
    assert (stages["toned"] // MS).tolist() == [2, 2]


def test_a_total_that_its_stages_do_not_explain_is_told():
    rows = table([row(10), row(11)])
    total = latency_ns(rows, PLAN, START, "received")
    assert residual_percent(stages_ns(rows, "received"), total + MS) == pytest.approx(100 / 13, abs=0.001)
    rows[:, COLUMNS.index("matched")] += 9 * MS  # stamped after its successor: the stages overlap
    assert residual_percent(stages_ns(rows, "received"), total) > 2
    assert residual_percent({}, total[:0]) is None


@pytest.mark.parametrize(("count", "known"), [(2, 0), (19, 1), (20, 2), (99, 2), (100, 3), (9_999, 3), (10_000, 4)])
def test_a_percentile_without_enough_frames_is_withheld(count, known):
    told = summary(np.arange(count, dtype=np.int64) * MS)
    assert sum(told[name] is not None for name in ("p50", "p95", "p99", "p99.9")) == known
    assert told["n"] == count


def test_the_bootstrap_interval_holds_the_median_and_narrows_with_more_frames():
    chance = np.random.default_rng(1)
    widths = []
    for count in (200, 20_000):
        low, high = interval((chance.normal(10, 2, count) * MS).astype(np.int64), lambda v: float(np.median(v)))
        assert low <= 10 <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_jitter_of_even_and_uneven_outputs():
    even = np.arange(200, dtype=np.int64) * 10 * MS
    assert jitter(even) == {"sd": 0.0, "p99_minus_p50": 0.0}
    uneven = even + np.where(np.arange(200) % 2, 2 * MS, 0)
    assert jitter(uneven)["sd"] == pytest.approx(2, abs=0.02)
    assert jitter(even[:2]) == {"sd": None, "p99_minus_p50": None}


def test_the_slope_of_a_leak_is_found_under_a_sawtooth():
    at_ns = np.arange(0, 3600, 1.0) * 1e9
    sawtooth = 100 + 5 * (np.arange(3600) % 60) / 60
    gain, error = slope(at_ns.tolist(), (sawtooth + 2.0 * at_ns / 3.6e12).tolist())
    assert gain == pytest.approx(2.0, abs=0.1)
    assert error < 0.5
    flat, _ = slope(at_ns.tolist(), sawtooth.tolist())
    assert abs(flat) < 0.05
    assert slope([0, 1, 2], [1.0, 1.0, 1.0]) is None


def test_what_a_run_tells_frames_lone_and_missing_ones_apart():
    rows = [row(number, skew=-2 * MS) for number in range(40) if number not in (20, 21)] + [row(21, skew=NONE)]
    told = frames_told(table(rows), PLAN, START, "received")
    assert told["frames"] == {"warm_up": 10, "offered": 30, "fused": 28, "alone": 1, "missing": 1}
    assert told["rate_hz"]["offered"] == pytest.approx(100)
    assert told["latency_ms"]["p50"] == 12
    assert told["skew_ms"]["p50"] == 2
    assert told["residual_percent"] == 0
    assert set(told["intervals_ms"]) == {"p50", "p95"}


def test_a_run_without_any_frame_says_so_instead_of_failing():
    told = frames_told(table([]), PLAN, START, "received")
    assert told["frames"]["missing"] == 30
    assert told["latency_ms"]["p50"] is None
    assert told["residual_percent"] is None
    assert told["rate_hz"]["achieved"] is None
