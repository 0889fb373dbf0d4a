"""GstSource on live test patterns: pixels, order, times, ends, losses, and every mistake by name and remedy."""

from __future__ import annotations

import itertools
import os
import threading
import time

import numpy as np
import pytest
from sources.gstreamer_streams import LIVE, frames, take

from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import Clock, DroppedFrame, Frame, Modality, Reason
from streamfuse.sources.gstreamer import GstCamera, GstSource
from streamfuse.sources.gstreamer_library import load_gstreamer
from streamfuse.sources.gstreamer_spec import CameraSpec

THERMAL, RGB = Modality.THERMAL, Modality.RGB
WHITE, YELLOW, CYAN, RED, BLUE = [255] * 3, [255, 255, 0], [0, 255, 255], [255, 0, 0], [0, 0, 255]
BARS = [WHITE, YELLOW, CYAN, [0, 255, 0], [255, 0, 255], RED, BLUE]


def bars(image: np.ndarray) -> np.ndarray:
    """The colour in the middle of each of the seven bars of the `smpte100` pattern."""
    height, width = image.shape[:2]
    return image[height // 3, [(2 * k + 1) * width // 14 for k in range(7)]]


@pytest.mark.parametrize("picture_format", ["RGB", "BGR", "I420", "NV12"])
@pytest.mark.parametrize("size", [(644, 482), (641, 483)])  # rows with padding; odd, so GStreamer converts
def test_every_rgb_format_shows_the_same_colours_red_first(picture_format, size):
    (frame,) = frames(RGB, 1, launch=f"{LIVE} pattern=smpte100", format=picture_format, size=size)
    assert frame.pixels.shape == (size[1], size[0], 3)
    assert frame.pixels.dtype == np.uint8
    assert np.abs(bars(frame.pixels).astype(int) - BARS).max() <= (5 if size == (641, 483) else 2)


@pytest.mark.parametrize("colorimetry", ["bt601", "bt709", "1:4:0:0"])  # the last is JPEG's full range
def test_colours_are_right_whatever_matrix_and_range_the_camera_uses(colorimetry):
    as_rgb = "video/x-raw,format=RGB,width=640,height=480"  # the pattern itself ignores the range
    launch = f"{LIVE} pattern=smpte100 ! {as_rgb} ! videoconvert ! video/x-raw,format=I420,colorimetry={colorimetry}"
    (frame,) = frames(RGB, 1, launch=launch)
    assert np.abs(bars(frame.pixels).astype(int) - BARS).max() <= 4


def test_a_camera_that_speaks_yuy2_needs_no_word_about_it():
    (frame,) = frames(RGB, 1, launch=f"{LIVE} pattern=smpte100 ! video/x-raw,format=YUY2,width=640,height=480")
    assert np.abs(bars(frame.pixels).astype(int) - BARS).max() <= 5


@pytest.mark.parametrize(("picture_format", "white"), [("GRAY16_LE", 235 * 257), ("GRAY8", 235), ("I420", 235)])
def test_thermal_is_grey_as_stored(picture_format, white):
    (frame,) = frames(THERMAL, 1, launch=f"{LIVE} pattern=white", format=picture_format, size=(321, 257))
    assert frame.pixels.shape == (257, 321)
    assert frame.pixels.dtype == (np.uint16 if white > 255 else np.uint8)
    assert (frame.pixels == white).all()


def test_rows_of_thermal_counts_stand_below_each_other():
    """A vertical edge stays vertical although each row has padding behind it."""
    (frame,) = frames(THERMAL, 1, launch=f"{LIVE} pattern=bar", format="GRAY16_LE", size=(321, 257))
    assert len(np.unique(frame.pixels, axis=0)) == 1
    assert len(np.unique(frame.pixels)) > 1


def test_live_times_are_on_the_monotonic_clock_and_evenly_spaced():
    before = now_ns()
    taken = frames(THERMAL, 12, launch=LIVE, format="GRAY16_LE", size=(64, 48), rate_hz=50)
    steps = np.diff([frame.capture_ns for frame in taken])
    assert np.abs(steps[np.diff([frame.sequence for frame in taken]) == 1] - 20_000_000).max() <= 1
    assert before < taken[0].capture_ns < taken[-1].capture_ns <= now_ns()
    assert {frame.clock for frame in taken} == {Clock.DRIVER}
    assert all(0 < frame.capture_error_ns < 1_000_000 for frame in taken)


def test_two_live_cameras_share_one_time():
    """Frames that two sources have just handed out carry nearly the same time, whenever each pipeline was started."""
    ages: dict[Modality, list[int]] = {THERMAL: [], RGB: []}
    with GstSource(THERMAL, CameraSpec(launch=LIVE, size=(64, 48), rate_hz=50)) as thermal:
        time.sleep(0.13)
        with GstSource(RGB, CameraSpec(launch=LIVE, size=(64, 48), rate_hz=50)) as rgb:
            for items in itertools.islice(zip(thermal, rgb, strict=False), 20):
                for item in items:
                    if isinstance(item, Frame):
                        ages[item.modality].append(now_ns() - item.capture_ns)
    skew_ns = abs(min(ages[THERMAL]) - min(ages[RGB]))
    assert skew_ns < 40_000_000, ages  # phase and a frame in hand: two periods at most; times from each start: 130 ms


def test_pixels_stay_as_they_are_while_later_frames_use_freed_memory():
    taken = frames(RGB, 12, launch=f"{LIVE} pattern=ball", size=(64, 48), rate_hz=100)
    kept = [frame.pixels.copy() for frame in taken]
    assert len({frame.pixels.ctypes.data for frame in taken}) == len(taken)
    again = frames(RGB, 12, launch=f"{LIVE} pattern=ball", size=(64, 48), rate_hz=100)
    assert all((frame.pixels == copy).all() for frame, copy in zip(taken, kept, strict=True))
    assert len(again) == 12


def test_a_stream_that_ends_ends():
    taken = take(GstSource(RGB, CameraSpec(launch=f"{LIVE} num-buffers=30", size=(64, 48), rate_hz=100)))
    assert 20 <= len(taken) <= 30  # what came while it was being opened is nobody's
    assert [item.sequence for item in taken] == list(range(len(taken)))


def test_frames_that_a_slow_reader_missed_are_counted():
    with GstSource(RGB, CameraSpec(launch=f"{LIVE} num-buffers=60", size=(64, 48), rate_hz=100)) as source:
        items = iter(source)
        first = next(items)
        time.sleep(0.3)
        taken = [first, *items]
    lost = [item for item in taken if isinstance(item, DroppedFrame)]
    assert 10 <= len(lost) <= 30
    assert {item.reason for item in lost} == {Reason.OVERFLOW}
    times = [item.capture_ns for item in taken if isinstance(item, Frame)]
    assert round((times[-1] - times[0]) / 10_000_000) == len(taken) - 1, "one item for every frame of the camera"


def test_unnumbered_frames_are_counted_too():
    """A decoder takes the frame numbers away; then buffers are counted at the appsink's door."""
    launch = f"{LIVE} num-buffers=60 ! video/x-raw,width=64,height=48,framerate=100/1 ! jpegenc ! jpegdec"
    with GstSource(RGB, CameraSpec(launch=launch)) as source:
        items = iter(source)
        first = next(items)
        time.sleep(0.3)
        taken = [first, *items]
    times = [item.capture_ns for item in taken if isinstance(item, Frame)]
    assert any(isinstance(item, DroppedFrame) for item in taken)
    assert round((times[-1] - times[0]) / 10_000_000) == len(taken) - 1


def test_silence_is_a_loss_that_says_what_to_check():
    """The valve shuts in the middle of the stream: no frame, no error, no end."""
    source = GstSource(
        THERMAL, CameraSpec(launch=f"{LIVE} ! valve name=valve", size=(64, 48), rate_hz=50, stall_ms=300)
    )
    with source as opened:
        items = iter(opened)
        next(items)
        opened._open.pipeline.get_by_name("valve").set_property("drop", True)
        started = now_ns()
        with pytest.raises(SourceLost, match=r"thermal camera \(videotestsrc.*sent nothing for 0.3 s; check power"):
            list(items)
    assert 0.3e9 <= now_ns() - started < 2e9


def test_a_camera_that_never_sends_is_a_loss():
    started = now_ns()
    with pytest.raises(SourceLost, match=r"sent nothing for 0\.3 s; check power and cable"):
        take(GstSource(THERMAL, CameraSpec(launch="appsrc is-live=true", open_ms=300)))
    assert now_ns() - started < 2e9


def test_an_error_in_the_stream_is_a_loss_not_an_end():
    launch = f"{LIVE} ! video/x-raw,width=64,height=48,framerate=50/1 ! identity error-after=8"
    with pytest.raises(SourceLost, match="Failed after iterations as requested"):
        take(GstSource(RGB, CameraSpec(launch=launch)))


CHANGES = f"{LIVE} num-buffers=40 ! video/x-raw,width=64,height=48,framerate=50/1 ! videoscale ! capsfilter name=change"


@pytest.mark.parametrize("any_size", [True, False])
def test_a_camera_that_changes_its_size(any_size):
    gst = load_gstreamer().Gst
    with GstSource(RGB, CameraSpec(launch=CHANGES), any_size=any_size) as source:
        items = iter(source)
        sizes = [next(items).size]
        change = source._open.pipeline.get_by_name("change")
        change.set_property("caps", gst.Caps.from_string("video/x-raw,width=96,height=72"))
        if not any_size:
            with pytest.raises(SourceLost, match="changed from 64x48 to 96x72"):
                list(items)
            return
        sizes += [item.size for item in items if isinstance(item, Frame)]
    assert (sizes[0], sizes[-1]) == ((64, 48), (96, 72))


def test_close_from_another_thread_ends_the_iteration():
    with GstSource(RGB, CameraSpec(launch=LIVE, size=(64, 48))) as source:
        threading.Timer(0.2, source.close).start()
        closed = list(source)
    assert len(closed) < 60


def test_a_camera_can_be_opened_again_and_again_without_leaving_anything_behind():
    camera = GstCamera(RGB, CameraSpec(launch=LIVE, size=(64, 48), rate_hz=100))
    take(camera(), 2)
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(10):
        assert len(take(camera(), 2)) == 2
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert threading.active_count() <= threads


MISTAKES = {
    "typo in an element": ({"launch": "videotestsrcc"}, ["no element videotestsrcc", "did you mean videotestsrc?"]),
    "typo in a property": ({"launch": "videotestsrc patern=ball"}, ['no property "patern"', "gst-inspect"]),
    "bad value": ({"launch": "videotestsrc pattern=bal"}, ['"pattern"', '"bal"']),
    "bad syntax": ({"launch": "videotestsrc ! ! identity"}, ["syntax error", "videotestsrc ! ! identity"]),
    "missing plugin": ({"launch": "nvarguscamerasrc ! nvvidconv"}, ["nvarguscamerasrc", "JetPack"]),
    "no such device": ({"launch": "v4l2src device=/dev/video99"}, ["/dev/video99", "doctor"]),
    "format not offered": (
        {"launch": f"{LIVE} ! video/x-raw,format=BGR", "format": "GRAY16_LE", "size": (640, 512)},
        ["GRAY16_LE 640x512", "BGR"],
    ),
    "no such file": ({"uri": "file:///nowhere/a.mkv"}, ["/nowhere/a.mkv", "check the address"]),
    "with a sink": ({"launch": "videotestsrc ! fakesink"}, ["without a sink"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_says_what_was_found_and_what_to_do(mistake):
    asked, parts = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        take(GstSource(THERMAL, CameraSpec(**asked)), 1)
    for part in ("the thermal camera", *parts):
        assert part in str(caught.value)


def test_nothing_that_listens_is_a_loss_and_names_no_password():
    with pytest.raises(SourceLost) as caught:
        take(GstSource(RGB, CameraSpec(uri="rtsp://me:secret@127.0.0.1:9/live")), 1)
    assert "rtsp://***@127.0.0.1:9/live" in str(caught.value)
    assert "secret" not in str(caught.value)
