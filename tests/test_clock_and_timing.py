"""Replay times on the monotonic clock, stage durations, percentiles."""

from __future__ import annotations

import threading
import time

import pytest

from streamfuse.clock import ReplayClock, boot_id, now_ns, wall_from_monotonic_ns
from streamfuse.timing import percentile_summary, stage_durations_ns


def test_replay_times_keep_their_distances_on_the_monotonic_clock():
    clock = ReplayClock(5_000, pace="fast")
    first = clock.capture_ns(5_000)
    assert abs(first - now_ns()) < 1_000_000_000
    assert clock.capture_ns(1_005_000) - first == 1_000_000
    assert ReplayClock(0, speed=2.0).capture_ns(10**9) - ReplayClock(0, speed=2.0).start_ns < 6 * 10**8


def test_speed_compresses_recording_time():
    clock = ReplayClock(0, pace="fast", speed=4.0)
    assert clock.capture_ns(4_000) - clock.capture_ns(0) == 1_000


def test_real_pace_waits_until_the_frame_is_due_and_close_wakes_it():
    clock, closed = ReplayClock(0), threading.Event()
    due = clock.capture_ns(20_000_000)
    assert clock.wait_until(due, closed)
    assert now_ns() >= due
    threading.Timer(0.05, closed.set).start()
    began = time.monotonic()
    assert not clock.wait_until(clock.capture_ns(60 * 10**9), closed)
    assert time.monotonic() - began < 5


def test_fast_pace_does_not_wait():
    clock = ReplayClock(0, pace="fast")
    assert clock.wait_until(clock.capture_ns(3600 * 10**9), threading.Event())


def test_both_streams_of_a_replay_share_one_start():
    clock = ReplayClock(0)
    starts = []
    threads = [threading.Thread(target=lambda: starts.append(clock.start_ns)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(starts)) == 1


def test_wall_time_of_now_is_now():
    assert abs(wall_from_monotonic_ns(now_ns()) - time.time_ns()) < 50_000_000


def test_boot_id_is_stable():
    assert boot_id() == boot_id() != ""


def test_stage_durations_add_up_to_the_total_whatever_order_the_stamps_came_in():
    stamps = {"fused": 900, "offered": 100, "matched": 400, "captured": 150}
    durations = stage_durations_ns(stamps)
    assert durations == {"captured": 50, "matched": 250, "fused": 500}
    assert sum(durations.values()) == 800


@pytest.mark.parametrize(
    ("count", "known"), [(0, []), (3, ["p50"]), (20, ["p50", "p95"]), (100, ["p50", "p95", "p99"])]
)
def test_percentiles_are_withheld_without_enough_samples(count, known):
    summary = percentile_summary([1_000_000 * k for k in range(1, count + 1)])
    assert summary["n"] == count
    assert [name for name in ("p50", "p95", "p99") if summary[name] is not None] == known


def test_percentiles_are_in_milliseconds():
    assert percentile_summary([2_500_000] * 150) == {"p50": 2.5, "p95": 2.5, "p99": 2.5, "n": 150}
