"""Supervision from end to end: cameras break while the pipeline runs; the output goes on, degraded, and recovers."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakes import FakeSink, FakeSource, frame

from streamfuse import Subscriber, assemble
from streamfuse.capture import Policy
from streamfuse.clock import now_ns
from streamfuse.config import PublishConfig, RunConfig
from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import Clock, DroppedFrame, Frame, Modality, State
from streamfuse.pipeline import Limits, run
from streamfuse.sources import SourceInfo
from streamfuse.supervise import Patience, SupervisedSource

T, V = Modality.THERMAL, Modality.RGB
PERIOD_S = 0.02
KNOWN = SourceInfo("fake", (4, 3), 8, 1 / PERIOD_S)
QUICK = Patience(stall_s=0.3, give_up_s=0.2, connect_s=1.0, first_wait_s=0.05, most_wait_s=0.1)
CONFIG = RunConfig.model_validate(
    {"source": {"kind": "synthetic"}, "fuse": {"model": "average", "engine": "eager"}, "policy": "newest"}
)


class LiveCamera(FakeSource):
    """Stamps a frame every period, `count` of them (None: without end), then breaks with `ending` or falls silent."""

    def __init__(self, modality: Modality, count: int | None, ending: Exception | None = None) -> None:
        super().__init__(modality, [])
        self.info = replace(KNOWN)
        self.count = count
        self.ending = ending

    def __iter__(self) -> Iterator[Frame | DroppedFrame]:
        for sequence in itertools.count() if self.count is None else range(self.count):
            if self.closed.wait(PERIOD_S):
                return
            yield replace(frame(self.modality, sequence, now_ns()), clock=Clock.ARRIVAL)
        if self.ending is not None:
            raise self.ending
        self.closed.wait()


def supervised(modality, *script, expected=KNOWN, patience=QUICK):
    """A camera whose openings follow the script: (count, ending), or the error that opening it raises."""
    openings = itertools.chain(script, itertools.repeat(script[-1]))

    def open_camera():
        entry = next(openings)
        if isinstance(entry, Exception):
            raise entry
        return LiveCamera(modality, *entry)

    return SupervisedSource(modality, open_camera, expected=expected, patience=patience)


@pytest.fixture
def go(monkeypatch):
    """Run the pipeline over two sources; returns (report, outputs)."""

    def go(thermal, rgb, **options):
        cameras = assemble.Cameras(thermal, rgb, paced=True)
        monkeypatch.setattr(assemble, "open_cameras", lambda config: cameras)
        outputs = []
        assert Policy(CONFIG.policy) is Policy.NEWEST
        return run(CONFIG, sink=FakeSink, watch=outputs.append, **options), outputs

    return go


FOREVER = (None,)
GONE = [SourceLost("no answer")] * 8


@pytest.mark.parametrize(("modality", "ending"), [(T, SourceLost("cable out")), (V, None)], ids=["lost", "stalled"])
def test_one_camera_breaks_and_returns_while_the_other_flows_on(go, modality, ending):
    cameras = {m: supervised(m, FOREVER) for m in Modality}
    cameras[modality] = supervised(modality, (40, ending), *GONE, FOREVER)
    report, outputs = go(cameras[T], cameras[V], limits=Limits(seconds=2.8))
    alone = State.VISIBLE_ONLY if modality is T else State.THERMAL_ONLY
    after = [output.state for output in outputs[len(outputs) // 2 :]]
    assert [output.state for output in outputs].count(alone) >= 5
    assert State.FUSED in after[-10:]
    assert after.count(State.FUSED) > 0.5 * (len(after) - after.count(alone))
    assert report.balanced
    assert report.error is None
    assert report.sources[modality.value]["state"] == "live"
    assert report.sources[modality.value]["reconnects"] == 1
    assert report.sources[modality.value]["last_error"] == "no answer"
    assert report.sources[modality.other.value] == {"state": "live", "reconnects": 0, "last_error": None}


def test_the_flow_has_no_hole_where_a_camera_breaks_and_is_fused_again_soon_after_it_returns(go):
    report, outputs = go(
        supervised(T, (30, SourceLost("cable out")), *GONE, FOREVER), supervised(V, FOREVER), limits=Limits(seconds=2.3)
    )
    shown = [output.rgb.sequence for output in outputs if output.rgb]
    assert len(shown) > 0.9 * report.frames_in["rgb"]
    assert shown == sorted(set(shown))
    gap_ns = max(later.capture_ns - earlier.capture_ns for earlier, later in itertools.pairwise(outputs))
    assert gap_ns < 0.5e9
    fused = [output for output in outputs if output.state is State.FUSED]
    first_back = next(output for output in fused if output.thermal.sequence >= 30)
    assert first_back.thermal.sequence < 30 + 1.0 / PERIOD_S
    assert report.balanced


def test_a_camera_that_is_not_there_at_the_start_joins_later(go):
    report, outputs = go(supervised(T, *GONE, FOREVER), supervised(V, FOREVER), limits=Limits(seconds=2.0))
    assert outputs[0].state is State.VISIBLE_ONLY
    assert State.FUSED in [output.state for output in outputs[-10:]]
    assert report.sources["thermal"] == {"state": "live", "reconnects": 0, "last_error": "no answer"}
    assert report.balanced


def test_both_cameras_dead_is_waited_out(go):
    dies = ((20, SourceLost("power cut")), *GONE[:4], FOREVER)
    report, outputs = go(supervised(T, *dies), supervised(V, *dies), limits=Limits(seconds=2.5))
    gap_ns = max(later.capture_ns - earlier.capture_ns for earlier, later in itertools.pairwise(outputs))
    assert gap_ns > 0.05e9
    assert State.FUSED in [output.state for output in outputs[-10:]]
    assert {health["reconnects"] for health in report.sources.values()} == {1}
    assert report.balanced


def test_a_flapping_camera_costs_the_other_nothing(go):
    report, outputs = go(
        supervised(T, (3, SourceLost("loose contact"))), supervised(V, FOREVER), limits=Limits(seconds=2.0)
    )
    assert report.sources["thermal"]["reconnects"] >= 5
    assert len([output for output in outputs if output.rgb]) > 0.9 * report.frames_in["rgb"]
    assert report.balanced


def test_a_run_without_any_camera_goes_on_until_it_is_stopped(go):
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    report, outputs = go(supervised(T, *GONE), supervised(V, *GONE), stop=stop)
    assert time.monotonic() - began < 20
    assert outputs == []
    assert {health["state"] for health in report.sources.values()} <= {"failed", "connecting"}
    assert report.balanced
    assert report.error is None


def test_what_can_never_work_ends_the_run_before_it_begins(go):
    with pytest.raises(UserError, match="no element"):
        go(supervised(T, UserError("no element v4l3src")), supervised(V, FOREVER))


def test_a_subscriber_is_told_which_camera_is_gone(monkeypatch, tmp_path):
    """Through the real publisher: its heartbeats name the camera that stopped, and that it came back."""
    endpoint = f"ipc://{tmp_path}/s"
    thermal = supervised(T, (40, SourceLost("cable out")), *[SourceLost("no answer")] * 20, FOREVER)
    cameras = assemble.Cameras(thermal, supervised(V, FOREVER), paced=True)
    monkeypatch.setattr(assemble, "open_cameras", lambda config: cameras)
    config = CONFIG.model_copy(update={"publish": PublishConfig(endpoint=endpoint)})
    seen, stop = [], threading.Event()
    with Subscriber(endpoint) as subscriber:

        def watch(frame):
            del frame
            states = dict(subscriber.sources)
            if states and (not seen or seen[-1] != states):
                seen.append(states)
            if len(seen) > 2 and states.get("thermal") == "live":
                stop.set()

        run(config, watch=watch, stop=stop, limits=Limits(seconds=15))
    gone = [states for states in seen if states.get("thermal") in ("failed", "connecting", "stalled")]
    assert gone
    assert gone[-1]["rgb"] == "live"
    assert seen[-1] == {"thermal": "live", "rgb": "live"}
