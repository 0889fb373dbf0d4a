"""One image of a message: pixels <-> buffer, with the header entry that describes the buffer.

It knows nothing of topics, headers or sockets. Every size is checked before a buffer is viewed, and the size inside a
JPEG before it is decoded. Raw rows have no padding; 16-bit samples are little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import numpy as np

from streamfuse.errors import UserError, WireError
from streamfuse.frames import Pixels
from streamfuse.wire_header import ImageEntry

MAX_SIDE = 16384
MAX_IMAGE_BYTES = 256 << 20
CODECS = ("raw", "jpeg")
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the samples of one pixel are, under the word that ROS and Foxglove use for it."""

    word: str
    dtype: str
    channels: int
    pixel_bytes: int


ENCODINGS = {
    encoding.word: encoding
    for encoding in (
        Encoding("mono8", "|u1", 1, 1),
        Encoding("mono16", "<u2", 1, 2),
        Encoding("rgb8", "|u1", 3, 3),
        Encoding("bgr8", "|u1", 3, 3),
    )
}

WORDS: dict[tuple[str | int, ...], str] = {("u", 1): "mono8", ("u", 2): "mono16", ("u", 1, 3): "rgb8"}
"""By kind and bytes of the samples, and channels; numpy puts a dtype's `name` together every time it is asked."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedImage:
    """A header entry and the buffer it describes."""

    entry: ImageEntry
    buffer: bytes | memoryview


def pack(name: str, pixels: Pixels, codec: str = "raw", jpeg_quality: int = JPEG_QUALITY) -> PackedImage:
    """Pixels (H W 3 uint8 red first, or H W uint8 or uint16) as a buffer; 16-bit pixels always travel raw.

    A contiguous array is not copied: the buffer is a view of it. WireError for any other shape, type or size.
    """
    encoding = _encoding_of(name, pixels)
    height, width = pixels.shape[:2]
    if codec == "jpeg" and encoding.dtype == "|u1":
        buffer = memoryview(_jpeg(pixels, jpeg_quality))
    else:
        codec, buffer = "raw", np.ascontiguousarray(pixels, encoding.dtype).data.cast("B")
    step = width * encoding.pixel_bytes
    return PackedImage(ImageEntry(name, width, height, encoding.word, step, codec, buffer.nbytes), buffer)


def unpack(entry: ImageEntry, buffer: memoryview, where: str) -> Pixels:
    """The pixels an entry describes, read-only; raw ones are a view of `buffer`. WireError where they disagree.

    `where`: the entry's place in the header, for the error text.
    """
    encoding = ENCODINGS.get(entry.encoding)
    if encoding is None:
        raise WireError(f"{where}.encoding is {entry.encoding[:40]!r}; known are {', '.join(ENCODINGS)}")
    _check_size(entry, encoding, where)
    if entry.bytes != buffer.nbytes:
        raise WireError(f"{where} announces {entry.bytes} bytes, its part has {buffer.nbytes}")
    if entry.codec == "raw":
        pixels = _raw_pixels(entry, encoding, buffer, where)
    elif entry.codec == "jpeg":
        pixels = _jpeg_pixels(entry, encoding, buffer, where)
    else:
        raise WireError(f"{where}.codec is {entry.codec[:40]!r}; known are {', '.join(CODECS)}")
    pixels.flags.writeable = False
    return pixels


def opencv(purpose: str) -> ModuleType:
    """OpenCV, loaded when the first JPEG needs it; UserError with the remedy when it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"{purpose} needs OpenCV, which is not installed here: pip install opencv-python-headless, "
            "or publish with the codec raw"
        ) from error
    return cv2


def _encoding_of(name: str, pixels: Pixels) -> Encoding:
    height, width, *channels = cast("tuple[int, ...]", pixels.shape) if pixels.ndim >= 2 else (0, 0, 0)
    word = WORDS.get((pixels.dtype.kind, pixels.dtype.itemsize, *channels))
    if word is None:
        raise WireError(
            f"image {name} must be H W 3 uint8 or H W uint8 or uint16, found shape {pixels.shape} {pixels.dtype}"
        )
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise WireError(f"image {name} is {width}x{height}; each side must be 1 to {MAX_SIDE} pixels")
    return ENCODINGS[word]


def _check_size(entry: ImageEntry, encoding: Encoding, where: str) -> None:
    width, height, step = entry.width, entry.height, entry.step
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise WireError(f"{where} is {width}x{height}; each side must be 1 to {MAX_SIDE} pixels")
    if step != width * encoding.pixel_bytes or step * height > MAX_IMAGE_BYTES:
        raise WireError(f"{where}.step is {step} for {width}x{height} {encoding.word}")


def _raw_pixels(entry: ImageEntry, encoding: Encoding, buffer: memoryview, where: str) -> Pixels:
    width, height = entry.width, entry.height
    if buffer.nbytes != entry.step * height:
        raise WireError(f"{where} needs {entry.step * height} bytes, found {buffer.nbytes}")
    shape = (height, width) if encoding.channels == 1 else (height, width, encoding.channels)
    pixels = np.ndarray(shape, encoding.dtype, buffer)
    return pixels[..., ::-1] if encoding.word == "bgr8" else pixels


def _jpeg(pixels: Pixels, quality: int) -> Any:
    cv2 = opencv("publishing JPEG")
    blue_first = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]


def _jpeg_pixels(entry: ImageEntry, encoding: Encoding, buffer: memoryview, where: str) -> Pixels:
    size = entry.width, entry.height
    if encoding.dtype != "|u1":
        raise WireError(f"{where}: JPEG cannot hold {encoding.word}")
    inside = next(_jpeg_sizes(bytes(buffer)), None)
    if inside != size:
        raise WireError(f"{where} announces {size}, the JPEG inside is {inside or 'not readable'}")
    cv2 = opencv("reading JPEG")
    colour = cv2.IMREAD_GRAYSCALE if encoding.channels == 1 else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(buffer, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise WireError(f"{where} holds a JPEG that cannot be decoded: {error}") from error
    if pixels is None or pixels.shape[:2] != (size[1], size[0]):
        raise WireError(f"{where} holds a JPEG that cannot be decoded")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if encoding.channels == 3 else pixels


def _jpeg_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) from each start-of-frame segment before the first scan (ITU-T T.81, B.2.2)."""
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            yield int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + max(length, 2)
