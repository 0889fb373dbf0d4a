"""From a GStreamer sample to the pixels of a Frame, in one pass into memory that is used again.

The mapped buffer is only read; it goes back to its pool before the frame is handed on, so that a camera with four
buffers never waits for a slow consumer. The frame's own memory is recycled once nobody looks at it any more: fresh
memory costs more than the pass itself (1280x720, measured: 1.2 ms fresh, 0.1 ms recycled).
"""

from __future__ import annotations

import weakref
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.frames import Modality, Pixels, Size
from streamfuse.sources.gstreamer_library import load_gstreamer
from streamfuse.sources.yuv import BT601, Coding, rgb_from_i420

Bytes = NDArray[np.uint8]
KEPT = 24
"""Blocks of one size that wait for their next frame; more are given back to the system."""
FULL_RANGE = 1  # GST_VIDEO_COLOR_RANGE_0_255
CONVERSIONS = {
    "BGR": cv2.COLOR_BGR2RGB,
    "I420": cv2.COLOR_YUV2RGB_I420,
    "NV12": cv2.COLOR_YUV2RGB_NV12,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels lie in a buffer: `strides` and `offsets` in bytes, one each per plane."""

    format: str
    size: Size
    strides: tuple[int, ...]
    offsets: tuple[int, ...]
    coding: Coding = BT601

    @property
    def bits(self) -> int:
        return 16 if self.format == "GRAY16_LE" else 8


class FrameMemory:
    """Hands out arrays and takes their memory back when the last view of one has gone."""

    def __init__(self) -> None:
        self._free: dict[int, list[Bytes]] = {}

    def take(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Pixels:
        """An array with arbitrary contents; it stays valid for as long as anything refers to it."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        free = self._free.setdefault(count, [])
        block = free.pop() if free else np.empty(count, np.uint8)
        # not a plain view: numpy would let views of it refer to `block` itself, and its end would be told too early
        handed_out = np.frombuffer(block.data, dtype)
        weakref.finalize(handed_out, _give_back, free, block).atexit = False
        return handed_out.reshape(shape)


def _give_back(free: list[Bytes], block: Bytes) -> None:
    if len(free) < KEPT:
        free.append(block)


def read_pixels(data: Bytes, layout: Layout, modality: Modality, memory: FrameMemory) -> Pixels:
    """Thermal: H W uint8 or uint16, grey or luminance as stored. RGB: H W 3 uint8, red first.

    `data`: the bytes of one buffer. Raises ValueError where it is shorter than the layout says.
    """
    width, height = layout.size
    if modality is Modality.THERMAL:
        pixels = memory.take((height, width), np.uint16 if layout.bits == 16 else np.uint8)
        np.copyto(pixels.view(np.uint8), _plane(data, layout, 0, width * pixels.itemsize, height))
        return pixels
    pixels = memory.take((height, width, 3), np.uint8)
    if layout.format in ("I420", "NV12"):
        return _read_yuv(data, layout, pixels)
    stored = _plane(data, layout, 0, width * 3, height).reshape(height, width, 3)
    if layout.format == "BGR":
        return cv2.cvtColor(stored, CONVERSIONS["BGR"], pixels)
    np.copyto(pixels, stored)
    return pixels


def _plane(data: Bytes, layout: Layout, plane: int, row: int, rows: int) -> Bytes:
    """View of `rows` rows of `row` bytes, without the padding behind each."""
    stride, start = layout.strides[plane], layout.offsets[plane]
    needed = start + stride * (rows - 1) + row
    if needed > data.size:
        raise ValueError(f"a buffer of {data.size} bytes, its {layout.format} image ends at {needed}")
    return np.lib.stride_tricks.as_strided(data[start:], (rows, row), (stride, 1))


def _read_yuv(data: Bytes, layout: Layout, pixels: Bytes) -> Bytes:
    if layout.coding.is_opencv:
        return cast(Bytes, cv2.cvtColor(_yuv_image(data, layout), CONVERSIONS[layout.format], pixels))
    width, height = layout.size
    luma = _plane(data, layout, 0, width, height)
    if layout.format == "NV12":
        u, v = cv2.split(_plane(data, layout, 1, width, height // 2).reshape(height // 2, width // 2, 2))
    else:
        u, v = (_plane(data, layout, plane, width // 2, height // 2) for plane in (1, 2))
    return rgb_from_i420(luma, cast(Bytes, u), cast(Bytes, v), layout.coding, pixels)


def _yuv_image(data: Bytes, layout: Layout) -> Bytes:
    """All planes as OpenCV wants them: height * 3/2 rows of width bytes; a view where they already lie so."""
    width, height = layout.size
    rows = [width, width] if layout.format == "NV12" else [width, width // 2, width // 2]
    heights = [height, height // 2, height // 2]
    planes = [_plane(data, layout, k, row, heights[k]) for k, row in enumerate(rows)]
    ends = [layout.offsets[k] + row * heights[k] for k, row in enumerate(rows)]
    if layout.strides == tuple(rows) and layout.offsets[1:] == tuple(ends[:-1]):
        image = data[layout.offsets[0] : ends[-1]]
    else:
        image = np.concatenate([plane.reshape(-1) for plane in planes])
    return image.reshape(height * 3 // 2, width)


@contextmanager
def mapped(buffer: Any) -> Generator[Bytes]:
    """The bytes of a buffer, in place where the bindings allow it, valid inside the `with` only."""
    good, info = buffer.map(load_gstreamer().Gst.MapFlags.READ)
    if not good:
        raise ValueError("a buffer that cannot be read")
    try:
        yield np.frombuffer(info.data, np.uint8)
    finally:
        buffer.unmap(info)


def layout_of(caps: Any, buffer: Any) -> Layout:
    """The layout of `buffer`: what it says itself, else what follows from its caps."""
    video = load_gstreamer().GstVideo
    info = video.VideoInfo.new_from_caps(caps)
    meta = video.buffer_get_video_meta(buffer)
    planes = info.finfo.n_planes
    told = meta or info
    strides, offsets = tuple(told.stride)[:planes], tuple(told.offset)[:planes]
    return Layout(info.finfo.name, (info.width, info.height), strides, offsets, _coding(info.colorimetry))


def _coding(colorimetry: Any) -> Coding:
    return Coding(colorimetry.matrix.value_nick.upper(), int(colorimetry.range) == FULL_RANGE)
