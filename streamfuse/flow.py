"""Dense flow for recordings: what is nearer or farther than the map's plane is drawn onto its place, pixel by pixel.

A plane sweep across the spectra. The thermal image is put onto the output grid for a row of depths, each a step of
parallax from the next; per place that depth is taken at which its edges run as those of the visible image do, and only
where they do so clearly better than at the map's own depth. Elsewhere, and in doubt, the map stays as it is.

Why depths, and no free flow: `tests/flow_figures.py` measures both. Edges of the two spectra differ by 1 to 3 px on
registered pairs, in any direction; a flow that may point anywhere follows that, one along the parallax hardly can.

Touches no frame and knows nothing of time; works on images of 320 columns. Lengths are for an output 640 wide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.correct import working_grid
from streamfuse.errors import UserError
from streamfuse.frames import Pixels, WarpMap
from streamfuse.rig import Rig
from streamfuse.warp import (
    build_warp,
    on_image,
    parallax_px_per_inverse_m,
    rgb_pixels,
    thermal_from_rgb,
    thermal_px_per_output_px,
)

Plane = NDArray[np.float32]

STEP_PX = 2.0
MOST_STEPS = 8
"""16 px either way; the depth one step beyond is looked at too, and what lies best there is not believed."""
CELLS = 80
"""Places across the image at which a depth is found."""
WINDOW = 8.0
"""Each of them by the edges around it, weighed by a Gaussian of so many cells: 64 px."""
SURROUNDINGS, FLOOR = 25, 0.35  # an edge is compared with the pixels around it, and with the image's median edge
STIFFNESS = 0.003
"""Correlation that the square of a step costs: a depth 2 steps off must be better by 0.012 than the map's own."""
LEAST_FOUND = 2  # steps; a depth nearer to the map's than that is not told from the spectra's difference
LIKE = (0.15, 0.19)  # correlation at the depth found: not trusted below the first, fully from the second
LEAST_STEPS = 0.05  # 0.1 px


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A pair's own map, and how far it draws the thermal image (H W, output pixels, 0 = as the rig says)."""

    warp: WarpMap
    moved_px: Plane


class ParallaxFlow:
    """The flow of pairs that share a rig and a map."""

    def __init__(self, rig: Rig, warp: WarpMap) -> None:
        """Build the maps of all depths. Raises UserError for a rig that does not know which way depth moves."""
        parallax = float(np.hypot(*(parallax_px_per_inverse_m(rig, warp.grid) or (0.0, 0.0))))
        if warp.depth_m is None or parallax == 0:
            raise UserError(
                f"flow was asked with rig {rig.name}, which does not know how depth moves the thermal image; it needs "
                "a full rig: both lenses and a pose with a baseline (streamfuse calibrate rig)"
            )
        self._rig, self._warp = rig, warp
        self._step_px = STEP_PX * warp.grid.size[0] / 640
        self._inverse_m, self._step = 1 / warp.depth_m, self._step_px / parallax
        beyond = min(MOST_STEPS + 1, int(self._inverse_m / self._step))  # nothing is farther than infinity
        self._steps = np.arange(-beyond, MOST_STEPS + 2)
        self._grid = working_grid(warp.grid)
        self._maps = [self._map(int(step)) for step in self._steps]

    def flow(self, thermal: Pixels, rgb: Pixels) -> Flow:
        """Counts h w and RGB H W 3 to the pair's map; the very map given where nothing is to be drawn anywhere."""
        steps = trusted_steps(self._correlation(thermal, rgb), self._steps)
        if float(np.abs(steps).max()) < LEAST_STEPS:
            return Flow(self._warp, np.zeros(self._warp.valid.shape, np.float32))
        whole = cast(Plane, cv2.resize(steps, self._warp.grid.size, interpolation=cv2.INTER_LINEAR))
        return Flow(self._at(whole), np.abs(whole) * np.float32(self._step_px))

    def _map(self, step: int) -> WarpMap:
        inverse_m = self._inverse_m + step * self._step
        depth_m = 1 / inverse_m if inverse_m > 0 else float("inf")
        return build_warp(self._rig, self._grid, depth_m, calibration="", revision=0)

    def _correlation(self, thermal: Pixels, rgb: Pixels) -> Plane:
        """How alike the edges of both images run, for every step and cell: S h w, -1 to 1."""
        x, y, width, height = self._grid.crop
        visible = cv2.cvtColor(rgb[y : y + height, x : x + width], cv2.COLOR_RGB2GRAY)
        small = cv2.resize(visible, self._grid.size, interpolation=cv2.INTER_AREA).astype(np.float32)
        still = edge_field(small, np.ones_like(self._maps[0].valid))
        soft, energy, rows = _softened(thermal, self._maps[0]), _around(still, still), list[Plane]()
        for warp in self._maps:
            where = warp.thermal_from_output
            on_grid = cv2.remap(soft, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            moved = edge_field(cast(Plane, on_grid), warp.valid)
            together = np.sqrt(energy * _around(moved, moved)) + 0.01
            rows.append((_around(still, moved) / together).astype(np.float32))
        return np.stack(rows)

    def _at(self, steps: Plane) -> WarpMap:
        """The map with this many steps (H W) of parallax at each pixel."""
        warp = self._warp
        inverse_m = np.maximum(self._inverse_m + steps.astype(np.float64) * self._step, 0)
        with np.errstate(divide="ignore"):
            thermal, usable = thermal_from_rgb(self._rig, rgb_pixels(warp.grid, 0, warp.grid.size[1]), 1 / inverse_m)
        stored, valid = on_image(thermal, usable, warp.thermal_size)
        return replace(warp, thermal_from_output=stored, valid=valid)


def edge_field(grey: Plane, seen: NDArray[np.bool_]) -> Plane:
    """Edges as vectors: H W 2, as long as an edge is strong for its surroundings (0 to 1), at twice its angle.

    Twice, so that bright-to-dark and dark-to-bright are one; the product of two such vectors is 0 on average for edges
    that have nothing to do with each other. Edges near what is not `seen` (H W) do not count.
    """
    soft = cast(Plane, cv2.GaussianBlur(grey, (0, 0), 1.0))
    across, down = cv2.Scharr(soft, cv2.CV_32F, 1, 0), cv2.Scharr(soft, cv2.CV_32F, 0, 1)
    counts = cast(Plane, cv2.erode(seen.astype(np.float32), np.ones((7, 7), np.uint8), borderValue=1))
    strength = cv2.magnitude(across, down) * counts
    around = cv2.blur(strength, (SURROUNDINGS, SURROUNDINGS))
    share = strength / (strength + around + FLOOR * float(np.median(strength)) + 1e-6) / (strength**2 + 1e-12)
    doubled = np.stack([(across**2 - down**2) * share, 2 * across * down * share], axis=-1) * counts[..., None]
    return cast(Plane, cv2.GaussianBlur(doubled.astype(np.float32), (0, 0), 1.0))


def trusted_steps(correlation: Plane, steps: NDArray[np.int_]) -> Plane:
    """Correlation S h w at these `steps` (S, rising by 1, 0 among them) to the step of each cell, h w.

    The best step, between neighbours by a parabola, where it is no small one, none beyond reach, and images are alike
    there; else 0, with a smooth border between.
    """
    last = len(steps) - 1
    score = correlation - (STIFFNESS * steps.astype(np.float32) ** 2)[:, None, None]
    best = score.argmax(axis=0)
    inner = best.clip(1, last - 1)
    before, here, after = (np.take_along_axis(score, (inner + k)[None], axis=0)[0] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    between = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0).clip(-0.5, 0.5)
    found = np.where(best == inner, steps[inner] + between, steps[best])
    like, off = np.take_along_axis(correlation, best[None], axis=0)[0], np.abs(steps[best])
    trust = np.clip((like - LIKE[0]) / (LIKE[1] - LIKE[0]), 0, 1) * ((off >= LEAST_FOUND) & (off <= MOST_STEPS))
    return cast(Plane, cv2.GaussianBlur((found * trust).astype(np.float32), (0, 0), WINDOW / 2))


def _around(one: Plane, other: Plane) -> Plane:
    """The product of two fields, H W 2 each, summed over the window around each cell: h w."""
    product = cast(Plane, (one * other).sum(axis=-1))
    height, width = product.shape
    cells = cv2.resize(product, (CELLS, max(1, round(CELLS * height / width))), interpolation=cv2.INTER_AREA)
    return cast(Plane, cv2.GaussianBlur(cells, (0, 0), WINDOW, borderType=cv2.BORDER_CONSTANT))


def _softened(thermal: Pixels, warp: WarpMap) -> Plane:
    """Thermal as float32, blurred where the grid has fewer pixels than it."""
    scale, counts = thermal_px_per_output_px(warp), thermal.astype(np.float32)
    return cast(Plane, cv2.GaussianBlur(counts, (0, 0), 0.4 * scale)) if scale > 1.2 else counts
