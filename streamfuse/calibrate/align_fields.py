"""Pictures as fields of edge directions, which thermal and visible images share where their brightness does not.

A field is complex: length = how much of an edge is here compared with its surroundings (0 to 1), angle = twice the
gradient's. Doubling makes bright-to-dark and dark-to-bright the same (G. H. Granlund, H. Knutsson, "Signal Processing
for Computer Vision", 1995), so that a warm object before a cold wall matches a dark one before a bright wall. The real
part of the product of two fields is 1 for parallel edges, -1 for edges at right angles, 0 on average for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.frames import Size

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
Complex = NDArray[np.complex64]

EDGE_BLUR_PX = 1.0
SURROUNDINGS = 12  # an edge is compared with this many pixels around it
FLOOR = 0.35  # of the median edge: less is noise
TOLERANCE_PX = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One image to align: `grey` (H W) float32 in any unit, and `seen` (H W) float32, 0 where it shows nothing."""

    grey: Image
    seen: Image

    @property
    def size(self) -> Size:
        return self.grey.shape[1], self.grey.shape[0]


def picture(pixels: NDArray[Any]) -> Picture:
    """From H W counts or H W 3 RGB; an even frame around the picture (letterbox, an earlier warp) counts as unseen."""
    grey = np.asarray(pixels, dtype=np.float32)
    if grey.ndim == 3:
        grey = cast(Image, grey @ np.array([0.299, 0.587, 0.114], dtype=np.float32))
    low, high = np.percentile(grey[::2, ::2], (0.5, 99.5))
    grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    return Picture(grey, _unframed(pixels))


def shrunk(image: Image, factor: float) -> Image:
    """Resampled by `factor` below 1 without aliasing; outer edges stay outer edges."""
    size = max(8, round(image.shape[1] * factor)), max(8, round(image.shape[0] * factor))
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR))


def field(grey: Image, seen: Image) -> tuple[Complex, Image]:
    """The field (H W) of a picture and where it can be trusted, 0 to 1."""
    smooth = cv2.GaussianBlur(grey, (0, 0), EDGE_BLUR_PX)
    across = cast(Image, cv2.Scharr(smooth, cv2.CV_32F, 1, 0))
    down = cast(Image, cv2.Scharr(smooth, cv2.CV_32F, 0, 1))
    trusted = cast(Image, cv2.erode((seen > 0.99).astype(np.float32), np.ones((7, 7), np.uint8), borderValue=0))
    strength = np.hypot(across, down) * trusted
    covered = cv2.blur(trusted, (2 * SURROUNDINGS + 1,) * 2) + 1e-3
    around = cast(Image, cv2.blur(strength, (2 * SURROUNDINGS + 1,) * 2)) / covered
    inside = strength[trusted > 0]
    floor = FLOOR * float(np.median(inside)) + 1e-6 if inside.size else 1.0
    share = strength / (strength + around + floor)
    length = share / (strength**2 + 1e-12)
    doubled = np.stack([(across**2 - down**2) * length, 2 * across * down * length], axis=-1) * trusted[..., None]
    soft = cv2.GaussianBlur(doubled, (0, 0), TOLERANCE_PX)
    return np.ascontiguousarray(np.ascontiguousarray(soft).view(np.complex64)[..., 0]), trusted


def _unframed(pixels: NDArray[Any]) -> Image:
    """1 where the picture is, 0 on constant areas that touch its border and fill at least a whole corner block."""
    plane = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    seen = np.ones(plane.shape, dtype=np.float32)
    for dark in (plane == plane.min(), plane == plane.max()):
        if dark.mean() < 0.002:
            continue
        opened = cast(NDArray[np.uint8], cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5))))
        count, labels = cv2.connectedComponents(opened)
        at_corners = {int(labels[y, x]) for y in (0, -1) for x in (0, -1)} - {0}
        for label in at_corners & set(range(1, count)):
            seen[labels == label] = 0
    return seen
