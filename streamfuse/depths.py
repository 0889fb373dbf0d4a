"""Maps for any depth, region by region, moved by a correction: made in a few milliseconds, so that depth is live.

A map is smooth, so it is computed exactly at every `STEP`-th pixel and interpolated between. That costs less than
blending two full maps out of a table over inverse depth would, needs no memory, and knows every depth instead of some.
The error of the interpolation is what a lens bends within one step: hundredths of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from streamfuse.distortion import Bools, Floats
from streamfuse.errors import UserError
from streamfuse.frames import OutputGrid, WarpMap
from streamfuse.rig import Rig
from streamfuse.warp import on_image, parallax_px_per_inverse_m, thermal_from_rgb

STEP = 8
LEAST_BORDER_PX = 24.0
FOLDS = 2.0
"""The border of a region is at least so many times as wide as the map moves over it: at 1 the map would fold."""

Box = tuple[float, float, float, float]
"""x, y, width, height in output pixels."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a map is asked to hold for: a depth (None for a planar rig), nearer or farther regions, a shift and a turn.

    `regions`: box and depth; where they overlap, the later one counts. `moved_px`: how far the thermal image lies too
    far right and down; `turned`: by how much it is rolled (radians, clockwise) and too large (0.01 = 1 %), both small,
    about `pivot`.
    """

    depth_m: float | None = None
    regions: tuple[tuple[Box, float], ...] = ()
    moved_px: tuple[float, float] = (0.0, 0.0)
    turned: tuple[float, float] = (0.0, 0.0)
    pivot: tuple[float, float] = (0.0, 0.0)

    def moved(self, points: Floats) -> Floats:
        """Output pixels (... 2) to where their thermal image lies now."""
        roll, zoom = self.turned
        turn: Floats = np.array([[zoom, roll], [-roll, zoom]])
        return points + np.array(self.moved_px) + (points - np.array(self.pivot)) @ turn


class DepthMaps:
    """Maps of one rig on one output grid."""

    def __init__(self, rig: Rig, grid: OutputGrid, calibration: str) -> None:
        self._rig, self._grid, self._calibration = rig, grid, calibration
        width, height = grid.size
        columns, rows = _nodes(width), _nodes(height)
        self._nodes = np.stack(np.meshgrid(columns, rows), axis=-1)
        self._parallax = float(np.hypot(*(parallax_px_per_inverse_m(rig, grid) or (0.0, 0.0))))

    def warp(self, geometry: Geometry, revision: int) -> WarpMap:
        """The map and its mask; `depth_m` of the map is that outside all regions."""
        matrix = self._grid.rgb_from_output
        outputs = geometry.moved(self._nodes)
        pixels = outputs * np.diag(matrix)[:2] + matrix[:2, 2]
        thermal, usable = thermal_from_rgb(self._rig, pixels, self._depths(geometry, outputs))
        coordinates, known = self._between(thermal, usable)
        stored, valid = on_image(coordinates, known, self._rig.thermal_size)
        return WarpMap(stored, valid, self._rig.thermal_size, self._grid, self._calibration, geometry.depth_m, revision)

    def _depths(self, geometry: Geometry, outputs: Floats) -> float | Floats | None:
        if geometry.depth_m is None or not geometry.regions:
            return geometry.depth_m
        inverse = np.full(outputs.shape[:2], 1 / geometry.depth_m)
        for box, depth_m in geometry.regions:
            border = max(LEAST_BORDER_PX, FOLDS * self._parallax * abs(1 / depth_m - 1 / geometry.depth_m))
            share = _inside(outputs, box, border)
            inverse = (1 - share) * inverse + share / depth_m
        with np.errstate(divide="ignore"):
            return 1 / inverse

    def _between(self, thermal: Floats, usable: Bools) -> tuple[Floats, Bools]:
        """From the nodes to all pixels; next to a node that no lens sees, nothing is known."""
        width, height = self._grid.size
        whole = (usable.shape[1] * STEP, usable.shape[0] * STEP)
        kept = slice(STEP, STEP + height), slice(STEP, STEP + width)
        seen = np.where(usable[..., None], thermal, 0.0).astype(np.float32)
        coordinates = cast(Floats, cv2.resize(seen, whole, interpolation=cv2.INTER_LINEAR)[kept])
        if usable.all():
            return coordinates, np.ones((height, width), dtype=np.bool_)
        share = cv2.resize(usable.astype(np.float32), whole, interpolation=cv2.INTER_LINEAR)[kept]
        return coordinates, cast(Bools, share == 1)


def check_region(box: Box, grid: OutputGrid) -> Box:
    """Raises UserError for a box without area or outside the output."""
    x, y, width, height = box
    if not (width > 0 and height > 0 and x < grid.size[0] and y < grid.size[1] and x + width > 0 and y + height > 0):
        raise UserError(
            f"region {box}: x, y, width, height in output pixels, of some area and on the "
            f"{grid.size[0]}x{grid.size[1]} output"
        )
    return x, y, width, height


def _nodes(length: int) -> Floats:
    """Where nodes lie so that cv2.resize, whose pixels have their centres at halves, interpolates between them."""
    steps = np.arange(-1, (length + STEP - 1) // STEP + 1, dtype=np.float64)
    return STEP * steps + (STEP - 1) / 2


def _inside(points: Floats, box: Box, border: float) -> Floats:
    """1 in the box and up to one step around it, falling smoothly to 0 over the border."""
    low = np.array(box[:2]) - STEP
    high = np.array(box[:2]) + np.array(box[2:]) + STEP
    beyond: Floats = np.maximum(np.maximum(low - points, points - high), 0)
    outside: Floats = np.hypot(beyond[..., 0], beyond[..., 1])
    left: Floats = np.clip(1 - outside / border, 0, 1)
    return left * left * (3 - 2 * left)
