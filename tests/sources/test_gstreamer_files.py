"""The same file through GStreamer and through PyAV: the same frames, exactly where the codec stores what we hand on.

Exact: 16-bit thermal (FFV1), luminance of any video, RGB from lossless RGB. Within bounds: RGB from 4:2:0, where the
two libraries interpolate chroma differently; there GStreamer's is nearer to the original.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from sources.gstreamer_streams import frames, rtsp_server, take, write_video

from streamfuse.clock import ReplayClock
from streamfuse.frames import Clock, Frame, Modality
from streamfuse.shipped import shipped_path
from streamfuse.sources.gstreamer import GstSource
from streamfuse.sources.gstreamer_spec import CameraSpec
from streamfuse.sources.recording import open_recording

THERMAL, RGB = Modality.THERMAL, Modality.RGB


def picture(k: int, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """A smooth coloured picture, another one for each k; H W 3 uint8."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    planes = (x * 255 // size[0] + 5 * k, y * 255 // size[1] + 3 * k, (x + y) * 255 // sum(size))
    return cv2.GaussianBlur(np.stack(planes, -1).clip(0, 255).astype(np.uint8), (0, 0), 2)


def replayed(thermal: Path, rgb: Path) -> tuple[list[Frame], list[Frame]]:
    """Both recordings through PyAV."""
    pair = open_recording(thermal, rgb, pace="every")
    return [*pair.thermal], [*pair.rgb]  # type: ignore[list-item]


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    rng = np.random.default_rng(4)
    pictures = [rng.integers(0, 1 << 16, (120, 161), dtype=np.uint16) for _ in range(6)]
    path = tmp_path_factory.mktemp("video") / "thermal.mkv"
    return write_video(path, pictures, codec="ffv1", stored="gray16le", given="gray16le"), pictures


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    pictures = [picture(k) for k in range(6)]
    path = tmp_path_factory.mktemp("video") / "rgb.mkv"
    return write_video(path, pictures, codec="ffv1", stored="bgr0", given="rgb24"), pictures


def test_sixteen_bit_counts_and_lossless_colours_are_exact_both_ways(counts, colours):
    by_pyav = replayed(counts[0], colours[0])
    by_gstreamer = frames(THERMAL, uri=counts[0].as_uri()), frames(RGB, uri=colours[0].as_uri())
    for pyav, gstreamer, truth in zip(by_pyav, by_gstreamer, (counts[1], colours[1]), strict=True):
        assert len(pyav) == len(gstreamer) == 6
        for one, other, stored in zip(pyav, gstreamer, truth, strict=True):
            assert (one.pixels == stored).all()
            assert (other.pixels == stored).all()
            assert one.pixels.dtype == other.pixels.dtype


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_luminance_is_exact_and_colour_close(tmp_path, codec):
    originals = [picture(k) for k in range(6)]
    path = write_video(tmp_path / "coded.mkv", originals, codec=codec, stored="yuv420p", given="rgb24")
    thermal, rgb = replayed(path, path)
    luminance, colour = frames(THERMAL, uri=path.as_uri()), frames(RGB, uri=path.as_uri())
    assert len(thermal) == len(luminance) == len(rgb) == len(colour) == 6
    assert all((one.pixels == other.pixels).all() for one, other in zip(thermal, luminance, strict=True))
    difference = np.abs(np.stack([one.pixels.astype(int) - two.pixels for one, two in zip(rgb, colour, strict=True)]))
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) <= 4


def test_the_shipped_recording_is_the_same_both_ways():
    thermal, visible = (shipped_path(f"samples/heli041/{name}.mp4") for name in ("thermal", "visible"))
    pyav, _ = replayed(thermal, visible)
    gstreamer = frames(THERMAL, 20, uri=thermal.as_uri())
    assert all((one.pixels == other.pixels).all() for one, other in zip(pyav, gstreamer, strict=False))
    assert len(gstreamer) == 20


def test_a_recording_served_over_rtsp_has_the_pixels_that_pyav_reads_from_its_file():
    thermal, visible = (shipped_path(f"samples/heli041/{name}.mp4") for name in ("thermal", "visible"))
    pyav, _ = replayed(thermal, visible)
    number = {frame.pixels.tobytes(): frame.sequence for frame in pyav}
    with rtsp_server() as (_, port):
        served = frames(THERMAL, 60, uri=f"rtsp://127.0.0.1:{port}/clip")
    numbers = [number.get(frame.pixels.tobytes(), -1) for frame in served]
    assert len(numbers) == 60
    assert -1 not in numbers, "a picture that the file does not hold"
    assert numbers == sorted(numbers)


def test_files_keep_their_own_times_and_share_one_start(counts, colours):
    replay = ReplayClock(0)
    both = [
        take(GstSource(modality, CameraSpec(uri=path.as_uri()), replay=replay))
        for modality, path in ((THERMAL, counts[0]), (RGB, colours[0]))
    ]
    for items in both:
        assert {item.clock for item in items} == {Clock.RECORDING}
        own = np.array([item.recording_ns for item in items])
        assert np.abs(np.diff(own) - 33_333_333).max() <= 700_000, "Matroska rounds to milliseconds"
        assert [item.capture_ns for item in items] == [replay.start_ns + time for time in own]


def test_a_file_with_sound_gives_its_pictures(tmp_path):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000)
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for k in range(8):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(k), format="rgb24")))
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 48_000
            container.mux(sound.encode(silence))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    assert len(frames(RGB, uri=path.as_uri())) == 8


def test_a_path_in_a_run_file_becomes_an_address(counts):
    spec = CameraSpec.of(launch=None, uri=counts[0].name, folder=counts[0].parent)
    assert spec.uri == counts[0].as_uri()
    assert spec.is_file
