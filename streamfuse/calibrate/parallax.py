"""How far off a rig's map is for what does not lie on its depth plane: predicted over the whole image, from geometry.

A map set to one depth shows the heat of an object at another depth beside the object. Here that shift is computed
through both lenses with their rotation and distortion, not only at the axis (`warp.parallax_px_per_inverse_m`).

Convention: depth is Z in the RGB camera, metres. A shift on the output grid is (where the object's heat is shown) -
(where the object is), pixels of the grid; a shift in the thermal image is (what the map reads) - (where the object
really is), thermal pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from streamfuse.distortion import Bools, Floats
from streamfuse.errors import UserError
from streamfuse.frames import OutputGrid
from streamfuse.rig import Rig
from streamfuse.warp import output_grid, thermal_from_rgb

ACROSS, DOWN = 21, 15
"""Points of the output grid at which the error is looked at."""
NEAREST_M = 0.05
BISECTIONS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Shifts:
    """What becomes of objects at some pixels (... 2): `on_grid` and `in_thermal` (... 2), and where they mean something
    (`seen` ...: the object is in front of both cameras and inside the thermal image)."""

    on_grid: Floats
    in_thermal: Floats
    seen: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Error in output pixels against depth: the median and the largest; nan where nothing is seen by both cameras.

    `worst_thermal_px`: the largest in thermal pixels.
    """

    depths_m: Floats
    median_px: Floats
    worst_px: Floats
    worst_thermal_px: Floats


def rounded(value: float, digits: int) -> str:
    """So many digits as people write them: 1230, never 1.23e+03."""
    return f"{float(f'{value:.{digits}g}'):.15g}"


@dataclass(frozen=True, slots=True)
class DepthRange:
    """Depths between which the error stays under `limit_px` everywhere on the image; `far_m` may be infinite."""

    limit_px: float
    near_m: float
    far_m: float

    def __str__(self) -> str:
        if math.isinf(self.far_m):
            return f"under {self.limit_px:g} px beyond {rounded(self.near_m, 3)} m"
        return f"under {self.limit_px:g} px from {rounded(self.near_m, 3)} m to {rounded(self.far_m, 3)} m"


@dataclass(frozen=True)
class Parallax:
    """The error of a full rig's map that is set to `map_depth_m`, on `grid`. See `parallax_of`."""

    rig: Rig
    grid: OutputGrid
    map_depth_m: float

    def shifts(self, pixels: ArrayLike, depth_m: float) -> Shifts:
        """For objects at output pixels (... 2), all at one depth."""
        at = np.asarray(pixels, dtype=np.float64)
        rgb_pixels = _from(self.grid, at)
        really, seen = thermal_from_rgb(self.rig, rgb_pixels, depth_m)
        read, readable = thermal_from_rgb(self.rig, rgb_pixels, self.map_depth_m)
        shown, showable = rgb_from_thermal(self.rig, really, self.map_depth_m)
        last = np.array(self.rig.thermal_size) - 1
        inside = ((really >= 0) & (really <= last)).all(axis=-1)
        shown_at = _onto(self.grid, shown)
        return Shifts(shown_at - at, read - really, seen & readable & showable & inside)

    def worst_px(self, depth_m: float) -> float:
        """The largest shift on the output grid; nan where the cameras see nothing in common at this depth."""
        shifts = self.shifts(_grid_points(self.grid), depth_m)
        lengths = _lengths(shifts.on_grid, shifts.seen)
        return float(lengths.max()) if lengths.size else math.nan

    def curve(self, depths_m: ArrayLike) -> Curve:
        """The error at every one of some depths (N)."""
        depths = np.asarray(depths_m, dtype=np.float64)
        told = np.array([self._summary(float(depth)) for depth in depths], dtype=np.float64).reshape(len(depths), 3)
        return Curve(depths, told[:, 0], told[:, 1], told[:, 2])

    def holds(self, limit_px: float) -> DepthRange:
        """The depths about the map's own at which no pixel is off by more than `limit_px`."""
        at = 1 / self.map_depth_m
        return DepthRange(limit_px, 1 / self._edge(at, 1 / NEAREST_M, limit_px), _inverse(self._edge(at, 0, limit_px)))

    def _summary(self, depth_m: float) -> tuple[float, float, float]:
        shifts = self.shifts(_grid_points(self.grid), depth_m)
        lengths, in_thermal = _lengths(shifts.on_grid, shifts.seen), _lengths(shifts.in_thermal, shifts.seen)
        if not lengths.size:
            return math.nan, math.nan, math.nan
        return float(np.median(lengths)), float(lengths.max()), float(in_thermal.max())

    def _edge(self, inside: float, outside: float, limit_px: float) -> float:
        """The inverse depth between two at which the limit is reached; `outside` where it never is.

        The shift grows with the distance in inverse depth, almost in proportion: so bisection finds the one edge.
        """
        if self._under(outside, limit_px):
            return outside
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if self._under(middle, limit_px) else (inside, middle)
        return inside

    def _under(self, inverse_depth: float, limit_px: float) -> bool:
        return self.worst_px(_inverse(inverse_depth)) <= limit_px


def parallax_of(rig: Rig, grid: OutputGrid | None = None, map_depth_m: float | None = None) -> Parallax:
    """The prediction for a rig; `grid`: None = the RGB image; `map_depth_m`: None = the rig's working depth.

    Raises UserError for a planar rig, whose file does not say where the cameras stand, and for a depth at which the
    cameras see nothing in common.
    """
    if rig.planar or rig.working_depth_m is None:
        raise UserError(
            f"the parallax of rig {rig.name} was asked for, which is planar: it holds for the one plane it was "
            "measured on and does not say where the cameras stand; calibrate both lenses and their pose to predict it"
        )
    chosen = Parallax(rig, grid or output_grid(rig.rgb_size), map_depth_m or rig.working_depth_m)
    if math.isnan(chosen.worst_px(chosen.map_depth_m)):
        raise UserError(
            f"rig {rig.name} at {chosen.map_depth_m:g} m: no pixel is seen by both cameras; "
            "is rgb_from_thermal the inverse of what it should be, or the working depth wrong?"
        )
    return chosen


def rgb_from_thermal(rig: Rig, pixels: Floats, depth_m: float) -> tuple[Floats, Bools]:
    """Thermal pixels (... 2) to RGB pixels (... 2) through the plane Z = `depth_m` of the RGB camera, and where valid.

    The way back of `warp.thermal_from_rgb`, for a full rig. With ray r and d = R r: the plane is met at
    X_rgb = t + d (depth - t_z) / d_z, divided by the depth so that an infinite one works too.
    """
    thermal, rgb, pose = rig.thermal, rig.rgb, rig.rgb_from_thermal
    if thermal is None or rgb is None or pose is None:
        raise ValueError(f"rig {rig.name} is planar")
    rays, seen = thermal.rays(pixels)
    turned: Floats = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) @ np.transpose(pose.rotation_matrix)
    offset = pose.translation_vector / depth_m
    ahead = turned[..., 2] > 0
    stretch = (1 - offset[2]) / np.where(ahead, turned[..., 2], 1.0)
    shown, projected = rgb.project(offset + turned * stretch[..., None])
    return shown, seen & ahead & projected


def _grid_points(grid: OutputGrid) -> Floats:
    """(DOWN, ACROSS, 2) output pixels from corner to corner."""
    across, down = np.linspace(0, grid.size[0] - 1, ACROSS), np.linspace(0, grid.size[1] - 1, DOWN)
    return np.stack(np.meshgrid(across, down), axis=-1)


def _from(grid: OutputGrid, pixels: Floats) -> Floats:
    """Output pixels (... 2) to RGB pixels."""
    (scale_x, _, left), (_, scale_y, above), _ = grid.rgb_from_output.tolist()
    return pixels * (scale_x, scale_y) + (left, above)


def _onto(grid: OutputGrid, pixels: Floats) -> Floats:
    """RGB pixels (... 2) to output pixels."""
    (scale_x, _, left), (_, scale_y, above), _ = grid.rgb_from_output.tolist()
    return (pixels - (left, above)) / (scale_x, scale_y)


def _lengths(shifts: Floats, where: Bools) -> Floats:
    """(N): lengths of the vectors (... 2) that count."""
    return np.hypot(shifts[..., 0], shifts[..., 1])[where]


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else math.inf
