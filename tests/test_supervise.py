"""Supervised sources: every way to fail, every way back; with fake cameras whose each opening is scripted."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from fakes import FakeSource, frame, stream

from streamfuse.capture import Capture, Policy
from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import DroppedFrame, Frame, LoneFrame, Modality, Reason
from streamfuse.health import Health
from streamfuse.sources import SourceChange, SourceInfo, SourceState
from streamfuse.supervise import MOST_STUCK, Patience, SupervisedSource
from streamfuse.sync import PairMatcher

T, V = Modality.THERMAL, Modality.RGB
CONNECTING, LIVE, STALLED, FAILED = SourceState
QUICK = Patience(stall_s=0.4, give_up_s=0.2, connect_s=0.8, begin_s=0.5, first_wait_s=0.01, most_wait_s=0.05)
KNOWN = SourceInfo("fake", (4, 3), 8, 30.0)


class Camera:
    """Makes a source per opening, by script; the last entry is used again and again."""

    def __init__(self, *script: FakeSource | Exception) -> None:
        self.script = script
        self.made: list[FakeSource] = []
        self.calls = 0

    def __call__(self) -> FakeSource:
        self.calls += 1
        entry = self.script[min(self.calls, len(self.script)) - 1]
        if isinstance(entry, Exception):
            raise entry
        self.made.append(entry)
        return entry


def gives(count: int, *ending: Exception, **options) -> FakeSource:
    """An opening that delivers `count` frames, then breaks with `ending` or ends."""
    return FakeSource(T, [*stream(T, count), *ending], **options)


def hangs(count: int = 0) -> FakeSource:
    """Delivers and then nothing more, until it is closed."""
    source = gives(count + 1)
    source.__class__ = Silent
    return source


class Silent(FakeSource):
    """Its last frame never comes."""

    def __iter__(self) -> Iterator[Frame | DroppedFrame]:
        yield from self.items[:-1]
        self.closed.wait()


class Stuck(FakeSource):
    """A driver that ignores close until it is let go."""

    def __init__(self) -> None:
        super().__init__(T, [])
        self.let_go = threading.Event()

    def __iter__(self) -> Iterator[Frame | DroppedFrame]:
        self.let_go.wait(20)
        return iter(())


class OpensSlowly(FakeSource):
    def __enter__(self) -> FakeSource:
        self.closed.wait(20)
        return super().__enter__()


def taken(source: SupervisedSource, until: int) -> list[Frame | DroppedFrame | SourceChange]:
    """Items up to the `until`-th frame."""
    items, frames = [], 0
    for item in source:
        items.append(item)
        frames += not isinstance(item, SourceChange)
        if frames == until:
            source.close()
            break
    return items


def numbers(items: Sequence[object]) -> list[int]:
    return [item.sequence for item in items if not isinstance(item, SourceChange)]


def states(items: Sequence[object]) -> list[SourceState]:
    return [item.state for item in items if isinstance(item, SourceChange)]


def last_why(items: Sequence[object]) -> str:
    return [item.why for item in items if isinstance(item, SourceChange) and item.why][-1]


def supervised(camera: Camera, **options) -> SupervisedSource:
    return SupervisedSource(T, camera, **{"expected": KNOWN, "patience": QUICK, **options})


# -- ways to fail and to come back ----------------------------------------------------------------------------------


def test_a_healthy_source_passes_through_with_its_numbers_and_one_change_each():
    with supervised(Camera(hangs(5))) as source:
        items = taken(source, 5)
    assert states(items) == [CONNECTING, LIVE]
    assert numbers(items) == [0, 1, 2, 3, 4]
    assert source.info.size == (4, 3)


def test_three_failures_to_open_and_then_it_delivers():
    camera = Camera(SourceLost("no answer"), OSError("busy"), SourceLost("no answer"), hangs(4))
    with supervised(camera) as source:
        items = taken(source, 4)
    assert states(items) == [CONNECTING, FAILED, CONNECTING, FAILED, CONNECTING, FAILED, CONNECTING, LIVE]
    assert [item.why for item in items if isinstance(item, SourceChange) and item.why] == [
        "no answer", "OSError: busy", "no answer",
    ]  # fmt: skip
    assert numbers(items) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("first", "state", "why"),
    [
        (gives(3, SourceLost("cable out")), FAILED, "cable out"),
        (gives(3, RuntimeError("decoder")), FAILED, "RuntimeError: decoder"),
        (gives(3), FAILED, "the stream ended although it is live"),
    ],
    ids=["lost", "thread exception", "ended"],
)
def test_a_source_that_breaks_is_closed_built_anew_and_its_numbers_go_on_rising(first, state, why):
    camera = Camera(first, hangs(4))
    with supervised(camera) as source:
        items = taken(source, 7)
    assert states(items) == [CONNECTING, LIVE, state, CONNECTING, LIVE]
    assert last_why(items) == why
    assert numbers(items) == list(range(7))
    assert [made.exited for made in camera.made] == [1, 1]
    times = [item.at_ns for item in items if isinstance(item, SourceChange)]
    assert times == sorted(times)


def test_a_source_that_stalls_is_told_soon_and_torn_down_later():
    camera = Camera(hangs(3), hangs(4))
    with supervised(camera) as source:
        items = taken(source, 7)
    assert states(items) == [CONNECTING, LIVE, STALLED, FAILED, CONNECTING, LIVE]
    whys = [item.why for item in items if isinstance(item, SourceChange) and item.why]
    assert re.fullmatch(r"no frame for 0\.[45] s", whys[0])
    assert re.fullmatch(r"no frame for 0\.[67] s", whys[1])
    assert numbers(items) == list(range(7))
    assert camera.made[0].exited == 1


def test_a_stall_that_passes_keeps_the_opening():
    patience = Patience(stall_s=0.05, give_up_s=20.0, connect_s=5.0)
    camera = Camera(FakeSource(T, stream(T, 3), gap_s=0.3))
    with supervised(camera, patience=patience) as source:
        items = taken(source, 3)
    assert states(items) == [CONNECTING, LIVE, STALLED, LIVE, STALLED, LIVE]
    assert camera.calls == 1
    assert numbers(items) == [0, 1, 2]


def test_a_source_that_opens_and_sends_nothing_has_failed():
    with supervised(Camera(hangs(0), hangs(1))) as source:
        items = taken(source, 1)
    assert states(items) == [CONNECTING, FAILED, CONNECTING, LIVE]
    assert re.fullmatch(r"no frame for 0\.[89] s", last_why(items))


def test_gaps_and_drops_within_an_opening_are_kept():
    second = FakeSource(
        T, [frame(T, 7, 7), DroppedFrame(modality=T, sequence=8, reason=Reason.CORRUPT), frame(T, 10, 10)]
    )
    with supervised(Camera(gives(2, SourceLost("x")), second)) as source:
        items = taken(source, 5)
    assert numbers(items) == [0, 1, 2, 3, 5]
    assert isinstance(items[-2], DroppedFrame)


def test_corrupt_frames_are_a_sign_of_life():
    corrupt = [DroppedFrame(modality=T, sequence=k, reason=Reason.CORRUPT) for k in range(20)]
    with supervised(Camera(FakeSource(T, corrupt, gap_s=0.02))) as source:
        assert states(taken(source, 20)) == [CONNECTING, LIVE]


def test_a_flapping_source_loses_no_number_and_is_asked_less_and_less_often():
    patience = Patience(stall_s=0.5, first_wait_s=0.005, most_wait_s=10.0, share=0.5)
    cameras = Camera(*[gives(1, SourceLost("flap")) for _ in range(12)], hangs(3))
    with supervised(cameras, patience=patience) as source:
        items = taken(source, 12)
    assert numbers(items) == list(range(12))
    opened = [item.at_ns for item in items if isinstance(item, SourceChange) and item.state is LIVE]
    gaps = [later - earlier for earlier, later in itertools.pairwise(opened)]
    assert gaps[-1] > 4 * min(gaps)


def test_another_image_size_after_the_return_is_refused_and_tried_again():
    other = gives(3)
    other.info = SourceInfo("fake", (8, 6), 8, 30.0)
    with supervised(Camera(gives(2, SourceLost("x")), other, hangs(2))) as source:
        items = taken(source, 4)
    assert states(items) == [CONNECTING, LIVE, FAILED, CONNECTING, FAILED, CONNECTING, LIVE]
    assert last_why(items).startswith("it gives 8x6 now, the run began with 4x3; ")
    assert numbers(items) == [0, 1, 2, 3]


def test_a_user_error_after_the_start_is_tried_again_like_any_other():
    with supervised(Camera(gives(1), UserError("no /dev/video0"), hangs(1))) as source:
        items = taken(source, 2)
    assert last_why(items) == "no /dev/video0"
    assert numbers(items) == [0, 1]


def test_a_driver_that_hangs_is_left_behind_and_after_some_the_rest_waits():
    stuck = [Stuck() for _ in range(MOST_STUCK)]
    impatient = Patience(connect_s=0.2, first_wait_s=0.01, most_wait_s=0.05)
    with supervised(Camera(*stuck, hangs(1)), patience=impatient) as source:
        items = iter(source)
        seen = list(itertools.takewhile(lambda each: "hang in their driver" not in each.why, items))
        assert states(seen).count(FAILED) == MOST_STUCK
        assert threading.active_count() < 20
        stuck[0].let_go.set()
        assert numbers([next(each for each in items if isinstance(each, Frame))]) == [0]
    for each in stuck:
        each.let_go.set()


def test_a_source_is_read_only_once_somebody_iterates():
    source = gives(1000)
    with supervised(Camera(source)) as camera:
        time.sleep(0.05)
        assert not source.iterated
        assert len(numbers(taken(camera, 3))) == 3
        assert source.iterated


# -- entering and leaving -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [KNOWN, None])
def test_what_can_never_work_is_one_clear_error_at_the_start(expected):
    camera = Camera(UserError('no element "v4l3src"'))
    with pytest.raises(UserError, match='no element "v4l3src"'), supervised(camera, expected=expected):
        pytest.fail("must not open")
    assert camera.calls == 1


def test_a_known_camera_that_does_not_open_does_not_hold_up_the_start():
    camera = Camera(*[SourceLost("no answer")] * 5, hangs(1))
    with supervised(camera) as source:
        assert camera.calls == 1
        assert source.info == KNOWN
        assert numbers(taken(source, 1)) == [0]


def test_a_known_camera_that_takes_long_to_open_goes_on_opening_after_the_start():
    slow = OpensSlowly(T, [*stream(T, 2)], gap_s=0.0)
    with supervised(Camera(slow, hangs(2))) as source:
        items = taken(source, 2)
    assert states(items) == [CONNECTING, FAILED, CONNECTING, LIVE]
    assert last_why(items) == "it did not open within 0.8 s"


def test_an_unknown_camera_is_waited_for():
    camera = Camera(SourceLost("no answer"), SourceLost("no answer"), hangs(1))
    with supervised(camera, expected=None) as source:
        assert camera.calls == 3
        assert source.info == camera.made[0].info
        assert states(taken(source, 1)) == [CONNECTING, FAILED, FAILED, LIVE]


def test_an_unknown_camera_that_never_opens_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"tried for 0\.5 s, found: no answer; connect it, or give its size"):
        supervised(Camera(SourceLost("no answer")), expected=None).__enter__()


@pytest.mark.parametrize(
    "camera",
    [
        Camera(SourceLost("no answer")),
        Camera(OpensSlowly(T, [])),
        Camera(hangs(0)),
        Camera(gives(10_000, gap_s=0.001)),
        Camera(gives(10_000)),
        Camera(Stuck()),
    ],
    ids=["waiting", "opening", "silent", "live", "full", "stuck"],
)
def test_close_ends_the_iteration_in_every_state(camera):
    patience = Patience(stall_s=30.0, connect_s=0.2, begin_s=30.0, first_wait_s=30.0, most_wait_s=30.0)
    with supervised(camera, patience=patience) as source:
        threading.Timer(0.1, source.close).start()
        began = time.monotonic()
        for _ in source:
            pass
        assert time.monotonic() - began < 5  # instead of thirty seconds
    source.close()
    for made in camera.made:
        if isinstance(made, Stuck):
            made.let_go.set()


def test_many_failed_openings_leave_no_threads_behind():
    before = threading.active_count()
    impatient = Patience(first_wait_s=0.0, most_wait_s=0.0, connect_s=1.0)
    with supervised(Camera(*[SourceLost("no answer")] * 300, hangs(1)), patience=impatient) as source:
        assert len(states(taken(source, 1))) == 602
    assert threading.active_count() <= before


def test_the_wait_grows_with_the_time_the_source_has_been_gone():
    patience = Patience()
    assert [patience.wait_s(gone, 0.0) for gone in (0, 1, 5, 10, 50, 3600)] == [0.25, 0.25, 1.0, 2.0, 10.0, 10.0]
    assert patience.wait_s(10, 0.999) == pytest.approx(1.5, rel=0.01)
    assert (patience.stall_limit_s(30), patience.stall_limit_s(2), Patience(stall_s=2.0).stall_limit_s(30)) == (
        0.5,
        2.5,
        2.0,
    )


# -- through capture and matcher ------------------------------------------------------------------------------------


def test_changes_come_through_capture_in_their_place_and_the_other_source_goes_on():
    flapping = supervised(Camera(gives(2, SourceLost("a")), gives(2, SourceLost("b")), hangs(2)))
    other = FakeSource(V, stream(V, 400), gap_s=0.002)
    with Capture([flapping, other], policy=Policy.NEWEST) as capture:
        items = [
            item for item in itertools.takewhile(lambda item: getattr(item, "sequence", 0) != 399, capture) if item
        ]
    mine = [item for item in items if item.modality is T]
    assert [item.state if isinstance(item, SourceChange) else item.sequence for item in mine][:11] == [
        CONNECTING, LIVE, 0, 1, FAILED, CONNECTING, LIVE, 2, 3, FAILED, CONNECTING,
    ]  # fmt: skip
    assert [item.sequence for item in items if item.modality is V] == list(range(399))


def test_an_hour_without_one_camera_keeps_the_queues_short_and_its_return_pairs_at_once():
    """Simulated: thermal stops for an hour and comes back at half the rate, with stamps of its own phase."""
    period, matcher = 33_333_333, PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    gone, back, end = 300, 300 + 30 * 3600, 300 + 30 * 3600 + 300
    ways: list[tuple[int, str]] = []
    most_waiting = 0
    for k in range(end):
        outcomes = matcher.push(frame(V, k, k * period))
        if k == gone:
            outcomes += matcher.end(T)
        if k < gone or (k >= back and k % 2):
            outcomes += matcher.push(frame(T, k, k * period + 5_000_000))
        outcomes += matcher.advance(k * period + 10_000_000)
        most_waiting = max(most_waiting, matcher.in_flight)
        ways += [(k, "lone" if isinstance(each, LoneFrame) else type(each).__name__) for each in outcomes]
    assert most_waiting <= 8
    away = [way for k, way in ways if gone + 2 <= k < back]
    assert away.count("lone") == len(away) >= back - gone - 3
    returned = [way for k, way in ways if k >= back + 30]
    assert returned.count("FramePair") >= 130


# -- what is told ---------------------------------------------------------------------------------------------------


def change(state: SourceState, at_s: float, why: str = "") -> SourceChange:
    return SourceChange(T, state, round(at_s * 1e9), why)


def test_health_counts_returns_and_keeps_the_last_error(caplog):
    health = Health()
    script = [(CONNECTING, 0, ""), (LIVE, 1, ""), (STALLED, 5, "no frame for 0.5 s"), (LIVE, 6, "")]
    script += [(STALLED, 9, "no frame for 0.5 s"), (FAILED, 10, "no frame for 3.5 s"), (CONNECTING, 10, "")]
    script += [(FAILED, 10 + k, "no answer") if k % 2 else (CONNECTING, 10 + k, "") for k in range(40)]
    with caplog.at_level(logging.INFO, logger="streamfuse.health"):
        for state, at_s, why in [*script, (LIVE, 50, "")]:
            health.note(change(state, at_s, why))
    assert health.as_dict() == {"thermal": {"state": "live", "reconnects": 1, "last_error": "no answer"}}
    assert [record.getMessage() for record in caplog.records] == [
        "thermal: live",
        "thermal: stalled: no frame for 0.5 s",
        "thermal: live again after 1.0 s",
        "thermal: stalled: no frame for 0.5 s",
        "thermal: failed: no frame for 3.5 s",
        "thermal: failed: no answer",
        "thermal: live again after 41.0 s",
    ]
    health.note(change(STALLED, 60, "no frame for 0.5 s"))
    health.note(change(LIVE, 61))
    assert health.as_dict()["thermal"]["reconnects"] == 1


def test_a_camera_that_was_never_live_has_not_reconnected():
    health = Health()
    for state, why in [(CONNECTING, ""), (FAILED, "no answer"), (CONNECTING, ""), (LIVE, "")]:
        health.note(change(state, now_ns() / 1e9, why))
    assert health.as_dict()["thermal"]["reconnects"] == 0
