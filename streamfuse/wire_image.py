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
from streamfuse.wire_fields import Fields

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

    entry: dict[str, Any]
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
    entry: dict[str, Any] = {"name": name, "width": width, "height": height, "encoding": encoding.word}
    entry |= {"step": width * encoding.pixel_bytes, "codec": codec, "bytes": buffer.nbytes}
    return PackedImage(entry, buffer)


def unpack(entry: Fields, buffer: memoryview) -> Pixels:
    """The pixels an entry describes, read-only; raw ones are a view of `buffer`. WireError where they disagree."""
    encoding = ENCODINGS.get(entry.text("encoding"))
    if encoding is None:
        raise WireError(f"{entry.where}.encoding is {entry.text('encoding')[:40]!r}; known are {', '.join(ENCODINGS)}")
    width, height = _checked_size(entry, encoding)
    if entry.integer("bytes") != buffer.nbytes:
        raise WireError(f"{entry.where} announces {entry.integer('bytes')} bytes, its part has {buffer.nbytes}")
    codec = entry.text("codec")
    if codec == "raw":
        pixels = _raw_pixels(entry, encoding, (width, height), buffer)
    elif codec == "jpeg":
        pixels = _jpeg_pixels(entry, encoding, (width, height), buffer)
    else:
        raise WireError(f"{entry.where}.codec is {codec[:40]!r}; known are {', '.join(CODECS)}")
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


def _checked_size(entry: Fields, encoding: Encoding) -> tuple[int, int]:
    width, height, step = entry.integer("width"), entry.integer("height"), entry.integer("step")
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise WireError(f"{entry.where} is {width}x{height}; each side must be 1 to {MAX_SIDE} pixels")
    if step != width * encoding.pixel_bytes or step * height > MAX_IMAGE_BYTES:
        raise WireError(f"{entry.where}.step is {step} for {width}x{height} {encoding.word}")
    return width, height


def _raw_pixels(entry: Fields, encoding: Encoding, size: tuple[int, int], buffer: memoryview) -> Pixels:
    width, height = size
    if buffer.nbytes != width * height * encoding.pixel_bytes:
        raise WireError(f"{entry.where} needs {width * height * encoding.pixel_bytes} bytes, found {buffer.nbytes}")
    flat = np.frombuffer(buffer, encoding.dtype)
    if encoding.channels == 1:
        return flat.reshape(height, width)
    pixels = flat.reshape(height, width, encoding.channels)
    return pixels[..., ::-1] if encoding.word == "bgr8" else pixels


def _jpeg(pixels: Pixels, quality: int) -> Any:
    cv2 = opencv("publishing JPEG")
    blue_first = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]


def _jpeg_pixels(entry: Fields, encoding: Encoding, size: tuple[int, int], buffer: memoryview) -> Pixels:
    if encoding.dtype != "|u1":
        raise WireError(f"{entry.where}: JPEG cannot hold {encoding.word}")
    inside = next(_jpeg_sizes(bytes(buffer)), None)
    if inside != size:
        raise WireError(f"{entry.where} announces {size}, the JPEG inside is {inside or 'not readable'}")
    cv2 = opencv("reading JPEG")
    colour = cv2.IMREAD_GRAYSCALE if encoding.channels == 1 else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(buffer, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise WireError(f"{entry.where} holds a JPEG that cannot be decoded: {error}") from error
    if pixels is None or pixels.shape[:2] != (size[1], size[0]):
        raise WireError(f"{entry.where} holds a JPEG that cannot be decoded")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if encoding.channels == 3 else pixels


def _jpeg_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) from each start-of-frame segment before the first scan (ITU-T T.81, B.2.2)."""
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            yield int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + max(length, 2)
