"""Rigs whose truth is known, and what their cameras see of a target, exactly projected and then disturbed.

The projection is `streamfuse.lens`, which solving does not use to predict pixels: the two check each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Sighting, View
from streamfuse.lens import Lens, Pose
from streamfuse.rig import Rig

CHECKERS = Target("checkerboard", 9, 6, 0.06)
STEEPEST = 0.9  # radians; no detector finds a target that is seen more from its edge
THERMAL_SIZE, RGB_SIZE = (640, 512), (1280, 960)
COEFFICIENTS = {
    "pinhole": (5, (0.15, 0.05, 1e-3, 1e-3, 0.01)),
    "rational": (8, (0.15, 0.05, 1e-3, 1e-3, 0.01, 0.05, 0.02, 0.005)),
    "fisheye": (4, (0.02, 0.01, 0.003, 0.001)),
    "radtan": (4, (0.15, 0.05, 1e-3, 1e-3)),
}


@dataclass(frozen=True)
class Scene:
    """A rig, the views taken with it, and where the target stood (thermal from target) in each."""

    rig: Rig
    views: list[View]
    poses: list[tuple[np.ndarray, np.ndarray]]


def rotation(*vector: float) -> np.ndarray:
    return cv2.Rodrigues(np.array(vector, np.float64))[0]


def as_pose(turn: np.ndarray, shift: np.ndarray) -> Pose:
    return Pose(rotation=tuple(map(tuple, turn.tolist())), translation=tuple(np.asarray(shift).tolist()))


def random_lens(rng: np.random.Generator, model: str, size: tuple[int, int], degrees: float) -> Lens:
    """A lens about `degrees` across, that does not fold on its own image."""
    count, spread = COEFFICIENTS[model]
    half = np.radians(degrees) / 2
    focal = size[0] / 2 / (half if model == "fisheye" else np.tan(half))
    for _ in range(1000):
        coefficients = tuple(float(one) for one in rng.normal(0, spread)) if count else ()
        centre = (np.array(size) - 1) / 2 + rng.normal(0, 0.01, 2) * size
        lens = Lens(
            size=size,
            model="fisheye" if model == "fisheye" else "opencv",
            fx=focal * rng.uniform(0.95, 1.05),
            fy=focal * rng.uniform(0.95, 1.05),
            cx=centre[0],
            cy=centre[1],
            distortion=coefficients,
        )
        edge = np.array([[x, y] for x in np.linspace(-20, size[0] + 19, 9) for y in np.linspace(-20, size[1] + 19, 9)])
        if lens.rays(edge)[1].all():
            return lens
    raise AssertionError("no lens found that does not fold")


def random_rig(
    seed: int, models: tuple[str, str] = ("pinhole", "pinhole"), degrees: tuple[float, float] = (45, 60)
) -> Rig:
    rng = np.random.default_rng(seed)
    return Rig(
        name="truth",
        thermal=random_lens(rng, models[0], THERMAL_SIZE, degrees[0]),
        rgb=random_lens(rng, models[1], RGB_SIZE, degrees[1]),
        rgb_from_thermal=as_pose(rotation(*rng.normal(0, 0.03, 3)), rng.normal(0, (0.06, 0.02, 0.02))),
        working_depth_m=2.0,
    )


def carried(rig: Rig, pixels: np.ndarray, depth_m: float) -> np.ndarray:
    """Thermal pixels (N 2) to RGB pixels (N 2), of points `depth_m` before the thermal camera."""
    rays, _ = rig.thermal.rays(pixels)
    points = np.column_stack([rays, np.ones(len(rays))]) * depth_m
    pose = rig.rgb_from_thermal
    return rig.rgb.project(points @ pose.rotation_matrix.T + pose.translation_vector)[0]


def random_scene(
    seed: int,
    views: int = 20,
    noise: tuple[float, float] = (0.25, 0.15),
    models: tuple[str, str] = ("pinhole", "pinhole"),
    degrees: tuple[float, float] = (45, 60),
    tilt: float = 0.45,
    target: Target = CHECKERS,
    partial: bool = False,
) -> Scene:
    """`views` poses with the target spread over the image; points outside an image are not seen by that camera.

    `noise`: standard deviation in pixels of each coordinate, thermal and RGB. `partial`: half the views are let run
    over the image's edge; otherwise every target is seen whole by both cameras.
    """
    rig, rng = random_rig(seed, models, degrees), np.random.default_rng(seed + 10_000)
    taken, poses = [], []
    while len(taken) < views:
        pose = _random_pose(rig, rng, target, tilt)
        seen = [_see(rig, camera, pose, target) for camera in ("thermal", "rgb")]
        whole = all(inside.all() for _, inside in seen)
        enough = all(inside.sum() >= 12 for _, inside in seen)
        if not (whole or (partial and enough and len(taken) % 2)):
            continue
        sightings = [_sight(rng, *one, size, sigma) for one, size, sigma in zip(seen, _sizes(rig), noise, strict=True)]
        taken.append(View(f"view{len(taken):02d}", *sightings))
        poses.append(pose)
    return Scene(rig, taken, poses)


def _sizes(rig):
    return rig.thermal_size, rig.rgb_size


def _random_pose(rig, rng, target, tilt):
    points = target.points_m
    middle = points.mean(axis=0)
    span = float(np.ptp(points[:, 0]))
    distance = span * rig.thermal.fx / rig.thermal_size[0] / rng.uniform(0.3, 0.65)
    ray, _ = rig.thermal.rays(rng.uniform(0.12, 0.88, 2) * rig.thermal_size)
    tilts = rng.normal(0, tilt, 2)
    tilts *= min(1.0, STEEPEST / np.linalg.norm(tilts))
    turn = rotation(0, 0, rng.normal(0, 0.25)) @ rotation(*tilts, 0)
    direction = np.array([*ray, 1.0])
    shift = distance * direction / np.linalg.norm(direction) - turn @ middle
    return turn, shift


def _see(rig, camera, pose, target):
    points = target.points_m @ pose[0].T + pose[1]
    if camera == "rgb":
        points = points @ rig.rgb_from_thermal.rotation_matrix.T + rig.rgb_from_thermal.translation_vector
    lens = getattr(rig, camera)
    pixels, valid = lens.project(points)
    inside = valid & (pixels > 2).all(axis=1) & (pixels < np.array(lens.size) - 3).all(axis=1)
    return pixels, inside


def _sight(rng, pixels, inside, size, sigma):
    at = np.flatnonzero(inside)
    found = pixels[at] + rng.normal(0, sigma, (len(at), 2))
    return Sighting(at, found, np.ones(len(at)), size, "synthetic")
