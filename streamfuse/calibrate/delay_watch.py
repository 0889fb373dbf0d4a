"""What one camera shows over time, frame by frame, as a few numbers: brightness, motion energy, global shift.

    watch = Watch(); watch.add(frame) ...; watch.signals()

Keeps a small picture of the last frame and some numbers a frame, so that minutes of video fit anywhere.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.delay import Signal
from streamfuse.calibrate.gradient import log_gradient
from streamfuse.errors import UserError
from streamfuse.frames import Pixels

Image = NDArray[np.float32]
Region = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

WIDTH = 160  # of the small picture, at most
LEAST_WIDTH = 32
BLOCKS = (16, 12)  # over which brightness is averaged
NOISES = 3.0  # of the frame's own noise: what changes by less has not moved
LEAST_RESPONSE = 0.02  # of a phase correlation


class Watch:
    """One stream. `region`: the only part that is looked at; None = the whole image."""

    def __init__(self, region: Region | None = None) -> None:
        self._region = region
        self._size: tuple[int, ...] | None = None
        self._last: tuple[int, Image, Image] | None = None
        self._window: Image | None = None
        self._stamps: list[int] = []
        self._blocks: list[Image] = []
        self._moved: list[tuple[float, float, float, float]] = []  # time, energy, x, y

    def add(self, pixels: Pixels, stamp_ns: int) -> None:
        """A frame stamped `stamp_ns`; left out where it is not later than its predecessor, or shows the very same.

        Raises UserError for a frame of another size: one camera is watched, not a collection of pictures.
        """
        self._size = self._size or pixels.shape
        if pixels.shape != self._size:
            before, now = (f"{shape[1]}x{shape[0]}" for shape in (self._size, pixels.shape))
            raise UserError(f"images of two sizes or kinds, {before} and {now}: give those of one camera at one size")
        small = _small(self._cut(pixels))
        if self._last is not None:
            last_ns, last, edges = self._last
            if stamp_ns <= last_ns or np.array_equal(small, last):
                self._last = (max(stamp_ns, last_ns), last, edges)
                return
        edges = log_gradient(small)
        if self._last is not None:
            self._compare(small, edges, stamp_ns)
        self._stamps.append(stamp_ns)
        self._blocks.append(cast(Image, cv2.resize(small, BLOCKS, interpolation=cv2.INTER_AREA)))
        self._last = (stamp_ns, small, edges)

    @property
    def frames(self) -> int:
        return len(self._stamps)

    def signals(self, origin_ns: int) -> dict[str, Signal]:
        """By kind: "blink" (one channel), "energy" (one), "shift" (x and y); times in seconds from `origin_ns`."""
        times_s = np.array([stamp - origin_ns for stamp in self._stamps], dtype=np.float64) / 1e9
        moved = np.array(self._moved, dtype=np.float64).reshape(-1, 4)
        between_s = moved[:, 0] - origin_ns / 1e9
        return {
            "blink": Signal(times_s, _main_change(np.array(self._blocks, dtype=np.float64))),
            "energy": Signal(between_s, moved[:, 1:2]),
            "shift": Signal(between_s, moved[:, 2:4]),
        }

    def _cut(self, pixels: Pixels) -> Pixels:
        if self._region is None:
            return pixels
        x, y, width, height = self._region
        if x + width > pixels.shape[1] or y + height > pixels.shape[0]:
            raise UserError(
                f"the region {x},{y},{width},{height} reaches beyond the image of {pixels.shape[1]}x{pixels.shape[0]}; "
                "choose one inside it"
            )
        return pixels[y : y + height, x : x + width]

    def _compare(self, small: Image, edges: Image, stamp_ns: int) -> None:
        assert self._last is not None, "called from the second frame on"
        last_ns, last, last_edges = self._last
        seconds = (stamp_ns - last_ns) / 1e9
        change = cast(Image, cv2.absdiff(small, last))
        energy = float(np.maximum(change - NOISES * float(np.median(change)), 0).mean())
        if self._window is None:
            self._window = cast(Image, cv2.createHanningWindow((small.shape[1], small.shape[0]), cv2.CV_32F))
        (x, y), response = cv2.phaseCorrelate(last_edges, edges, self._window)
        x, y = (x, y) if response > LEAST_RESPONSE else (0.0, 0.0)
        middle = last_ns / 1e9 + seconds / 2
        self._moved.append((middle, energy / seconds, x / seconds, y / seconds))


def _small(pixels: Pixels) -> Image:
    grey = cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)) if pixels.ndim == 3 else pixels
    width = min(WIDTH, max(LEAST_WIDTH, grey.shape[1]))
    height = max(8, round(width * grey.shape[0] / grey.shape[1]))
    return cast(Image, cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32))


def _main_change(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """N 1: brightness along the pattern in which the blocks change most (first principal component, bright = more)."""
    flat = blocks.reshape(len(blocks), -1)
    flat = flat - flat.mean(axis=0)
    _, _, patterns = np.linalg.svd(flat, full_matrices=False)
    pattern = patterns[0] * (1.0 if patterns[0].sum() >= 0 else -1.0)
    return (flat @ pattern)[:, None]
