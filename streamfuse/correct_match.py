"""Where one plane of gradients lies in another: normalised cross-correlation, its top to a fraction of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Region = tuple[slice, slice]
"""Rows, columns."""

REACH = 12
"""Search radius in working pixels: 24 output pixels at an output width of 640."""
APART = 5  # a second peak counts from this far off the first
SURE_PEAK, SURE_RATIO = 0.10, 1.10


@dataclass(frozen=True, slots=True)
class Match:
    """Where one plane was found in another: its shift in working pixels, the correlation there, and peak to second."""

    shift: tuple[float, float]
    peak: float
    ratio: float
    inside: bool

    @property
    def sure(self) -> bool:
        return self.inside and self.peak >= SURE_PEAK and self.ratio >= SURE_RATIO


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Both images of a pair as logarithmic gradient magnitude on the working grid."""

    thermal: Plane
    visible: Plane


def find(moved: Plane, still: Plane, region: Region, *, near: tuple[int, int] = (0, 0), reach: int = REACH) -> Match:
    """By how much `moved` is shifted against `still`, both of one size, judged in `region`.

    Looks `reach` pixels around the shift `near`; `still` must go on that far beyond the region.
    """
    rows, columns = region
    left, top = columns.start - near[0] - reach, rows.start - near[1] - reach
    right, bottom = columns.stop - near[0] + reach, rows.stop - near[1] + reach
    surface = cast(Plane, cv2.matchTemplate(still[top:bottom, left:right], moved[region], cv2.TM_CCOEFF_NORMED))
    _, peak, _, (column, row) = cv2.minMaxLoc(surface)
    inside = 0 < column < 2 * reach and 0 < row < 2 * reach
    across = near[0] + reach - column - _vertex(surface[row], column)
    down = near[1] + reach - row - _vertex(surface[:, column], row)
    others: Plane = np.array(surface)
    others[max(0, row - APART) : row + APART + 1, max(0, column - APART) : column + APART + 1] = -1
    second = max(1e-3, float(others.max()))
    return Match((across, down), float(peak), float(peak) / second, inside)


def _vertex(line: Plane, top: int) -> float:
    """Where the parabola through the highest value and its neighbours has its top, from that value on."""
    if not 0 < top < len(line) - 1:
        return 0.0
    before, here, after = (float(value) for value in line[top - 1 : top + 2])
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
