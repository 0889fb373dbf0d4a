"""Video files: exact counts, exact times, and what damage costs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from recording_files import SIZE, grey, level, overwrite, packet_places, write_video

from streamfuse.errors import UserError
from streamfuse.frames import DroppedFrame, Frame, Modality, Reason
from streamfuse.sources.ffv1_check import is_damaged
from streamfuse.sources.pictures import Unreadable
from streamfuse.sources.recording import open_recording
from streamfuse.sources.recording_video import VideoPictures, open_video

INTRA = {"g": "1", "level": "3", "slicecrc": "1"}


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(5_000, 9_000, (SIZE[1], SIZE[0])).astype(np.uint16) for _ in range(count)]


def levels(video: VideoPictures, *, limited: bool = False) -> list[int | None]:
    """Frame index told from the brightness, None for what cannot be read; `limited` = stored as 16 to 235."""
    scale, black = (219 / 255, 16) if limited else (1.0, 0)
    return [
        None if isinstance(picture, Unreadable) else round(((float(picture.mean()) - black) / scale - level(0)) / 8)
        for picture in video.read()
    ]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "gray"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.avi", "libx264", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "png", "rgb24"),
    ],
)
def test_every_frame_of_common_formats_in_order(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    video = open_video(
        write_video(tmp_path / name, (grey(i) for i in range(20)), codec=codec, pix_fmt=pix_fmt), Modality.THERMAL
    )
    assert levels(video, limited=pix_fmt == "yuv420p") == list(range(20))  # luminance comes out as it is stored
    assert video.names[-1] == "000019"
    assert video.times_ns[1] - video.times_ns[0] == pytest.approx(1e9 / 30, abs=400_000)
    assert video.warnings == ()


def test_ffv1_counts_are_bit_exact(tmp_path: Path) -> None:
    frames = noise(6)
    video = open_video(write_video(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="gray16le"), Modality.THERMAL)
    assert video.look().bits == 16
    assert all(np.array_equal(picture, frame) for picture, frame in zip(video.read(), frames, strict=True))


def test_ten_bit_counts_are_not_stretched(tmp_path: Path) -> None:
    path, counts = tmp_path / "a.mkv", np.arange(48 * 64, dtype="<u2").reshape(48, 64) % 1024
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "gray10le"
        frame = av.VideoFrame(*SIZE, "gray10le")
        frame.planes[0].update(counts.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (picture,) = open_video(path, Modality.THERMAL).read()
    assert isinstance(picture, np.ndarray)
    assert np.array_equal(picture, counts)


def test_luminance_that_says_it_is_limited_is_stretched(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", (grey(i) for i in range(20)), pix_fmt="yuv420p", color_range=1)
    assert levels(open_video(path, Modality.THERMAL)) == list(range(20))


def test_visible_video_is_red_first(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        red = np.zeros((48, 64, 3), np.uint8)
        red[:, :, 0] = 200
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    (picture,) = open_video(path, Modality.RGB).read()
    assert isinstance(picture, np.ndarray)
    assert np.array_equal(picture, red)


def test_presentation_times_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    pts = [0, 2999, 9007, 90_001]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "gray"
        stream.codec_context.time_base = Fraction(1, 90_000)
        for index, stamp in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(grey(index), format="gray")
            frame.pts, frame.time_base = stamp, Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert open_video(path, Modality.THERMAL).times_ns == (0, 33_322_222, 100_077_778, 1_000_011_111)


def test_a_rate_replaces_video_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", (grey(i) for i in range(3)))
    pair = open_recording(path, path, rate_hz=10, pace="every")
    assert [frame.recording_ns for frame in pair.thermal] == [0, 100_000_000, 200_000_000]


def test_a_raw_stream_without_times_says_so(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "a.h264", (grey(i) for i in range(12))), Modality.THERMAL)
    assert levels(video) == list(range(12))
    assert "its frames have no usable times" in video.warnings[0]


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "b-pyramid": "none"}])
def test_a_damaged_packet_costs_its_own_frame_and_moves_no_other(tmp_path: Path, options: dict[str, str]) -> None:
    path = write_video(tmp_path / "a.mp4", (grey(i) for i in range(20)), options={**options, "g": "5"})
    offset, size = packet_places(path)[7]
    found = levels(open_video(overwrite(path, offset + 4, bytes(size - 4)), Modality.THERMAL))
    lost = [index for index, shown in enumerate(found) if shown is None]
    assert len(found) == 20
    assert 1 <= len(lost) <= 4  # at most to the next key frame
    assert found[10:] == list(range(10, 20))


def test_damage_comes_out_as_a_dropped_frame_at_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", noise(5), codec="ffv1", pix_fmt="gray16le", options=INTRA)
    offset, _ = packet_places(path)[2]
    overwrite(path, offset + 300, bytes(100))
    items = list(open_recording(path, path, pace="every").thermal)
    assert [type(item) for item in items] == [Frame, Frame, DroppedFrame, Frame, Frame]
    dropped = items[2]
    assert isinstance(dropped, DroppedFrame)
    assert (dropped.reason, dropped.sequence, dropped.recording_ns) == (Reason.CORRUPT, 2, 67_000_000)
    assert "wrong checksum" in dropped.detail


def test_ffv1_frames_that_build_on_a_damaged_one_are_not_shown(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", noise(9), codec="ffv1", pix_fmt="gray16le", options={**INTRA, "g": "4"})
    offset, _ = packet_places(path)[5]
    overwrite(path, offset + 300, bytes(100))
    readable = [not isinstance(picture, Unreadable) for picture in open_video(path, Modality.THERMAL).read()]
    assert readable == [True] * 5 + [False] * 3 + [True]


def test_checksums_tell_one_flipped_bit_and_ignore_packets_without_them(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", noise(1), codec="ffv1", pix_fmt="gray16le", options=INTRA)
    with av.open(str(path)) as container:
        packet = bytearray(next(container.demux(video=0)))
    assert not is_damaged(bytes(packet))
    packet[len(packet) // 2] ^= 1
    assert is_damaged(bytes(packet))
    assert not is_damaged(b"no footers at all")


def test_a_cut_off_file_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", noise(30), codec="ffv1", pix_fmt="gray16le", options=INTRA)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    pair = open_recording(path, path, pace="every")
    frames = [item for item in pair.thermal if isinstance(item, Frame)]
    assert 13 <= len(frames) <= 16
    assert f"declares 30 frames, {len(pair.thermal.names)} are there" in pair.warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"", "neither an image nor a video"),
        ("a.mp4", bytes(500), "neither an image nor a video"),
        ("a.txt", b"some words\n" * 50, "neither an image nor a video|a video stream was asked for"),
        ("a.npy", b"\x93NUMPY" + bytes(200), "neither an image nor a video"),
    ],
)
def test_files_that_are_no_video_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_recording(tmp_path / name, tmp_path / name)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"a video stream was asked for, found audio \(wav\)"):
        open_video(path, Modality.RGB)
