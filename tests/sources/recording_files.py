"""Writes small recordings whose every frame is known by its brightness."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (64, 48)
VISIBLE = np.dstack([np.full((48, 64), level, np.uint8) for level in (40, 90, 160)])  # blue-ish: red first


def level(index: int) -> int:
    """Grey level of frame `index`: steps far enough apart to survive a lossy codec."""
    return 20 + 8 * index


def grey(index: int, dtype: type = np.uint8) -> NDArray:
    image = np.full((48, 64), level(index), dtype)
    return image * 64 if dtype is np.uint16 else image


def write_images(folder: Path, stems: Iterable[str], *, colour: bool = False, ending: str = "png") -> Path:
    """One image per stem; frame i has brightness level(i)."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, stem in enumerate(stems):
        image = np.clip(VISIBLE.astype(int) + index, 0, 255).astype(np.uint8)[:, :, ::-1] if colour else grey(index)
        assert cv2.imwrite(str(folder / f"{stem}.{ending}"), image)
    return folder


def write_video(
    path: Path,
    frames: Iterable[NDArray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "gray",
    rate: int = 30,
    options: dict[str, str] | None = None,
    color_range: int = 0,
) -> Path:
    """Grey frames into one video stream at a steady rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = SIZE
        stream.pix_fmt = pix_fmt
        stream.codec_context.color_range = color_range
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="gray16le" if image.dtype == np.uint16 else "gray")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(offset, size) of each video packet in the file."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def overwrite(path: Path, offset: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path
