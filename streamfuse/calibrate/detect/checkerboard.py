"""Finds a whole checkerboard of the asked size in a prepared image, and says where it is in the recorded one."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np

from streamfuse.calibrate.detect.found import Found
from streamfuse.calibrate.detect.order import upright
from streamfuse.calibrate.detect.plane import strays
from streamfuse.calibrate.detect.preparations import Bytes, Prepared
from streamfuse.calibrate.detect.saddles import goes_on, looks, refined, spacing_px
from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import Floats, Target

STRAY = 0.06
"""RMS distance from a smooth surface, in squares, above which a grid is not one."""
SADDLE = 0.8
"""Median saddle share below which what was found is not a board."""
POOR, POOR_SHARE = 0.3, 0.1
"""Corners of lower quality are left out; more than this share of them, and what was found is not a board."""
BORDER = 0.68
"""Median saddle share of an outer line below which it lies on the edge of the board."""
SMALLEST_SQUARE_PX = 4.0


def find(prepared: Prepared, values: Scalars, target: Target) -> Found | None:
    """All inner corners, or None; corners refined in `values`, the image as recorded."""
    shape = target.columns, target.rows
    for corners in _searches(prepared.image, shape):
        grid = _right_handed(prepared.recorded(corners).reshape(target.rows, target.columns, 2))
        if spacing_px(grid) < SMALLEST_SQUARE_PX:
            continue
        found = _judged(values, refined(values, grid), target)
        if found is not None:
            return found
    return None


def _beyond(share: Floats) -> tuple[int, int]:
    """Columns and rows at the grid's border that are no corners but where squares meet the plain edge."""
    columns, rows = np.median(share[:, [0, -1]], axis=0), np.median(share[[0, -1]], axis=1)
    return int((columns < BORDER).sum()), int((rows < BORDER).sum())


def size_seen(prepared: Prepared, values: Scalars) -> tuple[int, int] | None:
    """Columns and rows of whatever checkerboard is in the image, the larger number first."""
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_LARGER
    found, corners, meta = cv2.findChessboardCornersSBWithMeta(prepared.image, (3, 3), flags)
    if not found:
        return None
    rows, columns = meta.shape[:2]
    grid = _right_handed(prepared.recorded(np.asarray(corners, np.float64).reshape(-1, 2)).reshape(rows, columns, 2))
    if _judged(values, refined(values, grid), Target("checkerboard", columns, rows)) is None:
        return None
    return max(columns, rows), min(columns, rows)


def _searches(image: Bytes, shape: tuple[int, int]) -> Any:
    """Corners (N 2) by each of OpenCV's searches that finds some, the more exact one first."""
    found, corners = cv2.findChessboardCornersSB(image, shape, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if found:
        yield cast(Floats, corners).reshape(-1, 2).astype(np.float64)
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_FAST_CHECK
    for polarity in (image, np.subtract(255, image, dtype=np.uint8)):
        found, corners = cv2.findChessboardCorners(polarity, shape, flags=flags)
        if found:
            yield cast(Floats, corners).reshape(-1, 2).astype(np.float64)


def _right_handed(grid: Floats) -> Floats:
    """Seen from the front, rows turn clockwise into columns; a mirrored numbering is turned round."""
    across, down = grid[:, -1] - grid[:, 0], grid[-1] - grid[0]
    (ax, ay), (dx, dy) = across.mean(axis=0), down.mean(axis=0)
    return grid[:, ::-1] if ax * dy - ay * dx < 0 else grid


def _judged(values: Scalars, grid: Floats, target: Target) -> Found | None:
    plane = target.points_m[:, :2] / np.array(target.pitch_m)
    flat, spacing = grid.reshape(-1, 2), spacing_px(grid)
    away = np.linalg.norm(strays(plane, flat), axis=1)
    if not np.sqrt((away**2).mean()) < STRAY * spacing:
        return None
    seen = looks(values, grid, plane)
    parity = (-1.0) ** np.rint(plane.sum(axis=1))
    share = np.nan_to_num(seen.saddle * parity)
    share *= np.sign(np.median(share)) or 1.0
    if np.median(share) < SADDLE:
        return None
    further, beyond = goes_on(values, grid), _beyond(share.reshape(grid.shape[:2]))
    if any(further) or any(beyond):
        return Found.of_another_size(target.columns + further[0] - beyond[0], target.rows + further[1] - beyond[1])
    quality = np.clip(share, 0, 1) * np.exp(-((away / (STRAY * spacing)) ** 2))
    good = quality > POOR
    if good.mean() < 1 - POOR_SHARE:
        return None
    return Found(indices=upright(flat, target)[good], pixels=flat[good], quality=quality[good])
