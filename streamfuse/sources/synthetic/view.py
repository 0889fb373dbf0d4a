"""One camera's exact geometry: metres on the plane to pixels, and back.

Knows nothing of what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamfuse.frames import Size
from streamfuse.lens import Lens, Pose
from streamfuse.sources.synthetic.scene import Floats, Part

Bools = NDArray[np.bool_]
Window = tuple[slice, slice]
"""Rows and columns of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A lens, where it stands (`rgb_from_camera`; None for the RGB camera itself), and how far the plane is."""

    lens: Lens
    rgb_from_camera: Pose | None
    depth_m: float

    @property
    def px_per_m(self) -> float:
        """Scale in the middle of the image."""
        return self.lens.fx / self.depth_m

    def pixels(self, points: Floats) -> tuple[Floats, Bools]:
        """Plane points (... 2) to pixels (... 2), and where that is valid."""
        depth = np.full((*points.shape[:-1], 1), self.depth_m)
        world = np.concatenate([points, depth], axis=-1)
        if self.rgb_from_camera:
            world = (world - self.rgb_from_camera.translation_vector) @ self.rgb_from_camera.rotation_matrix
        return self.lens.project(world)

    def plane(self, pixels: Floats) -> tuple[Floats, Bools]:
        """Pixels (... 2) to the plane points (... 2) they show, and where there is one."""
        rays, valid = self.lens.rays(pixels)
        ray = np.stack([rays[..., 0], rays[..., 1], np.ones(rays.shape[:-1])], axis=-1)
        start = np.zeros(3)
        if self.rgb_from_camera:
            ray = np.einsum("...j,ij->...i", ray, self.rgb_from_camera.rotation_matrix)
            start = self.rgb_from_camera.translation_vector
        ahead = ray[..., 2] > 1e-9
        scale = (self.depth_m - start[2]) / np.where(ahead, ray[..., 2], 1.0)
        return start[:2] + ray[..., :2] * scale[..., None], valid & ahead

    def grid(self) -> Floats:
        """Coordinates of every pixel, H W 2."""
        width, height = self.lens.size
        return np.stack(np.meshgrid(np.arange(float(width)), np.arange(float(height))), axis=-1)

    def outlines(self, actors: Sequence[Sequence[Part]]) -> list[list[Floats]]:
        """Every part's outline in pixels, in the order given; one projection for all of them."""
        shapes = [part.outline for parts in actors for part in parts]
        if not shapes:
            return [[] for _ in actors]
        pixels, _ = self.pixels(np.concatenate(shapes))
        pieces = iter(np.split(pixels, np.cumsum([len(shape) for shape in shapes])[:-1]))
        return [[next(pieces) for _ in parts] for parts in actors]


def window_of(outlines: Sequence[Floats], size: Size, margin: int) -> Window | None:
    """The part of an image that the outlines and a margin around them touch, or None."""
    if not outlines:
        return None
    points = np.concatenate(outlines)
    low = np.maximum(np.floor(points.min(axis=0)) - margin, 0).astype(np.int64)
    high = np.minimum(np.ceil(points.max(axis=0)) + margin + 1, size).astype(np.int64)
    if (low >= high).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
