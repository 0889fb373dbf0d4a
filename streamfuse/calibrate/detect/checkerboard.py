"""Finds a checkerboard in a prepared image, and says where it is in the recorded one.

Two searches: for the asked size, and for a board of any size, which tells a wrong board by its size and finds the asked
one where the image cuts it off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from streamfuse.calibrate.detect.found import Found
from streamfuse.calibrate.detect.order import upright
from streamfuse.calibrate.detect.part import on_target
from streamfuse.calibrate.detect.plane import strays
from streamfuse.calibrate.detect.preparations import Prepared
from streamfuse.calibrate.detect.saddles import cells_of, looks, refined, sides, spacing_px
from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import Floats, Target
from streamfuse.calibrate.views import Indices

STRAY = 0.06
"""RMS distance from a smooth surface, in squares, above which a grid is not one."""
SADDLE = 0.8
"""Median saddle share below which what was found is not a board."""
POOR, POOR_SHARE = 0.3, 0.1
"""Corners of lower quality are left out; more than this share of them, and what was found is not a board."""
BORDER = 0.68
"""Median saddle share of an outer line below which it lies on the edge of the board."""
SMALLEST_SQUARE_PX = 4.0
SMALLEST_GRID = (5, 4)
"""Of a board of any size; with less OpenCV takes the first few corners that it can line up for a board."""
LEAST_PART = 1 / 3
"""Share of the asked corners below which nobody is told of a part."""


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Corners (R C 2) that lie like a checkerboard's, the saddle share (R C) and quality (R C) of each."""

    corners: Floats
    share: Floats
    quality: Floats

    def found(self, indices: Indices, part: tuple[int, int] | None = None) -> Found | None:
        good = (self.quality > POOR).ravel()
        if good.mean() < 1 - POOR_SHARE:
            return None
        return Found(indices[good], self.corners.reshape(-1, 2)[good], self.quality.ravel()[good], part=part)


def find(prepared: Prepared, values: Scalars, target: Target) -> Found | None:
    """All inner corners of a board of the asked size, or None; corners refined in `values`, the image as recorded."""
    shape = target.columns, target.rows
    found, corners = cv2.findChessboardCornersSB(prepared.image, shape, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    grid = _judged(prepared, values, corners, shape) if found else None
    if grid is None or _trimmed(grid.share) != (slice(0, target.rows), slice(0, target.columns)):
        return None
    if {"corners", "cut"} & set(sides(values, grid.corners)):
        return None
    return grid.found(upright(grid.corners.reshape(-1, 2), target))


def find_any(prepared: Prepared, values: Scalars, target: Target) -> Found | None:
    """Whatever board is there: the asked one, whole or cut off, the size of another one, or how much of one is seen."""
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_LARGER
    found, corners, meta = cv2.findChessboardCornersSBWithMeta(prepared.image, SMALLEST_GRID, flags)
    grid = _judged(prepared, values, corners, meta.shape[1::-1]) if found else None
    if grid is None:
        return None
    kept = _trimmed(grid.share)
    grid = _Grid(grid.corners[kept], grid.share[kept], grid.quality[kept])
    if min(grid.share.shape) < 3:
        return None
    ends, (rows, columns) = sides(values, grid.corners), grid.share.shape
    if "corners" in ends:
        return None
    size = max(columns, rows), min(columns, rows)
    if set(ends) == {"edge"} and size != (max(target.shape), min(target.shape)):
        return Found.without_points(other_size=size)
    indices = on_target(grid.corners, ends, target)
    if indices is not None:
        return grid.found(indices, None if len(indices) == len(target.points_m) else size)
    told = grid.share.size >= LEAST_PART * len(target.points_m)
    return Found.without_points(part=size) if told else None


def _judged(prepared: Prepared, values: Scalars, corners: object, size: tuple[int, ...]) -> _Grid | None:
    """The corners as OpenCV found them, row by row (`size`: columns, rows), refined; None where they are no board's."""
    flat = prepared.recorded(cast(Floats, corners).reshape(-1, 2).astype(np.float64))
    grid = _right_handed(flat.reshape(size[1], size[0], 2))
    if spacing_px(grid) < SMALLEST_SQUARE_PX:
        return None
    grid = refined(values, grid)
    plane, spacing = cells_of(grid), spacing_px(grid)
    away = np.linalg.norm(strays(plane, grid.reshape(-1, 2)), axis=1)
    if not np.sqrt((away**2).mean()) < STRAY * spacing:
        return None
    share = np.nan_to_num(looks(values, grid, plane).saddle * (-1.0) ** plane.sum(axis=1))
    share *= np.sign(np.median(share)) or 1.0
    if np.median(share) < SADDLE:
        return None
    quality = np.clip(share, 0, 1) * np.exp(-((away / (STRAY * spacing)) ** 2))
    return _Grid(grid, share.reshape(grid.shape[:2]), quality.reshape(grid.shape[:2]))


def _trimmed(share: Floats) -> tuple[slice, slice]:
    """Rows and columns without those at the border that are no corners but where squares meet the plain edge."""
    columns, rows = np.median(share, axis=0) < BORDER, np.median(share, axis=1) < BORDER
    return _inner(rows), _inner(columns)


def _inner(poor: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> slice:
    return slice(int(poor[0]), len(poor) - int(poor[-1]))


def _right_handed(grid: Floats) -> Floats:
    """Seen from the front, rows turn clockwise into columns; a mirrored numbering is turned round."""
    across, down = grid[:, -1] - grid[:, 0], grid[-1] - grid[0]
    (ax, ay), (dx, dy) = across.mean(axis=0), down.mean(axis=0)
    return grid[:, ::-1] if ax * dy - ay * dx < 0 else grid
