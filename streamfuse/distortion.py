"""Lens distortion on rays: OpenCV's radial (rational) plus tangential model, both directions, and where it ends.

Pure functions; knows nothing of pixels. A ray is (X/Z, Y/Z), given as an array 2 x ...; `k` holds the 8 coefficients
k1 k2 p1 p2 k3 k4 k5 k6. The formulas are those documented for OpenCV's calib3d module (after Brown, 1971).

The model is trusted up to its fold only: the place where moving outwards in the world stops moving outwards in the
image. Beyond it a polynomial fitted to the image's middle lays a mirrored copy of the scene over the first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Coefficients = tuple[float, ...]

NEGLIGIBLE = 1e-12  # a coefficient that moves no ray a pinhole lens can see
GRAZING = 100.0  # a ray 89.4 degrees off the axis
CURVE_POINTS = 512
NEWTON_STEPS = 12
TOLERANCE = 1e-9  # in rays: a millionth of a pixel for any lens in use


def distort(k: Coefficients, rays: Floats) -> Floats:
    """Distorted rays; meaningful where `unfolded` says so."""
    _, _, p1, p2, *_ = k
    x, y = rays
    squared = x * x + y * y
    radial, twice_xy = _radial(k, squared), 2 * x * y
    x_seen = x * radial + p1 * twice_xy + p2 * (squared + 2 * x * x)
    y_seen = y * radial + p1 * (squared + 2 * y * y) + p2 * twice_xy
    return np.stack([x_seen, y_seen])


def undistort(k: Coefficients, seen: Floats) -> tuple[Floats, Bools]:
    """Rays whose distortion gives `seen`, and where there is one; elsewhere the ray is zero.

    Newton's method from a start read off the radial curve. The usual fixed-point iteration stops short of, or runs away
    from, the answer of a strong barrel distortion; Newton from `seen` itself may be thrown across the fold.
    """
    rays = _first_guess(k, seen)
    for _ in range(NEWTON_STEPS):
        off = distort(k, rays) - seen
        if np.abs(off).max(initial=0) < TOLERANCE:
            break
        rays = rays - _solve(k, rays, off)
    found = (np.abs(distort(k, rays) - seen).max(axis=0) < TOLERANCE) & unfolded(k, rays)
    return np.where(found, rays, 0.0), found


def unfolded(k: Coefficients, rays: Floats) -> Bools:
    """Where the model still maps one ray to one place: nearer than the radial fold, and turning no image inside out."""
    along_x, across, along_y = _jacobian(k, rays)
    return (_squared(rays) < fold_radius(k) ** 2) & (along_x * along_y > across * across)


@lru_cache(maxsize=16)
def fold_radius(k: Coefficients) -> float:
    """Ray length at which the radial part turns back or has a pole; infinite where it never does."""
    k1, k2, _, _, k3, k4, k5, k6 = k
    top, bottom, s = Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6]), Polynomial([0, 1])
    slope_top, slope_bottom = cast(Any, top.deriv()), cast(Any, bottom.deriv())
    slope = cast(Any, (top + 2 * s * slope_top) * bottom - 2 * s * top * slope_bottom)
    roots = np.concatenate([_roots(slope), _roots(bottom)])
    turning = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(np.sqrt(turning.min())) if len(turning) else float("inf")


def _roots(polynomial: Any) -> NDArray[np.complex128]:
    return np.asarray(polynomial.trim(NEGLIGIBLE).roots(), dtype=np.complex128)


def _radial(k: Coefficients, s: Floats) -> Floats:
    k1, k2, _, _, k3, k4, k5, k6 = k
    top = 1 + s * (k1 + s * (k2 + s * k3))
    return top / (1 + s * (k4 + s * (k5 + s * k6))) if k4 or k5 or k6 else top


def _radial_slope(k: Coefficients, s: Floats) -> Floats:
    """Derivative of the radial factor by s."""
    k1, k2, _, _, k3, k4, k5, k6 = k
    slope = k1 + s * (2 * k2 + s * 3 * k3)
    if not (k4 or k5 or k6):
        return slope
    bottom = 1 + s * (k4 + s * (k5 + s * k6))
    return (slope - _radial(k, s) * (k4 + s * (2 * k5 + s * 3 * k6))) / bottom


def _jacobian(k: Coefficients, rays: Floats) -> tuple[Floats, Floats, Floats]:
    """The symmetric derivative of `distort`: d x_seen/dx, d x_seen/dy = d y_seen/dx, d y_seen/dy."""
    _, _, p1, p2, *_ = k
    x, y = rays
    squared = _squared(rays)
    radial, twice_slope = _radial(k, squared), 2 * _radial_slope(k, squared)
    along_x = radial + twice_slope * x * x + 2 * p1 * y + 6 * p2 * x
    along_y = radial + twice_slope * y * y + 6 * p1 * y + 2 * p2 * x
    return along_x, twice_slope * x * y + 2 * (p1 * x + p2 * y), along_y


def _solve(k: Coefficients, rays: Floats, off: Floats) -> Floats:
    """The Newton step: inverse Jacobian x off."""
    along_x, across, along_y = _jacobian(k, rays)
    determinant = along_x * along_y - across * across
    determinant = np.where(np.abs(determinant) > 1e-12, determinant, 1e-12)
    return np.stack([along_y * off[0] - across * off[1], along_x * off[1] - across * off[0]]) / determinant


def _first_guess(k: Coefficients, seen: Floats) -> Floats:
    """The answer without tangential distortion, to a few thousandths; what lies beyond the fold is put onto it."""
    seen_radius = np.sqrt(_squared(seen))
    radii = np.linspace(0, _reach(k, float(seen_radius.max(initial=0))), CURVE_POINTS)
    radius = np.interp(seen_radius, radii * _radial(k, radii * radii), radii)
    return seen * (radius / np.maximum(seen_radius, 1e-12))


def _reach(k: Coefficients, seen_radius: float) -> float:
    """A ray length whose image is at least `seen_radius` away; the fold, or a grazing ray, where there is none."""
    limit = min(fold_radius(k) * (1 - 1e-9), GRAZING)
    reach = min(1.0, limit)
    while reach < limit and reach * _radial(k, np.array(reach * reach)) < seen_radius:
        reach = min(2 * reach, limit)
    return reach


def _squared(rays: Floats) -> Floats:
    return rays[0] * rays[0] + rays[1] * rays[1]
