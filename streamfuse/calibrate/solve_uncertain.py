"""How well the shared unknowns are known: their covariance, widened where a view's errors hang together.

Independent errors of the estimated size give the inverse of the normal equations. A target that is not quite flat or
a blurred view errs in all its points at once; then each view's pull on the solution is larger than independent errors
explain. The mean squared pull over the views, against its expectation, is the factor (as in cluster-robust
covariances: K.-Y. Liang, S. Zeger, 1986; one factor for each block, for there are more unknowns than views).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State, linearise, normal_equations, turns
from streamfuse.calibrate.solve_robust import Fit
from streamfuse.calibrate.solve_solution import Estimate
from streamfuse.calibrate.views import Floats

CAMERAS = ("thermal", "rgb")
SURE = 2.0  # standard deviations of the factor under independent errors: less is chance


def estimate(fitted: Fit, seen: tuple[Seen, ...], cameras: tuple[str, ...] = CAMERAS) -> Estimate:
    """Values and covariance of the lenses and the rig; its rotation as a rotation vector."""
    state = fitted.state
    covariance, pulls, informations = _views_apart(fitted, seen)
    widened = {name: _factor(covariance, pulls, informations, columns) for name, columns in _blocks(state, cameras)}
    for name, columns in _blocks(state, cameras):
        covariance[columns] *= np.sqrt(widened[name])
        covariance[:, columns] *= np.sqrt(widened[name])
    names = state.names(cameras)
    if len(cameras) == 1:
        return Estimate(names, state.lenses[0], covariance, widened)
    values, slopes = rig_vector(state.rig_rotation)
    covariance[-6:-3] = slopes @ covariance[-6:-3]
    covariance[:, -6:-3] = covariance[:, -6:-3] @ np.transpose(slopes)
    return Estimate(names, np.concatenate([*state.lenses, values, state.rig_shift]), covariance, widened)


def _views_apart(fitted: Fit, seen: tuple[Seen, ...]) -> tuple[Floats, Floats, Floats]:
    """Covariance under independent errors (S S); each view's pull (V S) and information (V S S), its pose left out."""
    views, weights = len(fitted.state.shifts), fitted.weights
    linear = linearise(fitted.state, seen)
    whole = normal_equations(linear, seen, weights, views)
    left, side, gain = whole.reduced()
    pulls: list[Floats] = []
    informations: list[Floats] = []
    for view in sorted({view for camera in range(len(seen)) for view in fitted.views_used(seen, camera)}):
        only = [weight * (rows.view == view) for weight, rows in zip(weights, seen, strict=True)]
        alone = normal_equations(linear, seen, only, views)
        pulls.append(alone.shared_side - gain[view] @ alone.pose_side[view])
        informations.append(alone.shared - gain[view] @ np.transpose(alone.mixed[view]))
    unfinished = side / len(pulls)
    return _inverse(left), np.array(pulls) - unfinished, np.array(informations)


def rig_vector(rotation: Floats) -> tuple[Floats, Floats]:
    """Rotation vector (3) of a matrix, and its derivative (3 3) by a small turn on the left."""
    vector = rotation_vector(rotation)
    small = 1e-6
    ahead, behind = (
        np.array([rotation_vector(turn @ rotation) for turn in turns(step * np.eye(3))]) for step in (small, -small)
    )
    slopes: Floats = np.transpose((ahead - behind) / (2 * small))
    return vector, slopes


def rotation_vector(rotation: Floats) -> Floats:
    """Axis times angle in radians; the inverse of `turns`."""
    return np.asarray(cv2.Rodrigues(rotation)[0], dtype=np.float64).reshape(3)


def _blocks(state: State, cameras: tuple[str, ...]) -> Iterator[tuple[str, slice]]:
    for camera, name in enumerate(cameras):
        yield name, state.lens_columns(camera)
    if len(cameras) == 2:
        yield "rgb_from_thermal", slice(state.shared - 6, state.shared)


def _factor(covariance: Floats, pulls: Floats, informations: Floats, columns: slice) -> float:
    """Mean squared pull of the views on one block, over what independent errors would give; at least 1.

    A view's residuals are smaller than its errors because it took part in the fit; the expectation allows for that.
    """
    own = _inverse(covariance[columns, columns])
    reach = covariance[columns]  # a pull moves the block by reach @ pull
    moves: Floats = pulls @ np.transpose(reach)
    found = float(np.einsum("vi,ij,vj->", moves, own, moves))
    shares: Floats = own @ reach @ informations @ np.transpose(reach)
    leverage: Floats = informations @ covariance
    lost: Floats = own @ reach @ leverage @ informations @ np.transpose(reach)
    expected = float(np.trace(shares, axis1=1, axis2=2).sum() - np.trace(lost, axis1=1, axis2=2).sum())
    spread = np.sqrt(2 * float(np.einsum("vij,vji->", shares, shares))) / max(expected, 1e-9)
    ratio = found / max(expected, 1e-9)
    return ratio if ratio > 1 + SURE * spread else 1.0


def _inverse(matrix: Floats) -> Floats:
    """Inverse of a positive matrix whose rows are in unlike units."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    try:
        return np.linalg.inv(matrix * np.outer(scale, scale)) * np.outer(scale, scale)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.inf)
