"""Capture: order, policies, failure hand-over, clean stop; and its plain twin."""

from __future__ import annotations

import threading
import time

import pytest
from fakes import FakeSource, frame, stream

from streamfuse.capture import Capture, InOrder, Policy, StreamEnd
from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import DroppedFrame, Frame, Modality, Reason

T, V = Modality.THERMAL, Modality.RGB


def frames_of(items, modality):
    return [item.sequence for item in items if isinstance(item, Frame) and item.modality is modality]


def test_every_frame_of_both_streams_arrives_in_its_order_with_a_stamp():
    sources = [FakeSource(T, stream(T, 40)), FakeSource(V, stream(V, 50))]
    with Capture(sources, depth=3) as capture:
        items = [item for item in capture if item is not None]
    assert frames_of(items, T) == list(range(40))
    assert frames_of(items, V) == list(range(50))
    assert all("captured" in item.stamps for item in items if isinstance(item, Frame))
    assert sum(isinstance(item, StreamEnd) for item in items) == 2
    assert [source.exited for source in sources] == [1, 1]


def test_every_policy_makes_a_fast_source_wait_for_a_slow_consumer():
    source = FakeSource(T, stream(T, 30))
    with Capture([source], policy=Policy.EVERY, depth=2) as capture:
        seen = []
        for item in capture:
            assert capture.in_flight <= 2
            seen.append(item)
            time.sleep(0.002)
    assert frames_of(seen, T) == list(range(30))
    assert not any(isinstance(item, DroppedFrame) for item in seen)


def test_newest_policy_drops_the_oldest_and_counts_it():
    source = FakeSource(T, stream(T, 30))
    with Capture([source], policy=Policy.NEWEST, depth=3) as capture:
        items = iter(capture)
        first = next(items)
        time.sleep(0.1)  # the source runs away meanwhile
        rest = [item for item in [first, *items] if item is not None]
    kept, lost = frames_of(rest, T), [item for item in rest if isinstance(item, DroppedFrame)]
    assert kept[-3:] == [27, 28, 29]
    assert {item.reason for item in lost} == {Reason.OVERFLOW}
    assert sorted(kept + [item.sequence for item in lost]) == list(range(30))


def test_a_failing_source_is_raised_in_the_consumer_with_its_cause():
    broken = FakeSource(V, [*stream(V, 3), OSError("cable out")])
    with Capture([FakeSource(T, stream(T, 100), gap_s=0.01), broken]) as capture:
        with pytest.raises(SourceLost, match="rgb source failed: OSError: cable out") as caught:
            list(capture)
        assert isinstance(caught.value.__cause__, OSError)


def test_a_source_that_does_not_open_says_so_and_the_other_is_closed_again():
    class Closed(FakeSource):
        def __enter__(self):
            raise UserError("no such camera")

    good = FakeSource(T, [])
    with pytest.raises(UserError, match="no such camera"), Capture([good, Closed(V, [])]):
        pytest.fail("must not open")
    assert good.exited == 1


def test_corrupt_frames_pass_through_in_order():
    bad = DroppedFrame(modality=T, sequence=1, reason=Reason.CORRUPT)
    source = FakeSource(T, [frame(T, 0, 0), bad, frame(T, 2, 2)])
    with Capture([source]) as capture:
        items = [item for item in capture if item is not None]
    assert items[1] == bad
    assert frames_of(items, T) == [0, 2]


@pytest.mark.parametrize(
    "source",
    [
        FakeSource(T, stream(T, 5), gap_s=60.0),
        FakeSource(T, [], block=True),
        FakeSource(T, stream(T, 1000)),
        FakeSource(T, []),
    ],
    ids=["waiting for a frame", "stuck in a driver", "full inbox", "ended"],
)
def test_it_stops_within_a_second_in_any_state(source):
    capture = Capture([source], depth=2)
    began = time.monotonic()
    with capture:
        for _ in capture:
            if time.monotonic() - began > 0.1:
                break
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 1.2


def test_stop_from_another_thread_ends_the_iteration():
    with Capture([FakeSource(T, stream(T, 5), gap_s=30.0)]) as capture:
        threading.Timer(0.05, capture.stop).start()
        began = time.monotonic()
        assert [item for item in capture if item is not None] in ([], [StreamEnd(T)])
    assert time.monotonic() - began < 2


def test_what_still_waited_is_handed_back_for_the_ledger():
    with Capture([FakeSource(T, stream(T, 20))], depth=4) as capture:
        for _ in capture:
            break
        time.sleep(0.05)
        capture.stop()
        left = frames_of(capture.rest(), T)
    assert left
    assert left == sorted(left)
    assert capture.in_flight == 0


def test_nothing_arriving_gives_ticks_so_that_time_can_pass():
    with Capture([FakeSource(T, stream(T, 1), gap_s=0.1)]) as capture:
        assert None in list(capture)


def test_ordered_capture_waits_for_the_slower_source_and_goes_by_capture_time():
    fast, slow = FakeSource(T, stream(T, 40)), FakeSource(V, stream(V, 20, offset_ns=1), gap_s=0.003)
    with Capture([fast, slow], depth=4, ordered=True) as capture:
        items = [item for item in capture if isinstance(item, Frame)]
    assert [item.capture_ns for item in items] == sorted(item.capture_ns for item in items)
    assert (frames_of(items, T), frames_of(items, V)) == (list(range(40)), list(range(20)))


def test_ordered_capture_hands_a_failure_over_although_the_other_is_silent():
    broken = FakeSource(V, [OSError("gone")])
    silent = FakeSource(T, stream(T, 1), gap_s=30.0)
    with Capture([silent, broken], ordered=True) as capture, pytest.raises(SourceLost, match="gone"):
        list(capture)


def test_in_order_merges_by_capture_time_and_repeats_exactly():
    def once():
        bad = DroppedFrame(modality=V, sequence=2, reason=Reason.CORRUPT)
        rgb = stream(V, 6, period_ns=20)
        sources = [FakeSource(T, stream(T, 4, offset_ns=5, period_ns=30)), FakeSource(V, [*rgb[:2], bad, *rgb[3:]])]
        with InOrder(sources) as intake:
            return [(item.modality.value, getattr(item, "sequence", "end")) for item in intake if item]

    assert once() == once()
    assert [entry for entry in once() if entry[1] != "end"] == [
        ("rgb", 0), ("thermal", 0), ("rgb", 1), ("rgb", 2), ("thermal", 1),
        ("rgb", 3), ("thermal", 2), ("rgb", 4), ("thermal", 3), ("rgb", 5),
    ]  # fmt: skip


def test_in_order_hands_failures_over_too():
    with InOrder([FakeSource(T, [*stream(T, 2), ValueError("bad header")])]) as intake, pytest.raises(SourceLost):
        list(intake)
