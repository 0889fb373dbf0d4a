"""Roll and zoom left between two images whose shift is known: tiles are correlated, and one turn is fitted to them.

Affine ECC (Evangelidis and Psarakis 2008) from the same start was tried first; docs/registration.md says why not.

Plane vectors are complex numbers (x + iy) here, so that a small turn is one factor: zoom + i roll.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamfuse.correct_match import REACH, SURE_PEAK, Planes, Region, find

Vectors = NDArray[np.complex128]

COLUMNS, ROWS = 4, 3
SEARCH = 4  # working pixels around the shift of the whole: 5 output pixels at the corner and their noise
LEAST = 6
"""Tiles that must be found, and agree."""
ROUNDS = 6
TOLERANCE = 4.5  # medians of what is left over; farther tiles do not count
LEAST_TOLERANCE_PX = 0.9


def find_turn(planes: Planes, region: Region, shift: tuple[float, float]) -> complex | None:
    """Zoom + i roll (clockwise) of the thermal image about the middle of the region; None where few tiles are found.

    `shift`: of the whole, in working pixels.
    """
    near = round(shift[0]), round(shift[1])
    if max(abs(near[0]), abs(near[1])) + SEARCH > REACH:
        return None
    places: list[complex] = []
    shifts: list[complex] = []
    for tile in _tiles(region):
        match = find(planes.thermal, planes.visible, tile, near=near, reach=SEARCH)
        if match.inside and match.peak >= SURE_PEAK:
            places.append(middle(tile))
            shifts.append(complex(*match.shift))
    return fit_turn(np.array(places), np.array(shifts)) if len(places) >= LEAST else None


def fit_turn(places: Vectors, shifts: Vectors) -> complex | None:
    """The factor that explains shifts = constant + factor x places best, by Tukey's weights; None for too few."""
    weights = np.ones(len(places))
    factor = np.complex128(0)
    for _ in range(ROUNDS):
        from_middle = places - np.average(places, weights=weights)
        from_mean = shifts - np.average(shifts, weights=weights)
        factor = np.vdot(from_middle, weights * from_mean) / np.vdot(from_middle, weights * from_middle)
        left = abs(from_mean - factor * from_middle)
        far = left / max(LEAST_TOLERANCE_PX, TOLERANCE * float(np.median(left)))
        weights = np.clip(1 - far**2, 0, None) ** 2
        if np.count_nonzero(weights) < LEAST:
            return None
    return complex(factor)


def middle(region: Region) -> complex:
    """Of the pixel centres."""
    rows, columns = region
    return complex((columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2)


def _tiles(region: Region) -> list[Region]:
    rows, columns = region
    return [
        (slice(top, bottom), slice(left, right))
        for top, bottom in pairwise(_cuts(rows.start, rows.stop, ROWS))
        for left, right in pairwise(_cuts(columns.start, columns.stop, COLUMNS))
    ]


def _cuts(start: int, stop: int, parts: int) -> list[int]:
    return [start + k * (stop - start) // parts for k in range(parts + 1)]
