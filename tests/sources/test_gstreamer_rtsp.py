"""An RTSP pair served on loopback by a process of its own: times of the sender, silence, death, passwords."""

from __future__ import annotations

import itertools
import signal

import pytest
from sources.gstreamer_streams import rtsp_server, take

from streamfuse.clock import now_ns, wall_from_monotonic_ns
from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import Clock, Frame, Modality
from streamfuse.sources.gstreamer import GstSource
from streamfuse.sources.gstreamer_spec import CameraSpec

THERMAL, RGB = Modality.THERMAL, Modality.RGB


@pytest.fixture(scope="module")
def port():
    with rtsp_server() as (_, found):
        yield found


def test_sender_time_is_used_after_the_first_report_and_agrees_between_two_cameras(port):
    """Server and reader share one wall clock here, so the cameras count as synced."""
    cameras = [
        GstSource(modality, CameraSpec(uri=f"rtsp://127.0.0.1:{port}/{name}", sender_clock="synced"))
        for modality, name in ((THERMAL, "thermal"), (RGB, "rgb"))
    ]
    with cameras[0] as thermal, cameras[1] as rgb:
        assert (thermal.info.size, rgb.info.size) == ((320, 256), (640, 480))
        taken = [frame for both in itertools.islice(zip(thermal, rgb, strict=False), 220) for frame in both]
    for modality, channels in ((THERMAL, 2), (RGB, 3)):
        frames = [frame for frame in taken if isinstance(frame, Frame) and frame.modality is modality]
        clocks = [frame.clock for frame in frames]
        first = clocks.index(Clock.RTP_SENDER)
        assert set(clocks[:first]) == {Clock.ARRIVAL}, "before the report"
        assert set(clocks[first:]) == {Clock.RTP_SENDER}, "from the report on"
        times = [frame.capture_ns for frame in frames]
        assert all(before < after for before, after in itertools.pairwise(times))
        assert frames[0].pixels.ndim == channels
        steady = times[-30:]
        assert (steady[-1] - steady[0]) / 29 == pytest.approx(1e9 / 30, rel=0.02)
    ages = [now_ns() - frame.capture_ns for frame in taken[-2:]]
    assert all(-5e6 < age < 2e9 for age in ages), ages


def test_a_sender_of_unknown_clock_is_mapped_by_arrival(port):
    with GstSource(RGB, CameraSpec(uri=f"rtsp://127.0.0.1:{port}/rgb")) as source:
        came = [(now_ns(), frame) for frame in itertools.islice(source, 90)]
    frames = [frame for _, frame in came]
    assert {frame.clock for frame in frames} == {Clock.ARRIVAL}, "not settled yet"
    assert all(frame.capture_ns <= at_ns for at_ns, frame in came)
    assert min(at_ns - frame.capture_ns for at_ns, frame in came) < 40e6
    assert abs(wall_from_monotonic_ns(frames[-1].capture_ns) - wall_from_monotonic_ns(now_ns())) < 10e9


def test_udp_gives_frames_as_well(port):
    frames = take(GstSource(THERMAL, CameraSpec(uri=f"rtsp://127.0.0.1:{port}/thermal", transport="udp")), 5)
    assert {frame.pixels.shape for frame in frames if isinstance(frame, Frame)} == {(256, 320)}


def brief(port: int) -> CameraSpec:
    return CameraSpec(uri=f"rtsp://127.0.0.1:{port}/rgb", stall_ms=1000)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_server_that_dies_or_freezes_is_a_loss_within_the_stall_limit(blow):
    with rtsp_server() as (server, port), GstSource(RGB, brief(port)) as source:
        items = iter(source)
        assert isinstance(next(items), Frame)
        server.send_signal(blow)
        struck_ns = now_ns()
        with pytest.raises(SourceLost, match=r"rgb camera .*check that the camera is on"):
            list(items)
        assert now_ns() - struck_ns < 3e9


def test_passwords_open_the_stream_and_are_never_told():
    with rtsp_server("me", "s3cr@t") as (_, port):
        good = GstSource(RGB, CameraSpec(uri=f"rtsp://me:s3cr%40t@127.0.0.1:{port}/rgb"))
        with good as source:
            assert source.info.size == (640, 480)
            assert "cr" not in source.info.description
        for login in ("me:wr0ng@", ""):
            with pytest.raises(UserError, match="refused the user name or the password") as caught:
                take(GstSource(RGB, CameraSpec(uri=f"rtsp://{login}127.0.0.1:{port}/rgb")), 1)
            assert "wr0ng" not in str(caught.value)
        with pytest.raises(UserError, match=r"Not found; check the address") as caught:
            take(GstSource(RGB, CameraSpec(uri=f"rtsp://me:s3cr%40t@127.0.0.1:{port}/other")), 1)
        assert "s3cr" not in str(caught.value)
