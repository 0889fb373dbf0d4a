"""A brush that paints colour, emission and temperature of the backdrop at once, in metres.

Knows nothing of what is painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.sources.synthetic.scene import CANVAS_PX_PER_M, Backdrop, Colour, Floats, Point, fill, rectangle

GAMMA = 2.2
Image32 = NDArray[np.float32]


class Canvas:
    """Three layers of one wall-sized picture: `albedo` and `glow` (H W 3 uint8), `kelvin` (H W float32)."""

    def __init__(self, left: float, top: float, right: float, bottom: float) -> None:
        self.origin_m: Point = (left, top)
        self.shape = (round((bottom - top) * CANVAS_PX_PER_M), round((right - left) * CANVAS_PX_PER_M))
        self.albedo = np.zeros((*self.shape, 3), np.uint8)
        self.glow = np.zeros((*self.shape, 3), np.uint8)
        self.kelvin = np.full(self.shape, 280.0, np.float32)

    def pixel(self, points: Floats | Sequence[Point]) -> Floats:
        return (np.asarray(points) - np.array(self.origin_m)) * CANVAS_PX_PER_M

    def rows(self, top: float, bottom: float) -> slice:
        y = self.pixel([(0.0, top), (0.0, bottom)])[:, 1]
        return slice(max(0, round(y[0])), max(0, round(y[1])))

    def shape_at(
        self, outline: Floats, colour: Colour | None = None, kelvin: float | None = None, glow: Colour | None = None
    ) -> None:
        """Paint an outline; a layer without a value is left alone. A new surface hides the glow behind it."""
        outline = self.pixel(outline)
        if colour is not None:
            fill(self.albedo, outline, colour)
            fill(self.glow, outline, (0, 0, 0))
        if glow is not None:
            fill(self.glow, outline, glow)
        if kelvin is not None:
            fill(self.kelvin, outline, (kelvin,))

    def box(
        self,
        corners: tuple[float, float, float, float],
        colour: Colour | None = None,
        kelvin: float | None = None,
        glow: Colour | None = None,
    ) -> None:
        """Paint a rectangle given as left, top, right, bottom."""
        self.shape_at(rectangle(*corners), colour, kelvin, glow)

    def write(self, text: str, at: Point, height_m: float, colour: Colour, *, shines: bool = False) -> None:
        """Letters whose baseline starts at `at`; they have no temperature of their own, as print has none."""
        size = height_m * CANVAS_PX_PER_M / 21
        x, y = self.pixel([at])[0]
        target = self.glow if shines else self.albedo
        where = (round(x), round(y))
        cv2.putText(target, text, where, cv2.FONT_HERSHEY_DUPLEX, size, colour, max(1, round(size * 1.4)), cv2.LINE_AA)

    def roughen(self, rng: np.random.Generator) -> None:
        """Give every surface grain, stains and small differences in temperature."""
        grain = cloud(rng, self.shape, (1, 3, 40))
        np.clip(self.albedo * (1 + 0.10 * grain[..., None]), 0, 255, out=self.albedo, casting="unsafe")
        self.kelvin += 0.22 * cloud(rng, self.shape, (4, 25, 120))

    def lit(self, light: NDArray[np.uint8]) -> Backdrop:
        """The finished picture under `light` (H W 3 uint8, display values of a white surface)."""
        shown = cv2.multiply(self.albedo, light, scale=1 / 255)
        shown = cv2.add(cv2.add(shown, self.glow), _bloom(self.glow))
        return Backdrop(cast(NDArray[np.uint8], shown), light, self.kelvin, self.origin_m)


def cloud(rng: np.random.Generator, shape: tuple[int, int], grains_px: tuple[int, ...]) -> NDArray[np.float32]:
    """Noise of unit strength on several scales at once, H W float32."""
    total = np.zeros(shape, np.float32)
    for grain in grains_px:
        coarse = rng.standard_normal((shape[0] // grain + 2, shape[1] // grain + 2), dtype=np.float32)
        fine = coarse if grain == 1 else cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
        total += fine[: shape[0], : shape[1]]
    return cast(Image32, total / np.float32(len(grains_px) ** 0.5))


def _bloom(glow: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Light that a lens and damp air scatter around what shines; computed coarsely, it has no detail."""
    small = cv2.resize(glow, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA).astype(np.float32)
    halo: Any = 0.30 * cv2.GaussianBlur(small, (0, 0), 2.5) + 0.22 * cv2.GaussianBlur(small, (0, 0), 10)
    wide = cast(Image32, cv2.resize(halo, glow.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    return wide.clip(0, 255).astype(np.uint8)
