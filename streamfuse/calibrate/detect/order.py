"""Which point is which: of the numberings under which a target looks the same, the one that stands upright.

A board that looks the same upside down can be numbered in two ways (a square one in four). Detection numbers so that
rows run to the right and columns down in the image, which cameras mounted the same way up agree on; solving checks it
over all views.
"""

from __future__ import annotations

import numpy as np

from streamfuse.calibrate.detect.plane import fit_homography, mapped
from streamfuse.calibrate.target import Floats, Target
from streamfuse.calibrate.views import Indices


def upright(points: Floats, target: Target) -> Indices:
    """Of the numberings under which the target looks the same, the one whose rows run most to the right.

    `points` (N 2): pixels of all points in some valid order. Returns the index of the target's point for each pixel.
    """
    plane = target.points_m[:, :2]
    return min(turns(target), key=lambda turn: abs(_angle(plane[turn], points)))


def turns(target: Target) -> list[Indices]:
    """Renumberings under which the points of the target lie on themselves; the first changes nothing."""
    everything = np.arange(len(target.points_m))
    if target.has_markers:
        return [everything]
    points = target.points_m[:, :2]
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    found: list[Indices] = []
    for quarter in range(4):
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
        turned = points @ np.array([[cosine, sine], [-sine, cosine]])
        distance = np.linalg.norm(turned[:, None] - points[None], axis=2)
        if distance.min(axis=1).max() < 1e-6 * target.spacing_m + 1e-12:
            found.append(distance.argmin(axis=1))
    return found


def _angle(plane: Floats, pixels: Floats) -> float:
    """Direction in the image of the target's x axis at the middle of the points, radians."""
    homography = fit_homography(plane, pixels)
    middle = plane.mean(axis=0)
    step = np.array([1e-3 * float(np.ptp(plane)), 0])
    before, after = mapped(homography, np.array([middle - step, middle + step]))
    return float(np.arctan2(*(after - before)[::-1]))
