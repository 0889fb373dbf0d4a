"""Printed targets as two cameras would photograph them: whole, cut off by the image, or hidden in part."""

from __future__ import annotations

import cv2
import numpy as np

from streamfuse.calibrate.printing import Circle, Outline, Page, Rectangle, lay_out
from streamfuse.calibrate.target import Target

PX_PER_MM = 3
SIZES = {"thermal": (400, 320), "rgb": (560, 420)}
FOCAL = {"thermal": 430.0, "rgb": 520.0}
RGB_FROM_THERMAL = np.array([0.03, 0.005, 0.0])
"""Metres; the cameras are parallel."""


def rendered(page: Page, dots: float = PX_PER_MM) -> np.ndarray:
    """The page as an 8-bit image, drawn 4 times finer than `dots` per mm and averaged; a place of x mm is pixel
    x * dots - 0.5."""
    fine = 4 * dots
    image = np.full([round(length * fine) for length in page.size[::-1]], 255, np.uint8)
    for shape in page.shapes:
        if isinstance(shape, Rectangle):
            left, right = round(shape.x * fine), round((shape.x + shape.width) * fine)
            top, bottom = round(shape.y * fine), round((shape.y + shape.height) * fine)
            image[top:bottom, left:right] = 0
        elif isinstance(shape, Circle):
            centre = (round((shape.x * fine - 0.5) * 256), round((shape.y * fine - 0.5) * 256))
            cv2.circle(image, centre, round(shape.radius * fine * 256), 0, -1, shift=8)
        elif isinstance(shape, Outline):
            _fill(image, [np.round(np.array(loop) * fine).astype(int) for loop in shape.loops])
    return cv2.resize(image, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)


def _fill(image: np.ndarray, loops: list[np.ndarray]) -> None:
    """Blackens what lies inside an odd number of `loops`, whose sides run along the image's."""
    inside = np.zeros(image.shape, bool)
    for loop in loops:
        for (x, top), (other, bottom) in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            if x == other:
                inside[min(top, bottom) : max(top, bottom), x:] ^= True
    image[inside] = 0


class Photographed:
    """A target on an A3 page before both cameras."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._page = lay_out(target, "A3")
        self._print = rendered(self._page)

    def by(
        self, camera: str, turn: np.ndarray, middle: np.ndarray, hidden: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The image (H W uint8; thermal: H W uint16 counts, inverted) and where all points are (N 2, perhaps outside).

        `turn`: thermal from target; `middle`: of the target, metres from the thermal camera; `hidden`: share of the
        target that something with a slanting edge covers.
        """
        flat = self.target.points_m
        centre = (flat.min(axis=0) + flat.max(axis=0)) / 2
        shift = middle - turn @ centre + (RGB_FROM_THERMAL if camera == "rgb" else 0)
        (width, height), focal = SIZES[camera], FOCAL[camera]
        lens = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        plane = lens @ np.column_stack([turn[:, :2], shift])
        metre, origin = 1 / (1000 * PX_PER_MM), np.array(self._page.origin) / 1000
        metres = np.array([[metre, 0, metre / 2 - origin[0]], [0, metre, metre / 2 - origin[1]], [0, 0, 1]])
        shown = cv2.warpPerspective(
            self._covered(flat, hidden), plane @ metres, (width, height), flags=cv2.INTER_AREA, borderValue=150
        )
        noise = np.random.default_rng(1).normal(0, 2, shown.shape)
        image = cv2.GaussianBlur(shown, (0, 0), 0.7) + noise
        pixels = np.column_stack([flat[:, :2], np.ones(len(flat))]) @ plane.T
        counts = (30_000 - 5 * image).astype(np.uint16)
        return (counts if camera == "thermal" else image.clip(0, 255).astype(np.uint8)), pixels[:, :2] / pixels[:, 2:]

    def _covered(self, flat: np.ndarray, hidden: float) -> np.ndarray:
        covered = self._print.copy()
        if hidden:
            (left, top), (right, bottom) = (
                (corner[:2] * 1000 + self._page.origin) * PX_PER_MM for corner in (flat.min(axis=0), flat.max(axis=0))
            )
            edge, slant = left + hidden * (right - left), 0.2 * (bottom - top)
            corners = [
                (left - 90, top - 90),
                (edge - slant, top - 90),
                (edge + slant, bottom + 90),
                (left - 90, bottom + 90),
            ]
            cv2.fillPoly(covered, [np.array(corners, np.int32)], 120)
        return covered
