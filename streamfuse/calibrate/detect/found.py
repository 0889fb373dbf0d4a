"""Found: what one search left, before it becomes a Sighting; perhaps another board, or too little of the asked one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import Floats
from streamfuse.calibrate.views import Indices


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Points as in `Sighting`. `other_size`: columns and rows of a whole board that is not the asked one (no points
    then). `part`: columns and rows of all that is seen of a board, without points where their place on it stays open.
    """

    indices: Indices
    pixels: Floats
    quality: Floats
    other_size: tuple[int, int] | None = None
    part: tuple[int, int] | None = None

    @classmethod
    def without_points(cls, other_size: tuple[int, int] | None = None, part: tuple[int, int] | None = None) -> Found:
        return cls(np.empty(0, np.intp), np.empty((0, 2)), np.empty(0), other_size, part)


def sampled(values: Scalars, at: Floats) -> Floats:
    """Bilinear samples at pixels (... 2); NaN outside the image."""
    height, width = values.shape
    flat = at.reshape(-1, at.shape[-2], 2).astype(np.float32)
    x, y = flat[..., 0], flat[..., 1]
    samples = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    outside = ~((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))
    return np.where(outside, np.nan, samples).reshape(at.shape[:-1]).astype(np.float64)
