"""When frames are due: mean rate, order, warm-up, and that the same seed means the same times."""

from __future__ import annotations

import numpy as np
import pytest

from streamfuse.bench.schedule import BURST, schedule


def plan(arrivals="fixed", rate_hz=30.0, seconds=20.0, warmup_s=2.0, warmup_frames=100, seed=0):
    return schedule(arrivals, rate_hz, seconds=seconds, warmup_s=warmup_s, warmup_frames=warmup_frames, seed=seed)


def test_fixed_frames_come_once_a_period():
    due = np.diff(plan(rate_hz=50.0).due_ns)
    assert set(due.tolist()) <= {20_000_000, 20_000_001}


@pytest.mark.parametrize("arrivals", ["fixed", "poisson", "bursts"])
def test_every_schedule_rises_and_has_the_mean_rate(arrivals):
    due = np.array(plan(arrivals, seconds=300).due_ns)
    assert due[0] == 0
    assert (np.diff(due) > 0).all()
    assert (len(due) - 1) / (due[-1] / 1e9) == pytest.approx(30, rel=0.05)


def test_poisson_gaps_spread_as_much_as_their_mean_and_follow_from_the_seed():
    gaps = np.diff(plan("poisson", seconds=300).due_ns) / 1e9
    assert gaps.std() == pytest.approx(1 / 30, rel=0.1)
    assert plan("poisson").due_ns == plan("poisson").due_ns
    assert plan("poisson").due_ns != plan("poisson", seed=1).due_ns


def test_a_burst_comes_at_four_times_the_rate_then_pauses():
    gaps = np.round(np.diff(plan("bursts", rate_hz=10.0).due_ns[: 2 * BURST]) / 1e6)
    assert gaps.tolist() == [25, 25, 25, 325, 25, 25, 25]


@pytest.mark.parametrize(
    ("rate_hz", "first"),
    [(30.0, 100), (100.0, 200), (10.0, 100)],  # 100 frames last 3.3 s; 2 s are 200 frames; 100 frames last 10 s
)
def test_the_warm_up_is_two_seconds_and_a_hundred_frames(rate_hz, first):
    made = plan(rate_hz=rate_hz, seconds=5.0)
    assert made.warm == first
    assert made.due_ns[made.warm] >= 2e9
    assert made.seconds >= 5.0
