"""A rig without a board: one homography from points that somebody clicked or matched in both images.

Right for the plane on which the points lie and nowhere else; how far off it is at other depths is said where the
baseline is known. Knows nothing of lenses: their distortion ends up in the residual.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.accept import HELD_OUT_PX, bare_corners
from streamfuse.calibrate.views import Floats
from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.rig import Calibration, Rig

FEWEST = 6  # a homography has 8 unknowns and a pair tells 2 of them; with fewer nothing checks the answer
ASKED = 12
OUTLIER = 4.0  # standard deviations
CLICKED_PX = 0.5  # a clicked point is not better than this
PARTS = 5
MIDDLE = 1.4826  # median absolute value to standard deviation
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Matching points: `thermal` (N 2) and `rgb` (N 2), pixels."""

    thermal: Floats
    rgb: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """A planar rig from points. `errors` (N 2): found minus predicted RGB pixels, `used` (N); `held_out_px`: RMS of
    points that had no part in the homography that predicts them; `reasons`: why it is provisional."""

    rig: Rig
    points: Points
    errors: Floats
    used: Bools
    held_out_px: float
    reasons: tuple[str, ...]


def read_points(path: Path) -> Points:
    """Points of a CSV file: thermal x, thermal y, RGB x, RGB y in each line; a first line of names is skipped.

    Raises UserError naming the line.
    """
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read: {error}; give a CSV file of thermal_x,thermal_y,rgb_x,rgb_y"
        ) from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not any(cell.strip() for cell in line):
            continue
        try:
            rows.append([float(cell) for cell in line])
        except ValueError:
            if number > 1:
                raise UserError(f"{path}, line {number}: {','.join(line)!r} is not four numbers") from None
            continue
        if len(rows[-1]) != 4 or not np.isfinite(rows[-1]).all():
            raise UserError(f"{path}, line {number}: {len(line)} values; asked are thermal x, thermal y, RGB x, RGB y")
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Points(table[:, :2], table[:, 2:])


def rig_of_points(
    points: Points, sizes: tuple[Size, Size], name: str = "points", working_depth_m: float | None = None
) -> Matched:
    """The planar rig that the points agree on; `sizes` of the thermal and the RGB images.

    Raises UserError: too few points, outside the images (swapped columns), on a line, mirrored, or no agreement.
    """
    _check(points, sizes)
    matrix, used = _robust(points)
    there = transfer(matrix, points.thermal)
    errors = points.rgb - there
    held_out = _held_out(points, used)
    reasons = _reasons(points, used, held_out, sizes)
    rms = float(np.sqrt((errors[used] ** 2).sum(axis=1).mean()))
    rows = tuple(tuple(float(value) for value in row) for row in matrix)
    rig = Rig.model_validate(
        {
            "name": name,
            "thermal_size": sizes[0],
            "rgb_size": sizes[1],
            "rgb_from_thermal_homography": rows,
            "working_depth_m": working_depth_m,
            "residual_px": round(held_out, 4),
            "provisional": bool(reasons),
            "calibration": Calibration(
                target="matched points",
                views=None,
                rgb_rms_px=round(rms, 4),
                held_out_px=round(held_out, 4),
                refused=reasons,
            ),
            "made_on": date.today(),
            "notes": "A homography from matched points: right for the plane on which they lie.",
        }
    )
    return Matched(rig, points, errors, used, held_out, reasons)


def off_at_depths(baseline_m: float, focal_px: float, depth_m: float) -> list[tuple[float, float]]:
    """(depth in metres, error in RGB pixels) of objects before and behind the plane of the points."""
    depths = [depth_m * factor for factor in (0.5, 0.8, 0.9, 1.1, 1.25, 2.0, 5.0)] + [float("inf")]
    return [(depth, focal_px * baseline_m * abs(1 / depth - 1 / depth_m)) for depth in depths]


def transfer(matrix: Floats, pixels: Floats) -> Floats:
    """Pixels (N 2) through a homography."""
    carried = np.column_stack([pixels, np.ones(len(pixels))]) @ np.transpose(matrix)
    return (carried[:, :2] / carried[:, 2:]).astype(np.float64)


def _check(points: Points, sizes: tuple[Size, Size]) -> None:
    count = len(points.thermal)
    if count < FEWEST:
        raise UserError(f"{count} points; at least {FEWEST} are needed and {ASKED} asked for, spread over the images")
    crossed = bool(_within(points.thermal, sizes[1]).all() and _within(points.rgb, sizes[0]).all())
    for camera, pixels, size in (("thermal", points.thermal, sizes[0]), ("RGB", points.rgb, sizes[1])):
        outside = ~_within(pixels, size)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            swapped = "; the columns look swapped" if crossed else ""
            raise UserError(
                f"point {at + 1} lies at {pixels[at, 0]:g} {pixels[at, 1]:g} in the {camera} image of "
                f"{size[0]}x{size[1]}{swapped}; the order is thermal x, thermal y, RGB x, RGB y, in pixels"
            )
        spread = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)
        if spread[1] < 0.02 * spread[0]:
            raise UserError(f"the {camera} points lie on a line; add points beside it, best in all four corners")


def _within(pixels: Floats, size: Size) -> Bools:
    return np.all((pixels >= -1) & (pixels <= np.array(size)), axis=1)


def _robust(points: Points) -> tuple[Floats, Bools]:
    """The homography of the points that agree (LMedS, then least squares of those within 4 standard deviations)."""
    matrix = _homography(points, cv2.LMEDS)
    used = np.ones(len(points.thermal), np.bool_)
    for _ in range(5):
        off = np.linalg.norm(points.rgb - transfer(matrix, points.thermal), axis=1)
        used = off < OUTLIER * max(MIDDLE * float(np.median(off)), CLICKED_PX)
        matrix = _homography(Points(points.thermal[used], points.rgb[used]), 0)
    slopes = np.linalg.det(matrix) / matrix[2, 2] ** 3
    if slopes <= 0:
        raise UserError("one image shows the points mirrored; flip that camera's images and match again")
    return matrix, used


def _homography(points: Points, method: int) -> Floats:
    try:
        matrix, _ = cast(Any, cv2.findHomography)(points.thermal, points.rgb, method)
    except cv2.error:
        matrix = None
    if matrix is None or not np.isfinite(matrix).all():
        raise UserError("no homography fits the points; check that each line names the same place in both images")
    return np.asarray(matrix / matrix[2, 2], dtype=np.float64)


def _held_out(points: Points, used: Bools) -> float:
    """RMS of every fifth point under the homography of the others, five times."""
    at = np.flatnonzero(used)
    squares: list[Floats] = []
    for first in range(PARTS):
        out = at[first::PARTS]
        rest = np.setdiff1d(at, out)
        if len(out) and len(rest) >= 4:
            matrix = _homography(Points(points.thermal[rest], points.rgb[rest]), 0)
            squares.append(((points.rgb[out] - transfer(matrix, points.thermal[out])) ** 2).sum(axis=1))
    return float(np.sqrt(np.concatenate(squares).mean()))


def _reasons(points: Points, used: Bools, held_out: float, sizes: tuple[Size, Size]) -> tuple[str, ...]:
    found = int(used.sum())
    reasons: list[str] = []
    if found < ASKED:
        reasons.append(f"{found} points agree, at least {ASKED} are asked: add {ASKED - found}")
    if found < 0.7 * len(used):
        reasons.append(
            f"only {found} of {len(used)} points agree: the others are wrong or lie at another depth; check their lines"
        )
    if held_out > HELD_OUT_PX:
        reasons.append(
            f"held-out error is {held_out:.2f} px (RMS, RGB pixels), at most {HELD_OUT_PX:g} is asked: click finer, "
            "keep to points at one depth, or calibrate the lenses with a board"
        )
    width, height = sizes[0]
    bare = bare_corners(points.thermal[used], (-0.5, -0.5, width - 0.5, height - 0.5))
    if bare:
        reasons.append(
            f"no point in the {' and '.join(bare)} corner of the thermal image: the homography guesses there"
        )
    return tuple(reasons)
