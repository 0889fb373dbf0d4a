"""Whole runs over GStreamer: two test patterns, and an RTSP pair of which one server dies and comes back."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from fakes import FakeSink
from sources.gstreamer_streams import LIVE, free_port, rtsp_server

from streamfuse.clock import now_ns
from streamfuse.config import RunConfig, load_run
from streamfuse.errors import UserError
from streamfuse.frames import Clock, FusedFrame, State
from streamfuse.pipeline import Limits, run
from streamfuse.shipped import shipped_path


def live(thermal: dict[str, object], rgb: dict[str, object], **more: object) -> RunConfig:
    fast = {"fuse": {"model": "average", "engine": "eager"}, "output": {"size": (64, 48)}}
    return RunConfig.model_validate({"source": {"kind": "live", "thermal": thermal, "rgb": rgb}, **fast, **more})


def test_the_shipped_live_test_asks_for_the_sizes_and_rates_of_the_budget():
    source = load_run(shipped_path("configs/live-test.yaml")).source
    assert (source.thermal.format, source.thermal.size, source.thermal.rate_hz) == ("GRAY16_LE", (640, 512), 30)
    assert (source.rgb.format, source.rgb.size, source.rgb.rate_hz) == ("BGR", (1280, 720), 30)


def test_two_live_patterns_are_matched_and_every_frame_is_accounted_for():
    pattern = {"launch": f"{LIVE} pattern=ball", "size": (64, 48), "rate_hz": 30}
    outputs: list[FusedFrame] = []
    config = live({**pattern, "format": "GRAY16_LE"}, {**pattern, "format": "BGR"})
    report = run(config, sink=FakeSink, watch=outputs.append, limits=Limits(frames=45))
    assert report.error is None
    assert report.balanced
    assert report.matched >= 40
    paired = [output for output in outputs if output.state is State.FUSED]
    assert {output.clock for output in paired} == {Clock.DRIVER}
    assert max(abs(output.skew_ns or 0) for output in paired) <= 17_000_000


def test_two_files_play_as_one_recording():
    thermal, visible = (str(shipped_path(f"samples/heli041/{name}.mp4")) for name in ("thermal", "visible"))
    report = run(live({"uri": thermal}, {"uri": visible}, policy="every"), sink=FakeSink, limits=Limits(frames=40))
    assert report.error is None
    assert report.balanced
    assert report.matched >= 30


def test_a_missing_variable_ends_the_run_before_it_begins(monkeypatch):
    monkeypatch.delenv("THERMAL_URI", raising=False)
    with pytest.raises(UserError, match="THERMAL_URI"):
        run(load_run(shipped_path("configs/live-rtsp.yaml")), sink=FakeSink)


def test_a_server_that_dies_and_returns_leaves_thermal_only_and_then_fused_again(tmp_path: Path):
    stop, recovered, outputs, came_ns = threading.Event(), threading.Event(), [], []
    returned_ns = 0
    rgb_port = free_port()

    def watch(output: FusedFrame) -> None:
        outputs.append(output)
        came_ns.append(now_ns())
        if returned_ns and output.state is State.FUSED:
            recovered.set()

    with rtsp_server() as (_, thermal_port):
        config = live(
            {"uri": f"rtsp://127.0.0.1:{thermal_port}/thermal"},
            {"uri": f"rtsp://127.0.0.1:{rgb_port}/rgb"},
            match={"max_skew_ms": 60},
        )

        def strike() -> None:
            nonlocal returned_ns
            with rtsp_server(port=rgb_port) as (server, _):
                threading.Event().wait(4.0)
                server.send_signal(signal.SIGKILL)
            threading.Event().wait(1.5)
            with rtsp_server(port=rgb_port):
                returned_ns = now_ns()
                recovered.wait(20.0)  # about one second on a machine with nothing else to do
                stop.set()

        striker = threading.Thread(target=strike)
        striker.start()
        report = run(config, sink=FakeSink, watch=watch, stop=stop)
        striker.join()
    assert report.error is None
    assert report.balanced
    assert report.sources["rgb"]["reconnects"] >= 1
    assert recovered.is_set(), "fused again"
    before = [output.state for output, at_ns in zip(outputs, came_ns, strict=True) if at_ns < returned_ns]
    assert before.count(State.FUSED) >= 30
    assert before[-1] is State.THERMAL_ONLY, "alone, but flowing, until the other is back"
