"""The data's way from end to end in one process: ids in = ids out, ledgers, failures, limits."""

from __future__ import annotations

import threading
import time

import pytest
from fakes import PERIOD_NS, SOON_S, FakeSink, FakeSource, stream

from streamfuse import Publisher, assemble
from streamfuse.clock import now_ns
from streamfuse.config import RunConfig
from streamfuse.errors import EngineError, SourceLost, UserError
from streamfuse.frames import DroppedFrame, Modality, Reason, State
from streamfuse.fuse import Fuser
from streamfuse.pipeline import Limits, run

T, V = Modality.THERMAL, Modality.RGB
CONFIG = RunConfig.model_validate({"source": {"kind": "synthetic"}, "fuse": {"model": "average"}})


class Collected(FakeSink):
    """A sink that keeps every output."""

    def __init__(self, on_sent, on_dropped):
        super().__init__(on_sent, on_dropped)
        self.frames = []

    def wanted(self):
        return frozenset({"thermal-raw"})

    def send(self, frame):
        self.frames.append(frame)
        super().send(frame)


@pytest.fixture
def rig_up(monkeypatch):
    """Run the pipeline over fake sources; returns (report, outputs)."""

    def go(thermal, rgb, *, deterministic=False, paced=False, **options):
        cameras = assemble.Cameras(thermal, rgb, deterministic=deterministic, paced=paced)
        monkeypatch.setattr(assemble, "open_cameras", lambda config: cameras)
        sinks = []

        def sink(on_sent, on_dropped):
            sinks.append(Collected(on_sent, on_dropped))
            return sinks[0]

        return run(CONFIG, sink=sink, **options), sinks[0].frames

    return go


def live(modality, count, start_ns, **options):
    return FakeSource(
        modality, stream(modality, count, offset_ns=start_ns, period_ns=5_000_000), gap_s=0.005, **options
    )


@pytest.mark.parametrize("deterministic", [False, True])
def test_every_pair_comes_out_once_with_the_numbers_it_went_in_with(rig_up, deterministic):
    thermal, rgb = FakeSource(T, stream(T, 30, offset_ns=1000)), FakeSource(V, stream(V, 30))
    report, outputs = rig_up(thermal, rgb, deterministic=deterministic)
    assert [(frame.thermal.sequence, frame.rgb.sequence) for frame in outputs] == [(k, k) for k in range(30)]
    assert [frame.sequence for frame in outputs] == list(range(30))
    assert {frame.skew_ns for frame in outputs} == {1000}
    assert {frame.state for frame in outputs} == {State.FUSED}
    assert [frame.capture_ns for frame in outputs] == [k * PERIOD_NS for k in range(30)]
    assert all(int(frame.layers["thermal-raw"][0, 0]) == frame.thermal.sequence for frame in outputs)
    assert report.balanced
    assert (report.matched, report.published) == (30, 30)
    assert report.frames_in == {"thermal": 30, "rgb": 30}


def test_stamps_rise_and_their_stages_add_up_to_the_latency(rig_up):
    _, outputs = rig_up(FakeSource(T, stream(T, 5)), FakeSource(V, stream(V, 5)))
    order = ["captured", "matched", "registered", "toned", "computed", "fused"]
    for frame in outputs:
        assert [stage for stage in frame.stamps if stage != "offered"] == order
        assert [frame.stamps[stage] for stage in order] == sorted(frame.stamps[stage] for stage in order)


def test_a_camera_that_ends_leaves_the_other_flowing_alone(rig_up):
    report, outputs = rig_up(FakeSource(T, stream(T, 10)), FakeSource(V, stream(V, 30)))
    assert [frame.state for frame in outputs].count(State.FUSED) == 10
    assert [frame.state for frame in outputs].count(State.VISIBLE_ONLY) >= 19
    assert outputs[-1].thermal is None
    assert report.balanced


def test_a_silent_camera_does_not_stop_the_other(rig_up):
    start = now_ns()
    silent = FakeSource(T, stream(T, 1, offset_ns=start), gap_s=30.0)
    report, outputs = rig_up(silent, live(V, 60, start), paced=True, limits=Limits(seconds=0.6))
    assert [frame.state for frame in outputs].count(State.VISIBLE_ONLY) > 20
    assert report.balanced


def test_a_stream_that_lags_seconds_behind_is_not_taken_for_a_silent_one(rig_up):
    late = now_ns() - 10**10
    report, outputs = rig_up(live(T, 40, late), live(V, 40, late), paced=True)
    assert [frame.state for frame in outputs].count(State.FUSED) >= 38
    assert report.balanced


def test_a_camera_that_breaks_ends_the_run_with_its_reason_and_a_balanced_ledger(rig_up):
    start = now_ns()
    broken = live(V, 20, start)
    broken.items = [*broken.items, OSError("cable out")]
    report, outputs = rig_up(live(T, 500, start), broken, paced=True)
    assert "rgb source failed: OSError: cable out" in report.error
    assert report.balanced
    assert len(outputs) == report.published >= 10


def test_corrupt_frames_are_counted_and_their_partners_come_out_alone(rig_up):
    thermal = stream(T, 9)
    thermal[4] = DroppedFrame(modality=T, sequence=4, reason=Reason.CORRUPT, capture_ns=4 * PERIOD_NS)
    report, outputs = rig_up(FakeSource(T, thermal), FakeSource(V, stream(V, 9)), deterministic=True)
    assert report.dropped == {"corrupt": 1}
    assert [frame.rgb.sequence for frame in outputs if frame.state is State.VISIBLE_ONLY] == [4]
    assert outputs[-1].drops == {"corrupt": 1}
    assert report.balanced


def test_limits_end_a_run_and_what_was_in_flight_is_accounted_for(rig_up):
    start = now_ns()
    report, outputs = rig_up(live(T, 500, start), live(V, 500, start), paced=True, limits=Limits(frames=7))
    assert len(outputs) == 7
    assert report.balanced
    assert set(report.dropped) <= {"shutdown", "surplus"}
    began = time.monotonic()
    start = now_ns()
    rig_up(live(T, 5000, start), live(V, 5000, start), paced=True, limits=Limits(seconds=0.3))
    assert 0.25 < time.monotonic() - began < 3


@pytest.mark.parametrize("source", [live, lambda modality, count, start: FakeSource(modality, stream(modality, count))])
def test_a_time_limit_ends_a_run_whose_reader_never_comes(tmp_path, source):
    """A loss-free publisher waits in `send`, where no loop looks at the limit."""
    start, stop, paced = now_ns(), threading.Event(), source is live
    cameras = assemble.Cameras(source(T, 5000, start), source(V, 5000, start), deterministic=not paced, paced=paced)
    rescue = threading.Timer(SOON_S, stop.set)
    rescue.start()
    report = run(
        CONFIG,
        cameras=lambda _: cameras,
        sink=lambda sent, dropped: Publisher(
            f"ipc://{tmp_path}/s", rig="gate", mode="push", on_sent=sent, on_dropped=dropped
        ),
        limits=Limits(seconds=0.3),
        stop=stop,
    )
    rescue.cancel()
    assert not stop.is_set(), "the limit did not end it"
    assert report.balanced
    assert report.published == 0
    assert report.outputs_dropped["shutdown"] > 8
    assert report.error is None


def test_stop_ends_a_run_within_a_second(rig_up):
    stop, start = threading.Event(), now_ns()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    report, _ = rig_up(live(T, 5000, start), live(V, 5000, start), paced=True, stop=stop)
    assert time.monotonic() - began < 2
    assert report.balanced
    assert report.error is None


def test_an_engine_that_fails_is_counted_and_told(rig_up, monkeypatch):
    def fail(self, aligned, *, layers=frozenset()):
        raise EngineError("out of memory")

    monkeypatch.setattr(Fuser, "fuse", fail)
    report, outputs = rig_up(FakeSource(T, stream(T, 5)), FakeSource(V, stream(V, 5)), deterministic=True)
    assert outputs == []
    assert report.error == "out of memory"
    assert report.outputs_dropped == {"failed": 1}
    assert report.balanced


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_no_output_is_made_beyond_the_limit_although_many_leave_at_once(rig_up, frames):
    thermal, rgb = FakeSource(T, stream(T, 0)), FakeSource(V, stream(V, 8))
    report, outputs = rig_up(thermal, rgb, deterministic=True, limits=Limits(frames=frames))
    assert len(outputs) == report.published == frames
    assert report.balanced
    assert sum(report.lone.values()) == report.published + sum(report.outputs_dropped.values())


def test_a_sink_that_fails_leaves_balanced_ledgers(rig_up, monkeypatch):
    def full(self, frame):
        raise UserError("the disk is full")

    monkeypatch.setattr(Collected, "send", full)
    report, _ = rig_up(FakeSource(T, []), FakeSource(V, stream(V, 8)), deterministic=True)
    assert report.error == "the disk is full"
    assert report.balanced
    assert report.outputs_dropped["failed"] == 1


def test_a_source_that_fails_in_the_deterministic_pace_is_told_too(rig_up):
    broken = FakeSource(V, [*stream(V, 3), SourceLost("disk gone")])
    report, _ = rig_up(FakeSource(T, stream(T, 5)), broken, deterministic=True)
    assert report.error == "disk gone"
    assert report.balanced
