"""The outlines of the dark cells of a grid, so that neighbours are one shape: no hairline between them, one cut around.

Pure; the unit is one cell, x right, y down, the grid's first corner is (0, 0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, int]
Loop = tuple[Corner, ...]
SIDES = ((0, -1, (0, 0), (1, 0)), (1, 0, (1, 0), (1, 1)), (0, 1, (1, 1), (0, 1)), (-1, 0, (0, 1), (0, 0)))
"""The neighbour beyond each side of a cell (x, y), and the side's two ends, once around."""


def outlines(dark: NDArray[np.bool_]) -> list[Loop]:
    """Closed loops around the dark cells, their corners only; holes are loops too (fill by the even-odd rule)."""
    onward: dict[Corner, list[Corner]] = {}
    padded = np.pad(dark, 1)
    for y, x in np.argwhere(dark).tolist():
        for beside_x, beside_y, (start_x, start_y), (end_x, end_y) in SIDES:
            if not padded[y + 1 + beside_y, x + 1 + beside_x]:
                onward.setdefault((x + start_x, y + start_y), []).append((x + end_x, y + end_y))
    found: list[Loop] = []
    for start, ends in onward.items():
        while ends:
            found.append(_corners(_loop(onward, start)))
    return found


def _loop(onward: dict[Corner, list[Corner]], start: Corner) -> list[Corner]:
    """From `start` along the sides until it is reached again; the sides are used up."""
    loop = [start]
    while (at := onward[loop[-1]].pop()) != start:
        loop.append(at)
    return loop


def _corners(loop: list[Corner]) -> Loop:
    """Without the places at which the loop goes straight on."""
    around = zip(loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True)
    return tuple(at for before, at, after in around if before[0] != after[0] and before[1] != after[1])
