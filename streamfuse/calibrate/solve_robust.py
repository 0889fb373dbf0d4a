"""Least squares that wrong corners and wrong views cannot bend: which rows count, how large the noise is.

First Huber's weights (P. Huber, "Robust estimation of a location parameter", 1964), then rows and whole views beyond
`OUTLIER` standard deviations are left out and the rest is fitted plainly, each camera weighted by its own noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.solve_bundle import Seen, State, errors_of, refine
from streamfuse.calibrate.views import Floats

Bools = NDArray[np.bool_]
HUBER = 1.5  # standard deviations
OUTLIER = 4.5  # standard deviations of one coordinate: of 25 000 sound points, one is lost
BLURRED = 3.0  # a view with this many times the noise of its fellows is left out whole
SOUND_SHARE = 0.6  # of a view's points; with fewer the view is left out whole
NOISE_FLOOR_PX = 0.005  # exact synthetic points must not divide by zero
MEDIAN_OF_LENGTH = 1.17741  # of a two-dimensional Gaussian error of standard deviation 1


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What least squares found. Per camera: `errors` (N 2), `used` (N), `sigma`: noise of one coordinate in pixels."""

    state: State
    errors: tuple[Floats, ...]
    used: tuple[Bools, ...]
    sigma: tuple[float, ...]

    @property
    def weights(self) -> list[Floats]:
        """(N) for every camera: 1 / variance, 0 where a row does not count."""
        return [used / sigma**2 for used, sigma in zip(self.used, self.sigma, strict=True)]

    def views_used(self, seen: tuple[Seen, ...], camera: int) -> list[int]:
        """Views of which at least one row counts."""
        return [int(view) for view in np.unique(seen[camera].view[self.used[camera]])]


def fit(state: State, seen: tuple[Seen, ...], free: Bools | None = None, rounds: int = 4) -> Fit:
    """The robust fit that starts at `state`; `free` (S): which shared unknowns may change."""
    for _ in range(rounds):
        errors = errors_of(state, seen)
        state = refine(state, seen, [_huber(one) for one in errors], free, steps=15)
    errors = errors_of(state, seen)
    sigma = tuple(_robust_sigma(one) for one in errors)
    used = tuple(_sound(one, rows, noise) for one, rows, noise in zip(errors, seen, sigma, strict=True))
    fitted = Fit(state, tuple(errors), used, sigma)
    for _ in range(3):
        fitted = _again(fitted, seen, free)
    return fitted


def _again(fitted: Fit, seen: tuple[Seen, ...], free: Bools | None) -> Fit:
    state = refine(fitted.state, seen, fitted.weights, free)
    errors = tuple(errors_of(state, seen))
    sigma = tuple(_sigma(fitted, errors, seen, camera, free) for camera in range(len(seen)))
    used = tuple(_sound(one, rows, noise) for one, rows, noise in zip(errors, seen, sigma, strict=True))
    return replace(fitted, state=state, errors=errors, sigma=sigma, used=used)


def _huber(errors: Floats) -> Floats:
    length, sigma = np.linalg.norm(errors, axis=1), _robust_sigma(errors)
    return np.minimum(1.0, HUBER * sigma / np.maximum(length, 1e-12)) / sigma**2


def _robust_sigma(errors: Floats) -> float:
    return max(float(np.median(np.linalg.norm(errors, axis=1))) / MEDIAN_OF_LENGTH, NOISE_FLOOR_PX)


def _sigma(fitted: Fit, errors: tuple[Floats, ...], seen: tuple[Seen, ...], camera: int, free: Bools | None) -> float:
    """Noise of one coordinate, from the rows that count; each unknown takes away one of their freedoms."""
    counted = 2 * sum(int(used.sum()) for used in fitted.used)
    views = {int(view) for rows, used in zip(seen, fitted.used, strict=True) for view in np.unique(rows.view[used])}
    unknowns = 6 * len(views) + (fitted.state.shared if free is None else int(free.sum()))
    kept = errors[camera][fitted.used[camera]]
    freedoms = max(2 * len(kept) * (1 - unknowns / counted), 1.0) if counted else 1.0
    return max(float(np.sqrt((kept**2).sum() / freedoms)), NOISE_FLOOR_PX)


def _sound(errors: Floats, rows: Seen, sigma: float) -> Bools:
    """Which rows count: no outliers, and no rows of views that are bad as a whole."""
    length = np.linalg.norm(errors, axis=1)
    used = length < OUTLIER * sigma
    views = np.unique(rows.view)
    typical = [float(np.median(length[rows.view == view])) for view in views]
    middle = max(float(np.median(typical)), NOISE_FLOOR_PX)
    for view, own in zip(views, typical, strict=True):
        of_view = rows.view == view
        if own > BLURRED * middle or used[of_view].mean() < SOUND_SHARE:
            used[of_view] = False
    return used
