"""Least squares over everything at once: lenses, one pose of the target a view, and the rig between two cameras.

Levenberg and Marquardt's method on the normal equations, of which the poses are eliminated first (Schur complement; B.
Triggs et al., "Bundle Adjustment - A Modern Synthesis", 2000): a view's pose meets the other unknowns only through
its own points. Rotations move by small turns on the left, so no rotation is near a singular one. Knows nothing of
outliers: whoever calls gives a weight to every point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.solve_lens import parameter_names, project
from streamfuse.calibrate.views import Floats, Indices

Bools = NDArray[np.bool_]

RIG_NAMES = ("rx", "ry", "rz", "tx", "ty", "tz")
MOST_DAMPING = 1e10
SETTLED = 1e-9  # relative fall of the cost


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """All that one camera saw (N rows): which view and target point, the point's place on the target, the pixel."""

    view: Indices
    point: Indices
    target: Floats
    pixels: Floats

    def only(self, rows: Indices | Bools) -> Seen:
        return Seen(self.view[rows], self.point[rows], self.target[rows], self.pixels[rows])


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One camera, or two: their models and lens vectors, `poses` that take the target of each view into the first
    camera (rotations V 3 3, shifts V 3), and what takes the first camera's points into the second's."""

    models: tuple[str, ...]
    lenses: tuple[Floats, ...]
    rotations: Floats
    shifts: Floats
    rig_rotation: Floats
    rig_shift: Floats

    @property
    def shared(self) -> int:
        """How many unknowns there are besides the poses."""
        return sum(len(lens) for lens in self.lenses) + 6 * (len(self.lenses) - 1)

    def lens_columns(self, camera: int) -> slice:
        start = sum(len(lens) for lens in self.lenses[:camera])
        return slice(start, start + len(self.lenses[camera]))

    def names(self, cameras: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the shared unknowns."""
        lenses = [
            f"{camera}.{name}"
            for camera, model in zip(cameras, self.models, strict=True)
            for name in parameter_names(model)
        ]
        return (*lenses, *(f"rgb_from_thermal.{name}" for name in RIG_NAMES if len(cameras) == 2))


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """One camera's errors (N 2; found minus predicted) and slopes of the prediction: shared (N 2 S), pose (N 2 6)."""

    errors: Floats
    shared: Floats
    pose: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """Normal equations: shared (S S), mixed (V S 6), poses (V 6 6) and their right sides (S), (V 6)."""

    shared: Floats
    mixed: Floats
    poses: Floats
    shared_side: Floats
    pose_side: Floats

    def reduced(self, damping: float = 0.0) -> tuple[Floats, Floats, Floats]:
        """The shared part without the poses (S S), its right side (S), and mixed @ inverse poses (V S 6)."""
        poses = self.poses + damping * _diagonals(self.poses)
        gain = np.swapaxes(np.linalg.solve(poses, np.swapaxes(self.mixed, 1, 2)), 1, 2).astype(np.float64)
        left: Floats = (
            self.shared + damping * np.diag(np.diag(self.shared)) - np.einsum("vsi,vti->st", gain, self.mixed)
        )
        side: Floats = self.shared_side - np.einsum("vsi,vi->s", gain, self.pose_side)
        return left, side, gain


def linearise(state: State, seen: tuple[Seen, ...]) -> list[Linear]:
    """Errors and slopes of every camera."""
    return [_linearise(state, camera, one) for camera, one in enumerate(seen)]


def errors_of(state: State, seen: tuple[Seen, ...]) -> list[Floats]:
    """Found minus predicted pixels (N 2) of every camera."""
    return [one.errors for one in linearise(state, seen)]


def normal_equations(linear: list[Linear], seen: tuple[Seen, ...], weights: list[Floats], views: int) -> Normal:
    """Sums over all cameras; `weights` (N) count squared errors."""
    width = linear[0].shared.shape[2]
    left, mixed, poses = np.zeros((width, width)), np.zeros((views, width, 6)), np.zeros((views, 6, 6))
    side, pose_side = np.zeros(width), np.zeros((views, 6))
    for one, rows, weight in zip(linear, seen, weights, strict=True):
        for view in np.unique(rows.view[weight > 0]):
            of_view = rows.view == view
            root = np.repeat(np.sqrt(weight[of_view]), 2)
            shared = one.shared[of_view].reshape(-1, width) * root[:, None]
            pose = one.pose[of_view].reshape(-1, 6) * root[:, None]
            error = one.errors[of_view].reshape(-1) * root
            np.add(left, np.transpose(shared) @ shared, out=left)
            mixed[view] += np.transpose(shared) @ pose
            poses[view] += np.transpose(pose) @ pose
            np.add(side, np.transpose(shared) @ error, out=side)
            pose_side[view] += np.transpose(pose) @ error
    empty = np.einsum("vii->v", poses) == 0
    poses[empty] = np.eye(6)  # nobody saw this view: it stays where it is
    return Normal(left, mixed, poses, side, pose_side)


def refine(
    state: State, seen: tuple[Seen, ...], weights: list[Floats], free: Bools | None = None, steps: int = 60
) -> State:
    """The state with the least weighted sum of squared errors near the one given; `free` (S): what may change."""
    damping, views = 1e-3, len(state.shifts)
    linear = linearise(state, seen)
    cost = _cost(linear, weights)
    for _ in range(steps):
        normal = normal_equations(linear, seen, weights, views)
        before = cost
        while damping < MOST_DAMPING:
            trial = moved(state, *_solve(normal, damping, free))
            tried = linearise(trial, seen)
            reached = _cost(tried, weights)
            if reached <= cost:
                state, linear, cost, damping = trial, tried, reached, max(damping / 5, 1e-12)
                break
            damping *= 4
        if damping >= MOST_DAMPING or before - cost <= SETTLED * before:
            break
    return state


def moved(state: State, step: Floats, pose_steps: Floats) -> State:
    """The state after a step of the shared unknowns (S) and the poses (V 6)."""
    lenses = tuple(lens + step[state.lens_columns(camera)] for camera, lens in enumerate(state.lenses))
    rotations, shifts = turns(pose_steps[:, :3]) @ state.rotations, state.shifts + pose_steps[:, 3:]
    state = replace(state, lenses=lenses, rotations=rotations, shifts=shifts)
    if len(lenses) == 1:
        return state
    turn, shift = step[-6:-3], step[-3:]
    return replace(state, rig_rotation=turns(turn[None])[0] @ state.rig_rotation, rig_shift=state.rig_shift + shift)


def turns(vectors: Floats) -> Floats:
    """Rotation vectors (V 3) as matrices (V 3 3), by Rodrigues' formula."""
    cross = cross_matrices(vectors)
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    safe = np.where(angle < 1e-8, 1.0, angle)
    first = np.where(angle < 1e-8, 1.0, np.sin(safe) / safe)
    second = np.where(angle < 1e-8, 0.5, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * cross @ cross


def cross_matrices(vectors: Floats) -> Floats:
    """(N 3 3): cross_matrices(a) @ b is a x b."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape[:-1], 3, 3)


def _linearise(state: State, camera: int, seen: Seen) -> Linear:
    turned: Floats = np.einsum("nij,nj->ni", state.rotations[seen.view], seen.target)
    points: Floats = turned + state.shifts[seen.view]
    by_pose = np.concatenate([-cross_matrices(turned), np.broadcast_to(np.eye(3), (len(turned), 3, 3))], axis=2)
    rig = None
    if camera == 1:
        carried: Floats = points @ np.transpose(state.rig_rotation)
        rig = np.concatenate([-cross_matrices(carried), np.broadcast_to(np.eye(3), (len(turned), 3, 3))], axis=2)
        points = carried + state.rig_shift
        by_pose = state.rig_rotation @ by_pose
    pixels, by_point, by_lens = project(state.models[camera], state.lenses[camera], points)
    shared = np.zeros((len(points), 2, state.shared))
    shared[:, :, state.lens_columns(camera)] = by_lens
    if rig is not None:
        shared[:, :, -6:] = by_point @ rig
    return Linear(seen.pixels - pixels, shared, by_point @ by_pose)


def _cost(linear: list[Linear], weights: list[Floats]) -> float:
    cost = sum(float((weight * (one.errors**2).sum(axis=1)).sum()) for one, weight in zip(linear, weights, strict=True))
    return cost if np.isfinite(cost) else float("inf")


def _solve(normal: Normal, damping: float, free: Bools | None) -> tuple[Floats, Floats]:
    left, side, gain = normal.reduced(damping)
    step, at = np.zeros_like(side), np.flatnonzero(np.ones(len(side), np.bool_) if free is None else free)
    scale = 1 / np.sqrt(np.maximum(np.diag(left)[at], 1e-30))  # pixels, radians and metres: make them alike
    try:
        step[at] = scale * np.linalg.solve(left[np.ix_(at, at)] * np.outer(scale, scale), side[at] * scale)
    except np.linalg.LinAlgError:
        return np.zeros_like(side), np.zeros_like(normal.pose_side)
    poses = normal.poses + damping * _diagonals(normal.poses)
    rest = np.linalg.solve(poses, normal.pose_side[:, :, None])[:, :, 0]
    return step, rest - np.einsum("vsi,s->vi", gain, step)


def _diagonals(matrices: Floats) -> Floats:
    return np.einsum("vii->vi", matrices)[:, :, None] * np.eye(matrices.shape[1])
