"""Corners of a checkerboard: where exactly, how sharp, and what lies beyond the outermost ones.

A corner's neighbourhood, rectified by the board's homography, must look like four squares of alternating brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.detect.edges import Lines, crossings, edge_points, fit_lines
from streamfuse.calibrate.detect.found import sampled
from streamfuse.calibrate.detect.plane import fit_homography, mapped
from streamfuse.calibrate.detect.preparations import levelled
from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import Floats

REACH = 0.42
"""Half the side of the examined neighbourhood, in squares."""
SAMPLES = 12
EDGE = (0.15, 0.5)
"""Which part of an edge counts for the corner at its end: not the rounded end, and no point counts for two corners."""
LEVEL = 0.5
"""Width of the levelling before edges are measured, in squares: a hot spot's slope is steeper than a faint edge."""
SMOOTH = 0.06
NARROWEST_PX = 2.5
"""Half width of an edge's search, at least."""
T_JUNCTION = 0.87
"""Saddle share above which a point is a true corner; where squares meet a plain border it is 0.71."""
T_EDGE = 0.25
"""Saddle share above which it may be the board's edge, with half the usual contrast: 0.3 to 0.7 on real boards."""
ALTERNATE = 0.7
"""Share of a line's points that must look alike to say what it is."""
Side = Literal["corners", "cut", "edge", "image", "unknown"]
"""What lies beyond one side of a grid: further corners, further ones that the image's border cuts off in part, the
board's edge, the image's border, or none of these."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Per point (N): `saddle` -1..1, the share of alternating squares in all contrast; `contrast` in image values."""

    saddle: Floats
    contrast: Floats


def spacing_px(grid: Floats) -> float:
    """Typical distance of neighbours, pixels; `grid` R C 2."""
    across, down = np.diff(grid, axis=1), np.diff(grid, axis=0)
    return float(np.median(np.linalg.norm(np.concatenate([across.reshape(-1, 2), down.reshape(-1, 2)]), axis=1)))


def refined(values: Scalars, grid: Floats, widest: float = 0.4) -> Floats:
    """The corners at sub-pixel precision in the image as recorded, as crossings of edges; `grid` R C 2.

    `widest`: how far beside an edge to search at most, in squares: less where something else lies there.
    """
    spacing = spacing_px(grid)
    values = levelled(_smoothed(values, spacing), LEVEL * spacing)
    for reach in (0.3, 0.2):
        share = min(widest, max(reach, NARROWEST_PX / spacing))
        lines = [_lines(values, grid, axis, share) for axis in (1, 0)]
        found = crossings(*lines).reshape(grid.shape)
        moved = np.linalg.norm(found - grid, axis=2, keepdims=True)
        grid = np.where(moved < 0.3 * spacing, found, grid)
    return grid


def _lines(values: Scalars, grid: Floats, axis: int, share: float) -> Lines:
    """For each corner the line along `axis` (1: the rows), through both edges that end there."""
    ahead, behind = _arms(grid, axis)
    down, up = _arms(grid, 1 - axis)
    reaches = ((down - up) / 2 * share).reshape(-1, 2)
    near, far = EDGE
    (points, sizes), (more, more_sizes) = (
        edge_points(values, (grid + near * arm).reshape(-1, 2), (grid + far * arm).reshape(-1, 2), reaches)
        for arm in (ahead, behind)
    )
    return fit_lines(np.concatenate([points, more], axis=1), np.concatenate([sizes, more_sizes], axis=1))


def _arms(grid: Floats, axis: int) -> tuple[Floats, Floats]:
    """From each corner to its next and to its former neighbour along `axis`; mirrored at the grid's border."""
    step = np.diff(grid, axis=axis)
    first, last = np.take(step, [0], axis), np.take(step, [-1], axis)
    return np.concatenate([step, last], axis), -np.concatenate([first, step], axis)


def looks(values: Scalars, grid: Floats, cells: Floats) -> Looks:
    """How the points at `cells` look (N 2, in squares from the grid's first corner; outside too); NaN off the image.

    Inside, the neighbourhood is centred on the measured corner; outside, where the homography puts it.
    """
    homography = fit_homography(cells_of(grid), grid.reshape(-1, 2))
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 * REACH - REACH
    offsets = np.stack(np.meshgrid(steps, steps), axis=-1)
    at = mapped(homography, cells[:, None, None] + offsets)
    at += _shift(grid, cells, homography)[:, None, None]
    spacing = spacing_px(grid)
    level = levelled(_smoothed(values, spacing), 0.7 * spacing)
    patches = sampled(level, at)
    quadrants = patches.reshape(len(cells), 2, SAMPLES // 2, 2, SAMPLES // 2).mean(axis=(2, 4))
    (a, b), (c, d) = quadrants.transpose(1, 2, 0)
    saddle, x, y = (a - b - c + d) / 4, (a - b + c - d) / 4, (a + b - c - d) / 4
    whole = np.sqrt(saddle**2 + x**2 + y**2) + 1e-9
    return Looks(saddle=saddle / whole, contrast=np.abs(saddle))


def sides(values: Scalars, grid: Floats) -> list[Side]:
    """What lies one square beyond the grid: left, right, above its first row, below its last."""
    rows, columns = grid.shape[:2]
    usual = float(np.nanmedian(looks(values, grid, cells_of(grid)).contrast))
    lines = [[(c, r) for r in range(rows)] for c in (-1, columns)]
    lines += [[(c, r) for c in range(columns)] for r in (-1, rows)]
    return [_side(looks(values, grid, np.array(line, np.float64)), usual) for line in lines]


def cells_of(grid: Floats) -> Floats:
    """Column and row of every corner of a grid (N 2)."""
    rows, columns = grid.shape[:2]
    return np.array([(c, r) for r in range(rows) for c in range(columns)], np.float64)


def _smoothed(values: Scalars, spacing: float) -> Scalars:
    sigma = SMOOTH * spacing
    return cast(Scalars, cv2.GaussianBlur(values, (0, 0), sigma)) if sigma > 0.5 else values


def _side(line: Looks, usual: float) -> Side:
    inside = np.isfinite(line.saddle)
    if inside.sum() >= max(2, 0.5 * len(inside)):
        contrast = line.contrast / usual
        if _alternate(line, (np.abs(line.saddle) > T_JUNCTION) & (contrast > 0.4)) > ALTERNATE:
            return "corners" if inside.all() else "cut"
        if _alternate(line, (np.abs(line.saddle) > T_EDGE) & (contrast > 0.25) & (contrast < 0.8)) > ALTERNATE:
            return "edge"
    return "unknown" if inside.all() else "image"


def _alternate(line: Looks, good: NDArray[np.bool_]) -> float:
    """Share of a line's points, of those in the image, that are `good` and bright and dark in turn."""
    signs = np.sign(line.saddle) * (-1.0) ** np.arange(len(line.saddle))
    return max(float((good & (signs == sign))[np.isfinite(signs)].mean()) for sign in (1, -1))


def _shift(grid: Floats, cells: Floats, homography: Floats) -> Floats:
    """Measured minus predicted place of each cell inside the grid; 0 outside."""
    rows, columns = grid.shape[:2]
    shift = np.zeros((len(cells), 2))
    for number, (c, r) in enumerate(cells.astype(int)):
        if 0 <= c < columns and 0 <= r < rows:
            shift[number] = grid[r, c] - mapped(homography, np.array([c, r], np.float64))
    return shift
