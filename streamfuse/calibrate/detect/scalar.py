"""One number per pixel: an image of any kind as float32, a false-colour palette turned back into its scale.

Knows nothing of targets.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError

Scalars = NDArray[np.float32]
PALETTES = ("INFERNO", "PLASMA", "MAGMA", "HOT", "JET", "TURBO", "RAINBOW", "VIRIDIS")
PALETTE_ERROR = 14.0
"""Median distance (grey levels over three channels) up to which colours count as those of a palette."""
PALETTE_SPREAD = 60
"""Median distance of a pixel's strongest and weakest channel below which it is no false colour."""
SPECK = 12.0
"""A pixel this many typical deviations away from the median of its neighbours is a dead or hot one."""


def scalar_of(image: NDArray[Any]) -> tuple[Scalars, str]:
    """H W float32 and what was done: grey and counts as they are, RGB by its palette, else by its luminance.

    Dead and hot pixels get the median of their neighbours. Raises UserError for another shape or type.
    """
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        spread = int(np.abs(np.diff(image.astype(np.int16), axis=2)).max())
        if spread <= 2:
            return image[..., 1].astype(np.float32), "grey"
        return _from_colours(image)
    if image.ndim != 2 or str(image.dtype) not in ("uint8", "uint16"):
        raise UserError(
            f"an image of shape {image.shape} and type {image.dtype}; detection takes grey uint8, RGB uint8 or uint16"
        )
    values = image.astype(np.float32)
    return (values, "grey") if image.dtype == np.uint8 else (_without_specks(values), "counts")


def _from_colours(image: NDArray[Any]) -> tuple[Scalars, str]:
    """The scale whose palette the colours follow, or luminance where none fits."""
    sample = image[::7, ::7].reshape(-1, 3).astype(np.float32)
    photograph = float(np.median(np.ptp(sample, axis=1))) < PALETTE_SPREAD
    errors = (
        {"": PALETTE_ERROR} if photograph else {name: float(np.median(_nearest(sample, name)[1])) for name in PALETTES}
    )
    best = min(errors, key=errors.__getitem__)
    if errors[best] >= PALETTE_ERROR:
        return cast(Scalars, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)), "luminance"
    colours, inverse = np.unique(image.reshape(-1, 3) >> 1, axis=0, return_inverse=True)
    scale, _ = _nearest((colours.astype(np.float32) * 2 + 0.5), best)
    return scale[inverse.reshape(-1)].reshape(image.shape[:2]).astype(np.float32), f"palette {best.lower()}"


def _nearest(colours: Scalars, name: str) -> tuple[NDArray[np.intp], Scalars]:
    """Index into the palette and distance for each colour (N 3)."""
    palette = _palette(name)
    found = np.empty(len(colours), np.intp)
    distance = np.empty(len(colours), np.float32)
    for start in range(0, len(colours), 8192):
        part = slice(start, start + 8192)
        squares = ((colours[part, None] - palette[None]) ** 2).sum(axis=2)
        found[part] = squares.argmin(axis=1)
        distance[part] = np.sqrt(squares.min(axis=1))
    return found, distance


@cache
def _palette(name: str) -> Scalars:
    """256 3 RGB."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    coloured = cv2.applyColorMap(ramp, cast(int, getattr(cv2, f"COLORMAP_{name}")))
    return coloured[:, 0, ::-1].astype(np.float32)


def _without_specks(values: Scalars) -> Scalars:
    median = cast(Scalars, cv2.medianBlur(values, 3))
    away = np.abs(values - median)
    return np.where(away > SPECK * max(float(away.mean()), 1e-6), median, values)
