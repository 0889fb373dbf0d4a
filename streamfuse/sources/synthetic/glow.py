"""What a lamp does to an RGB picture: its beam brightens what it falls on, its glare covers what is near it.

Drawn once for each kind of lamp, then laid over every picture. Knows nothing of actors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.sources.synthetic.scene import Floats, Light

Image8 = NDArray[np.uint8]

UNIT_GAIN = 32
"""Gain is kept in 8 bits: 32 leaves a pixel as it is, 255 makes it eight times brighter."""


@dataclass(frozen=True, slots=True, eq=False)
class Glow:
    """Gain and glare (both H W 3 uint8) around a lamp that stands at pixel `centre` (x, y) of them."""

    gain: Image8
    glare: Image8
    centre: tuple[int, int]

    def lay_over(self, image: Image8, lamp: Floats) -> None:
        """Change the picture around the lamp's pixel (to the nearest whole pixel; a glow has no edge to show it)."""
        rows = _overlap(round(float(lamp[1])) - self.centre[1], self.gain.shape[0], image.shape[0])
        columns = _overlap(round(float(lamp[0])) - self.centre[0], self.gain.shape[1], image.shape[1])
        if rows is None or columns is None:
            return
        here, there = (rows[0], columns[0]), (rows[1], columns[1])
        lit = cv2.multiply(image[here], self.gain[there], scale=1 / UNIT_GAIN)
        image[here] = cv2.add(lit, self.glare[there])


def draw_glow(light: Light, px_per_m: float) -> Glow:
    """The lamp's beam and glare at a camera's scale."""
    reach = round(light.reach_m * px_per_m)
    side = np.arange(-reach, reach + 1) / px_per_m
    x, y = np.meshgrid(side, side)
    away = np.hypot(x, y)
    fade = (1 - away / light.reach_m).clip(0, 1) ** 1.5
    beam = _beam(x * light.aim, y) if light.aim else np.zeros_like(x)
    glare = 255 * np.exp(-((away / 0.11) ** 2)) + 105 * np.exp(-away / 0.28) + 22 * np.exp(-away / 1.1)
    tint = np.array(light.colour) / 255
    gain = UNIT_GAIN * (1 + (2.6 * beam * fade)[..., None] * tint)
    return _trimmed(_to_8(gain), _to_8(((glare + 16 * beam) * fade)[..., None] * tint), reach)


def _beam(ahead: Floats, below: Floats) -> Floats:
    """Strength of a dipped headlight, 0 to 1: it widens and sinks with distance."""
    ahead = np.maximum(ahead, 0.0)
    spread = np.exp(-(((below - 0.10 * ahead) / (0.10 + 0.16 * ahead)) ** 2))
    return spread * (1 - np.exp(-ahead / 0.5))


def _trimmed(gain: Image8, glare: Image8, centre: int) -> Glow:
    """Without the margins that change nothing."""
    changes = np.any((gain > UNIT_GAIN) | (glare > 0), axis=-1)
    rows, columns = np.flatnonzero(np.any(changes, axis=-1)), np.flatnonzero(np.any(changes, axis=0))
    top, left = int(rows[0]), int(columns[0])
    kept = slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1)
    return Glow(np.array(gain[kept]), np.array(glare[kept]), (centre - left, centre - top))


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice] | None:
    """Where a piece laid at `start` meets 0..limit: in the target's and in its own coordinates."""
    low, high = max(start, 0), min(start + length, limit)
    return (slice(low, high), slice(low - start, high - start)) if low < high else None


def _to_8(values: Floats) -> Image8:
    return np.rint(values.clip(0, 255)).astype(np.uint8)
