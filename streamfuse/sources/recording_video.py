"""One video file as the pictures of one camera, decoded with PyAV. Knows nothing of the other camera.

Opening reads through the file's packets once, without decoding: that gives the exact number of frames, the time of
each, and whether the file is cut off. While reading, a frame is known by its time, so that after a damaged packet
every later frame keeps its own index. Frames that a codec predicts from a damaged one are delivered where the decoder
accepts them; they may look smeared until the next key frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import Modality, Pixels
from streamfuse.sources.ffv1_check import is_damaged
from streamfuse.sources.pictures import Look, Unreadable, colourfulness
from streamfuse.sources.timestamps import even_times_ns

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FALLBACK_RATE_HZ = 30.0
NOT_VIDEO = frozenset({"tty", "srt", "webvtt", "ass"})
"""Containers under which FFmpeg would show a text file as a picture."""
LIMITED_RANGE = 1
"""FFmpeg's mark of a stream that says its luminance runs from 16 to 235; that one is stretched to 0 to 255."""
STEADY = frozenset({"avi"})
"""Containers that store no presentation times: their frames are even by definition."""


@dataclass(frozen=True, slots=True)
class VideoPictures:
    """The first video stream of a file; `names` are six-digit indices, `pts` its presentation times or None."""

    path: Path
    modality: Modality
    count: int
    pts: tuple[int, ...] | None
    times_ns: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{index:06d}" for index in range(self.count))

    def read(self) -> Generator[Pixels | Unreadable]:
        """Exactly `count` pictures. Raises SourceLost when the file has gone."""
        with closing(self._all_pictures()) as pictures:
            yield from itertools.islice(pictures, self.count)

    def _all_pictures(self) -> Generator[Pixels | Unreadable]:
        index_of_pts: dict[int | None, int] = {pts: index for index, pts in enumerate(self.pts or ())}
        done, trouble = 0, Unreadable("the decoder gave no picture for it")
        for item in self._decode():
            if isinstance(item, Unreadable):
                trouble = item
                if not self.pts:
                    yield trouble
                    done += 1
                continue
            index = index_of_pts.get(item.pts, done)
            yield from itertools.repeat(trouble, index - done)
            if index >= done:
                yield _pixels(item, self.modality)
                done = index + 1
        yield from itertools.repeat(trouble, self.count - done)

    def look(self) -> Look:
        """What the first readable frame is like; UserError where none can be decoded."""
        detail = "it has no frames"
        for frame in self._decode():
            if isinstance(frame, Unreadable):
                detail = frame.detail
                continue
            return Look(
                description=f"{frame.format.name} video {self.path}",
                size=(frame.width, frame.height),
                bits=frame.format.components[0].bits,
                colourfulness=colourfulness(frame.to_ndarray(format="rgb24")),
            )
        raise UserError(f"{self.path}: none of its {self.count} video frames can be decoded ({detail})")

    def _decode(self) -> Iterator[VideoFrame | Unreadable]:
        """Frames in the order they are shown, and what is wrong with packets that cannot be decoded."""
        import av.error

        try:
            with _opened(self.path) as (container, stream):
                stream.codec_context.options = {"err_detect": "explode"}
                intact = True
                for packet in _packets(container, stream):
                    intact = (intact or packet.is_keyframe) and not _wrong_checksum(packet)
                    yield from _decoded(packet) if intact else (_damaged(packet, "wrong checksum since the key frame"),)
        except (UserError, av.error.FFmpegError) as error:
            raise SourceLost(f"{self.path} could be opened before and cannot be now: {error}") from error


def open_video(path: Path, modality: Modality) -> VideoPictures:
    """Read through the packets of `path`. Raises UserError where there is no video in it."""
    with _opened(path) as (container, stream):
        stamps = [packet.pts for packet in _packets(container, stream) if packet.size and not packet.is_discard]
        rate_hz = float(stream.average_rate or FALLBACK_RATE_HZ)
        promised = stream.frames or round(_declared_s(container, stream) * rate_hz)
        steady = container.format.name in STEADY
        time_base = stream.time_base
    count = len(stamps)
    if not count:
        raise UserError(f"{path}: a video was asked for, found a video stream without a single frame")
    warnings = _cut_off(path, count, promised, rate_hz)
    pts = _usable(stamps)
    if pts and time_base and not steady:
        return VideoPictures(path, modality, count, pts, _to_ns(pts, time_base), warnings)
    if not steady:
        warnings += (f"{path}: its frames have no usable times; frame i is taken to be at i / {rate_hz:g} s",)
    return VideoPictures(path, modality, count, None, even_times_ns(range(count), rate_hz), warnings)


@contextmanager
def _opened(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    import av
    import av.error

    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"{path}: neither an image nor a video that can be opened ({_reason(error)}); "
            "give a folder of images, or a video file that ffprobe can read"
        ) from error
    with container:
        if not container.streams.video or container.format.name in NOT_VIDEO:
            kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
            raise UserError(
                f"{path}: a video stream was asked for, found {', '.join(kinds)} ({container.format.name}); "
                "give a video file, and see whether this one is complete"
            )
        yield container, container.streams.video[0]


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """All packets up to the end, or up to where a file that is cut off stops."""
    import av.error

    with suppress(av.error.FFmpegError):
        yield from container.demux(stream)


def _decoded(packet: Packet[VideoStream]) -> list[VideoFrame | Unreadable]:
    import av.error

    try:
        frames = packet.decode()
    except av.error.FFmpegError as error:
        return [_damaged(packet, _reason(error))]
    return [Unreadable(f"damaged video frame at pts {frame.pts}") if frame.is_corrupt else frame for frame in frames]


def _damaged(packet: Packet[VideoStream], reason: str) -> Unreadable:
    return Unreadable(f"damaged video packet at byte {packet.pos}: {reason}")


def _wrong_checksum(packet: Packet[VideoStream]) -> bool:
    """True for FFV1 only; what follows such a packet up to the next key frame cannot be right either."""
    return packet.stream.codec_context.name == "ffv1" and is_damaged(bytes(packet))


def _usable(stamps: Sequence[int | None]) -> tuple[int, ...] | None:
    """Presentation times in rising order; None where one is missing or given twice."""
    known = {stamp for stamp in stamps if stamp is not None}
    return tuple(sorted(known)) if len(known) == len(stamps) else None


def _declared_s(container: InputContainer, stream: VideoStream) -> float:
    """The length that the file claims to have, in seconds; 0 where it claims none for the video alone."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6 if len(container.streams) == 1 else 0.0


def _cut_off(path: Path, found: int, promised: int, rate_hz: float) -> tuple[str, ...]:
    """A warning where much less was found than promised; a declared length alone may be a few frames out."""
    if promised - found <= max(2.0, 0.1 * rate_hz):
        return ()
    return (f"{path}: the file is cut off: it declares {promised} frames, {found} are there",)


def _to_ns(pts: Sequence[int], time_base: Fraction) -> tuple[int, ...]:
    return tuple(round(stamp * time_base * 1_000_000_000) for stamp in pts)


def _pixels(frame: VideoFrame, modality: Modality) -> Pixels:
    if modality is Modality.RGB:
        return frame.to_ndarray(format="rgb24")
    grey = frame.format.name.startswith("gray")
    if grey or (frame.format.is_planar and not frame.format.is_rgb and frame.color_range != LIMITED_RANGE):
        return _first_plane(frame)
    return frame.to_ndarray(format="gray" if frame.format.components[0].bits <= 8 else "gray16le")


def _first_plane(frame: VideoFrame) -> Pixels:
    """Grey or luminance exactly as stored: a conversion would stretch 10 to 14 bits to 16, or clip at 16 and 235."""
    order = ">u2" if frame.format.name.endswith("be") else "<u2"
    stored = np.dtype(np.uint8 if frame.format.components[0].bits <= 8 else order)
    plane = frame.planes[0]
    rows = np.frombuffer(cast(Any, plane), stored).reshape(-1, plane.line_size // stored.itemsize)
    return rows[: frame.height, : frame.width].astype(np.uint16 if stored.itemsize == 2 else np.uint8)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
