"""How the target stood, view by view, without any calibration: tilt, distance, and what two cameras share.

Good enough to send someone to another pose, not to solve a lens: no distortion, centre of the image, one focal length
that suits all views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamfuse.calibrate.detect.plane import fit_homography
from streamfuse.calibrate.target import Floats, Target
from streamfuse.calibrate.views import Sighting
from streamfuse.frames import Size

FOCAL_LENGTHS = 0.5 * 1.15 ** np.arange(18)
"""In image widths, 90 to 10 degrees across: those that are tried."""
USUAL = 1.2  # image widths, and how firmly it is held while the views say little
HOLD = 2e-4
Box = tuple[float, float, float, float]
"""Left, top, right, bottom; pixels, as in `accept.bare_corners`."""


@dataclass(frozen=True, slots=True, eq=False)
class Stands:
    """`rotations` V 3 3: camera from target, as `solve_checks.tilt_spread` takes them; `distances` V: of the target's
    middle, in metres if the focal length is right and comparable with each other in any case."""

    rotations: Floats
    distances: Floats

    def leans(self) -> Floats:
        """V 2, degrees: by how much each target's left edge (of the image) is away, and its top edge."""
        normals = self.rotations[:, :, 2]
        return np.degrees(np.arctan2(normals[:, :2], normals[:, 2:]))


def stands(target: Target, sightings: Sequence[Sighting]) -> Stands:
    """Poses of one target in views of one camera (at least one, each with 4 points or more)."""
    flat = target.points_m[:, :2]
    centred = np.array([_centred(flat[seen.indices], seen) for seen in sightings])
    middle = np.append(flat.mean(axis=0), 1.0)
    matrices = _over(centred, _focal(centred, sightings[0].size[0]))
    matrices = matrices / np.sqrt(np.prod(np.linalg.norm(matrices[:, :, :2], axis=1), axis=1))[:, None, None]
    return Stands(np.array([_rotation(one) for one in matrices]), np.abs(matrices @ middle)[:, 2])


def shared(thermal: Sequence[Sighting], rgb: Sequence[Sighting]) -> tuple[Box, Box]:
    """The part of each camera's image that the other one sees too, by the affine map that fits all views at once."""
    pairs = [
        np.intersect1d(one.indices, two.indices, return_indices=True) for one, two in zip(thermal, rgb, strict=True)
    ]
    here = np.concatenate([one.pixels[at] for one, (_, at, _) in zip(thermal, pairs, strict=True)])
    there = np.concatenate([two.pixels[at] for two, (_, _, at) in zip(rgb, pairs, strict=True)])
    return _reached(there, here, rgb[0].size, thermal[0].size), _reached(here, there, thermal[0].size, rgb[0].size)


def common(first: Sighting, second: Sighting) -> tuple[Floats, Floats]:
    """Pixels (N 2 each) of the points that both show."""
    _, here, there = np.intersect1d(first.indices, second.indices, return_indices=True)
    return first.pixels[here], second.pixels[there]


def whole(size: Size) -> Box:
    return -0.5, -0.5, size[0] - 0.5, size[1] - 0.5


def _reached(source: Floats, goal: Floats, source_size: Size, goal_size: Size) -> Box:
    ones = np.ones((len(source), 1))
    affine, *_ = np.linalg.lstsq(np.hstack([source, ones]), goal, rcond=None)
    left, top, right, bottom = whole(source_size)
    corners = np.array([(x, y, 1.0) for x in (left, right) for y in (top, bottom)]) @ affine
    limits = whole(goal_size)
    low, high = np.maximum(corners.min(axis=0), limits[:2]), np.minimum(corners.max(axis=0), limits[2:])
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1])) if (high - low > 1).all() else limits


def _centred(flat: Floats, seen: Sighting) -> Floats:
    """3x3, pixels from the image's middle from metres; its sign puts the target before the camera."""
    matrix = fit_homography(flat, seen.pixels - (np.array(seen.size) - 1) / 2)
    return matrix if (matrix[2] @ np.append(flat.mean(axis=0), 1.0)) > 0 else -matrix


def _over(centred: Floats, focal: float) -> Floats:
    return centred / np.array([focal, focal, 1.0])[:, None]


def _focal(centred: Floats, width: int) -> float:
    """The focal length with which the targets' axes come out most nearly square and of one length."""
    tried = FOCAL_LENGTHS * width
    defects = [_defect(_over(centred, focal)) + HOLD * np.log(focal / width / USUAL) ** 2 for focal in tried]
    return float(tried[int(np.argmin(defects))])


def _defect(matrices: Floats) -> float:
    first, second = matrices[:, :, 0], matrices[:, :, 1]
    lengths = (first**2).sum(axis=1), (second**2).sum(axis=1)
    skew = (first * second).sum(axis=1)
    return float((((lengths[0] - lengths[1]) ** 2 + 4 * skew**2) / (lengths[0] + lengths[1]) ** 2).mean())


def _rotation(matrix: Floats) -> Floats:
    """The rotation nearest to a scaled matrix (first axis, second axis, shift)."""
    axes = np.column_stack([matrix[:, 0], matrix[:, 1], np.cross(matrix[:, 0], matrix[:, 1])])
    left, _, right = np.linalg.svd(axes)
    return left @ np.diag([1.0, 1.0, float(np.linalg.det(left @ right))]) @ right
