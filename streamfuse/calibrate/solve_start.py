"""First guesses for solving: a focal length from flat views, a pose of the target for each view.

Knows nothing of lens distortion beyond what a guessed lens brings along; least squares does the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import cv2
import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State, errors_of, refine
from streamfuse.calibrate.solve_lens import COEFFICIENTS, as_lens, project
from streamfuse.calibrate.views import Floats
from streamfuse.frames import Size

FEWEST_POINTS = 6
FOCALS = np.geomspace(0.3, 12, 120)  # of the image's width: 118 to 5 degrees across
NO_POSE = (np.eye(3), np.array([0.0, 0.0, 1e3]))


def first_lens(model: str, seen: Seen, size: Size) -> Floats:
    """A lens vector without distortion: the centre in the image's middle, the focal length that flat views agree on.

    For every view the homography from target to image must be a rotation seen through the lens: its two columns at
    right angles and alike in length (Z. Zhang, "A flexible new technique for camera calibration", 2000). The median
    over views stands against views that are wrong.
    """
    centre = (np.array(size) - 1) / 2
    matrices = [_homography(seen.only(seen.view == view), centre) for view in np.unique(seen.view)]
    found = np.array([matrix for matrix in matrices if matrix is not None])
    focals = FOCALS * size[0]
    focal = float(focals[np.argmin(np.median(_misfit(found, focals), axis=0))]) if len(found) else float(size[0])
    return np.array([focal, focal, *centre, *np.zeros(len(COEFFICIENTS[model]))])


def first_poses(model: str, lens: Floats, seen: Seen, size: Size, views: int, rank: int = 0) -> tuple[Floats, Floats]:
    """Rotations (V 3 3) and shifts (V 3) that take the target into the camera; views not seen get any pose.

    `rank`: 0 takes the best pose of each view, 1 the second best where there is one.
    """
    rotations, shifts = np.tile(NO_POSE[0], (views, 1, 1)), np.tile(NO_POSE[1], (views, 1))
    for view in np.unique(seen.view):
        one = seen.only(seen.view == view)
        poses = flat_poses(model, lens, one, size)
        if poses:
            rotations[view], shifts[view] = poses[min(rank, len(poses) - 1)]
    return rotations, shifts


def flat_poses(model: str, lens: Floats, one: Seen, size: Size) -> list[tuple[Floats, Floats]]:
    """The poses that explain one view of a flat target, the best first: none, one, or the two of a small perspective.

    (T. Collins, A. Bartoli, "Infinitesimal Plane-based Pose Estimation", 2014, as OpenCV has it.)
    """
    rays, found = as_lens(model, lens, size).rays(one.pixels)
    if found.sum() < FEWEST_POINTS:
        return []
    flat, seen_rays = one.target[found], np.ascontiguousarray(rays[found])
    try:
        _, turns, shifts, _ = cast(Any, cv2.solvePnPGeneric)(
            np.ascontiguousarray(flat), seen_rays, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
        )
    except cv2.error:
        return []
    poses: list[tuple[Floats, Floats]] = [
        (cv2.Rodrigues(turn)[0], shift.reshape(3)) for turn, shift in zip(turns, shifts, strict=True)
    ]
    poses = [
        pose
        for pose in poses
        if np.isfinite(pose[0]).all() and (one.target @ np.transpose(pose[0]) + pose[1])[:, 2].min() > 0
    ]
    return sorted(poses, key=lambda pose: misses(model, lens, one, *pose))


def misses(model: str, lens: Floats, one: Seen, rotation: Floats, shift: Floats) -> float:
    """Median distance in pixels between what one view shows and what a pose predicts."""
    points: Floats = one.target @ np.transpose(rotation) + shift
    pixels, _, _ = project(model, lens, points)
    return float(np.median(np.linalg.norm(one.pixels - pixels, axis=1)))


def first_camera(model: str, seen: Seen, size: Size, views: int) -> State:
    """One camera's lens and poses, before least squares.

    What a fisheye shows is not flat to a homography: its focal length is the one that explains the views best.
    """
    lens = first_lens(model, seen, size)
    if model == "fisheye":
        tried = [lens, *(np.array([focal, focal, *lens[2:]]) for focal in FOCALS[::8] * size[0])]
        lens = min(tried, key=lambda one: _typical_miss(model, one, seen, size))
    rotations, shifts = first_poses(model, lens, seen, size, views)
    return State((model,), (lens,), rotations, shifts, np.eye(3), np.zeros(3))


def _typical_miss(model: str, lens: Floats, seen: Seen, size: Size) -> float:
    parts = [seen.only(seen.view == view) for view in np.unique(seen.view)]
    poses = [flat_poses(model, lens, one, size) for one in parts]
    return float(
        np.median(
            [misses(model, lens, one, *pose[0]) if pose else np.inf for one, pose in zip(parts, poses, strict=True)]
        )
    )


def posed(model: str, lens: Floats, seen: Seen, size: Size, views: int) -> State:
    """Every view's best pose for a lens that is known and stays as it is.

    A flat target under little perspective has two poses that explain it: both are refined before they are compared.
    """
    first, second = (
        refine(
            State((model,), (lens,), *first_poses(model, lens, seen, size, views, rank), np.eye(3), np.zeros(3)),
            (seen,),
            [np.ones(len(seen.view))],
            free=np.zeros(len(lens), np.bool_),
        )
        for rank in (0, 1)
    )
    costs = [
        np.bincount(seen.view, (errors_of(state, (seen,))[0] ** 2).sum(axis=1), minlength=views)
        for state in (first, second)
    ]
    other = costs[1] < costs[0]
    rotations = np.where(other[:, None, None], second.rotations, first.rotations)
    return replace(first, rotations=rotations, shifts=np.where(other[:, None], second.shifts, first.shifts))


def _homography(one: Seen, centre: Floats) -> Floats | None:
    if len(one.view) < FEWEST_POINTS:
        return None
    matrix, _ = cast(Any, cv2.findHomography)(one.target[:, :2], one.pixels - centre, cv2.LMEDS)
    return None if matrix is None else np.asarray(matrix, dtype=np.float64)


def _misfit(matrices: Floats, focals: Floats) -> Floats:
    """(V F) How far each view's homography is from a rotation, were the focal length one of `focals`."""
    seen = np.repeat(matrices[:, None, :, :2], len(focals), axis=1)
    seen[:, :, :2] /= focals[None, :, None, None]
    length = np.linalg.norm(seen, axis=2)
    angle = np.einsum("vfi,vfi->vf", seen[..., 0], seen[..., 1]) / (length[..., 0] * length[..., 1])
    return np.hypot(angle, np.log(length[..., 0] / length[..., 1]))
