"""Where on the board a grid of corners lies that may be a part of it: only where the image leaves no doubt.

All corners of a plain checkerboard look alike. But where the image cuts the board off on one side and shows its edge
on the other, the corners can be counted from that edge.
"""

from __future__ import annotations

import numpy as np

from streamfuse.calibrate.detect.saddles import Side
from streamfuse.calibrate.target import Floats, Target
from streamfuse.calibrate.views import Indices


def on_target(grid: Floats, sides: list[Side], target: Target) -> Indices | None:
    """For each corner of `grid` (R C 2) the index of the target's point (R*C); None where that stays open.

    `sides`: as `saddles.sides` tells them. Of the ways to turn the board onto itself, the one whose rows run most to
    the right, as in `order.upright`.
    """
    rows, columns = grid.shape[:2]
    numbers: Indices = np.arange(rows * columns, dtype=np.intp).reshape(rows, columns)
    fits: dict[int, tuple[float, Indices]] = {}
    for quarter in range(4):
        there: Indices = np.rot90(numbers, quarter)
        indices = _indices(there.shape, sides, target)
        if indices is not None:
            point = np.empty(numbers.size, np.intp)
            point[there.ravel()] = indices
            fits[quarter] = _angle(np.rot90(grid, quarter)), point
        left, right, top, bottom = sides
        sides = [top, bottom, right, left]
    upended = len({quarter % 2 for quarter in fits}) > 1 and target.columns != target.rows
    return None if upended or not fits else min(fits.values(), key=lambda one: one[0])[1]


def _indices(shape: tuple[int, ...], sides: list[Side], target: Target) -> Indices | None:
    row, column = _first(target.rows, shape[0], sides[2:]), _first(target.columns, shape[1], sides[:2])
    if row is None or column is None:
        return None
    rows, columns = np.arange(row, row + shape[0]), np.arange(column, column + shape[1])
    return (rows[:, None] * target.columns + columns).ravel()


def _first(asked: int, seen: int, ends: list[Side]) -> int | None:
    """Which line of the board is the first seen one, of `asked` lines; None where that stays open."""
    if seen == asked:
        return None if "cut" in ends else 0
    if seen < asked and ends.count("edge") == 1 and ("cut" in ends or "image" in ends):
        return 0 if ends[0] == "edge" else asked - seen
    return None


def _angle(grid: Floats) -> float:
    """Between the rows of a grid and the rows of the image, 0 to pi."""
    x, y = (grid[:, -1] - grid[:, 0]).mean(axis=0)
    return abs(float(np.arctan2(y, x)))
