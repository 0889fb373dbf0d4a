"""The parts of a live source that need no pipeline: specs, secrets, layouts, memory, clocks, losses, the unwinder."""

from __future__ import annotations

import ctypes
import gc
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfuse.clock import now_ns, wall_from_monotonic_ns
from streamfuse.config import load_run
from streamfuse.errors import UserError
from streamfuse.frames import Clock, Modality
from streamfuse.redact import redact
from streamfuse.sources.gstreamer_launch import WAITING
from streamfuse.sources.gstreamer_library import load_gstreamer, missing_element
from streamfuse.sources.gstreamer_losses import LossCount
from streamfuse.sources.gstreamer_pixels import KEPT, FrameMemory, Layout, read_pixels
from streamfuse.sources.gstreamer_spec import CameraSpec, fill_in
from streamfuse.sources.gstreamer_times import UNIX_FROM_NTP_NS, Axis, FrameTimes
from streamfuse.sources.yuv import Coding, rgb_from_yuv

PERIOD_NS = 33_333_333

# -- specs and secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:secret@10.0.0.1:554/a?x=1 failed", "rtsp://***@10.0.0.1:554/a?x=1 failed"),
        ("rtsp://me:se@cret@10.0.0.1/a", "rtsp://***@10.0.0.1/a"),
        ('rtspsrc user-id=me user-pw="se cret" latency=0', "rtspsrc user-id=*** user-pw=*** latency=0"),
        ("http://10.0.0.1/video?user=me&password=secret&size=1", "http://10.0.0.1/video?user=***&password=***&size=1"),
        ("v4l2src device=/dev/video0", "v4l2src device=/dev/video0"),
    ],
)
def test_no_name_and_no_password_is_shown(text, shown):
    assert redact(text) == shown


def test_variables_come_from_the_environment_or_are_named(monkeypatch):
    monkeypatch.setenv("CAMERA", "rtsp://10.0.0.1/a")
    assert fill_in("${CAMERA}?x=$1") == "rtsp://10.0.0.1/a?x=$1"
    with pytest.raises(UserError, match=r"\$\{NO_SUCH_CAMERA\}.*export NO_SUCH_CAMERA"):
        fill_in("${NO_SUCH_CAMERA}")


def test_a_mistake_beside_a_password_does_not_tell_it(tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text("source: {kind: live, thermal: 'rtsp://me:secret@10.0.0.1/a', rgb: {uri: a, launch: b}}")
    with pytest.raises(UserError) as caught:
        load_run(path)
    assert "secret" not in str(caught.value)
    assert "either `launch` (a GStreamer fragment) or `uri`" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "network", "file", "stall_s"),
    [
        ({"uri": "rtsp://10.0.0.1/a"}, True, False, 2.0),
        ({"uri": "file:///a.mkv"}, False, True, 0.5),
        ({"launch": "v4l2src device=/dev/video0"}, False, False, 0.5),
        ({"launch": "udpsrc port=5000 ! application/x-rtp ! rtpvrawdepay"}, True, False, 2.0),
        ({"launch": "filesrc location=a.mkv ! decodebin"}, False, True, 0.5),
        ({"launch": "multifilesrc location=%d.png ! pngdec"}, False, True, 0.5),
        ({"launch": "videotestsrc", "stall_ms": 1500}, False, False, 1.5),
    ],
)
def test_kinds_of_streams_and_their_patience(asked, network, file, stall_s):
    spec = CameraSpec(**asked)
    assert (spec.is_network, spec.is_file, spec.stall_s) == (network, file, stall_s)


def test_a_path_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.mkv: no such video"):
        CameraSpec.of(launch=None, uri="nowhere.mkv", folder=tmp_path)


def test_a_known_element_names_its_package():
    assert "gstreamer1.0-libcamera" in missing_element("libcamerasrc")


# -- pixels ---------------------------------------------------------------------------------------------------------


def stored(planes: list[np.ndarray], padding: int) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    """Planes (rows of bytes) one behind the other as a buffer, `padding` bytes of rubbish behind each row."""
    rows = [np.pad(plane, ((0, 0), (0, padding)), constant_values=0xAB) for plane in planes]
    offsets = [0, *itertools.accumulate(row.size for row in rows)][:-1]
    return np.concatenate([row.reshape(-1) for row in rows]), tuple(row.shape[1] for row in rows), tuple(offsets)


@pytest.mark.parametrize("padding", [0, 2, 30])
@pytest.mark.parametrize("name", ["GRAY16_LE", "GRAY8", "I420", "NV12", "RGB", "BGR"])
def test_padding_never_shows(name, padding):
    rng = np.random.default_rng(1)
    width, height = 12, 8
    luma = rng.integers(16, 235, (height, width), dtype=np.uint8)
    half = (height // 2, width // 2)
    grey = np.full(half, 128, np.uint8)
    pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    planes = {
        "GRAY16_LE": [rng.integers(0, 255, (height, width * 2), dtype=np.uint8)],
        "GRAY8": [luma],
        "I420": [luma, grey, grey],
        "NV12": [luma, np.full((height // 2, width), 128, np.uint8)],
        "RGB": [pixels.reshape(height, -1)],
        "BGR": [pixels[..., ::-1].reshape(height, -1)],
    }[name]
    data, strides, offsets = stored(planes, padding)
    thermal = name.startswith("GRAY")
    layout = Layout(name, (width, height), strides, offsets)
    result = read_pixels(data, layout, Modality.THERMAL if thermal else Modality.RGB, FrameMemory())
    if name == "GRAY16_LE":
        assert (result == planes[0].view("<u2")).all()
    elif name == "GRAY8":
        assert (result == luma).all()
    elif name in ("RGB", "BGR"):
        assert (result == pixels).all()
    else:
        expected = ((luma.astype(float) - 16) * 255 / 219).round()
        assert np.abs(result - expected[..., None]).max() <= 1


def test_a_short_buffer_is_refused():
    with pytest.raises(ValueError, match="95 bytes, its GRAY8 image ends at 96"):
        read_pixels(np.zeros(95, np.uint8), Layout("GRAY8", (12, 8), (12,), (0,)), Modality.THERMAL, FrameMemory())


@pytest.mark.parametrize("matrix", ["BT601", "BT709", "BT2020", "SMPTE240M", "FCC"])
@pytest.mark.parametrize("full_range", [False, True])
def test_every_matrix_keeps_black_white_and_grey(matrix, full_range):
    affine = rgb_from_yuv(Coding(matrix, full_range))
    low, high = (0, 255) if full_range else (16, 235)
    for luma, grey in ((low, 0), (high, 255), ((low + high) / 2, 127.5)):
        assert affine @ (luma, 128, 128, 1) == pytest.approx([grey] * 3, abs=1e-3)


def test_memory_is_used_again_only_when_nobody_looks_at_it():
    memory = FrameMemory()
    first = memory.take((4, 5, 3), np.uint8)
    address, corner = first.ctypes.data, first[1:, 2:]
    del first
    gc.collect()
    assert memory.take((4, 5, 3), np.uint8).ctypes.data != address, "a part of it is still held"
    del corner
    gc.collect()
    assert address in {array.ctypes.data for array in [memory.take((4, 5, 3), np.uint8) for _ in range(2)]}


def test_memory_keeps_a_bounded_number_of_blocks():
    memory = FrameMemory()
    many = [memory.take((3, 3), np.uint16) for _ in range(KEPT + 10)]
    del many
    gc.collect()
    assert [len(free) for free in memory._free.values()] == [KEPT]


# -- times ----------------------------------------------------------------------------------------------------------


def test_gstreamers_clock_is_this_machines_monotonic_clock():
    axis = Axis.measure()
    assert axis.offset_ns == 0
    assert axis.error_ns < 1_000_000
    before = now_ns()
    assert before - 1_000_000 <= axis.monotonic_ns(axis.clock.get_time()) <= now_ns() + 1_000_000


def times(stamped: Clock, *, synced: bool = False) -> FrameTimes:
    return FrameTimes(Axis(None, 500, 7), stamped, period_ns=PERIOD_NS, synced=synced)


def test_a_drivers_time_is_taken_as_it_is():
    time = times(Clock.DRIVER).capture(10_500, None, 99_999)
    assert (time.capture_ns, time.error_ns, time.origin) == (10_000, 7, Clock.DRIVER)


def test_a_frame_without_a_time_has_that_of_its_arrival():
    time = times(Clock.DRIVER).capture(None, None, 99_999)
    assert (time.capture_ns, time.origin) == (99_999, Clock.ARRIVAL)


@pytest.mark.parametrize("off_ns", [-60_000_000, 3_000_000_000])
def test_a_synced_sender_is_believed_only_near_the_arrival(off_ns):
    """Ahead of its own arrival, or seconds behind it: the clocks are not synced, whatever the run file says."""
    stream, wall_ns = times(Clock.ARRIVAL, synced=True), wall_from_monotonic_ns(0)
    for k in range(3):
        arrival_ns = now_ns() + k * PERIOD_NS
        ntp_ns = arrival_ns + wall_ns + UNIX_FROM_NTP_NS - off_ns
        assert stream.capture(arrival_ns + 500, ntp_ns, arrival_ns).origin is Clock.ARRIVAL
    good = stream.capture(arrival_ns + PERIOD_NS + 500, ntp_ns + off_ns, arrival_ns + PERIOD_NS)
    assert good.origin is Clock.RTP_SENDER


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 80_000_000)), min_size=2, max_size=60))
def test_times_rise_and_never_lie_ahead_of_the_arrival(frames):
    """Whatever mixture of frames with and without sender time comes, late or in time."""
    stream, start_ns, last_ns, came_ns = times(Clock.ARRIVAL, synced=True), now_ns(), 0, 0
    offset_ns = wall_from_monotonic_ns(0) + UNIX_FROM_NTP_NS
    for k, (told, delay_ns) in enumerate(frames):
        sent_ns = start_ns + k * PERIOD_NS
        came_ns = max(came_ns + 1, sent_ns + delay_ns)
        time = stream.capture(came_ns + 500, sent_ns + offset_ns if told else None, came_ns)
        assert time.capture_ns > last_ns
        assert time.capture_ns <= came_ns
        last_ns = time.capture_ns


# -- losses ---------------------------------------------------------------------------------------------------------


def test_numbered_frames_tell_exactly_what_is_missing():
    losses = LossCount()
    losses.skip(10)
    losses.skip(11)
    losses.begin(2)
    assert [losses.before_frame(number, 99) for number in (12, 13, 17, 18, 5, 6)] == [0, 0, 3, 0, 0, 0]
    assert losses.while_empty(99) == 0


def test_numbers_that_count_bytes_are_no_frame_numbers():
    losses = LossCount()
    losses.begin(0)
    assert [losses.before_frame(number, k + 1) for k, number in enumerate((0, 4096, 8192))] == [0, 0, 0]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_unnumbered_frames_are_all_accounted_for_in_the_end(bursts):
    """A leaky queue of WAITING frames; between two looks of the reader a burst comes in."""
    losses, waiting, entered, taken, told = LossCount(), 0, 5, 0, 0
    losses.begin(entered)
    for burst in bursts:
        entered += burst
        waiting = min(WAITING, waiting + burst)
        if waiting:
            waiting, taken = waiting - 1, taken + 1
            told += losses.before_frame(None, entered)
        assert taken + told + waiting <= entered - 5, "never more than there were"
    while waiting:
        waiting, taken = waiting - 1, taken + 1
        told += losses.before_frame(None, entered)
    told += losses.while_empty(entered)
    assert taken + told == sum(bursts)


# -- the process ----------------------------------------------------------------------------------------------------


def test_loading_gstreamer_leaves_the_compilers_stack_unwinder_in_charge():
    load_gstreamer()
    everyone = ctypes.cast(ctypes.CDLL(None)._Unwind_RaiseException, ctypes.c_void_p)
    compilers = ctypes.cast(ctypes.CDLL("libgcc_s.so.1")._Unwind_RaiseException, ctypes.c_void_p)
    assert everyone.value == compilers.value
