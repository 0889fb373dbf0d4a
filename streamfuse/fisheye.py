"""Lens distortion on rays: the equidistant (fisheye) model of OpenCV's fisheye module, both directions, and its end.

Pure functions with the contract of `distortion`; `k` holds the 4 coefficients k1 k2 k3 k4. A ray at the angle theta
off the axis is seen at the distance theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) from the centre
(J. Kannala, S. Brandt, "A generic camera model and calibration method for conventional, wide-angle, and fish-eye
lenses", PAMI 2006).

The model is trusted up to its fold, where moving outwards in the world stops moving outwards in the image; and, since
a ray is (X/Z, Y/Z), to less than 90 degrees off the axis.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf, pi, tan

import numpy as np
from numpy.polynomial import Polynomial

from streamfuse.distortion import Bools, Coefficients, Floats

SIDEWAYS = pi / 2
CURVE_POINTS = 512
NEWTON_STEPS = 12
TOLERANCE = 1e-12  # radians


def distort(k: Coefficients, rays: Floats) -> Floats:
    """Distorted rays; meaningful where `unfolded` says so."""
    length = np.hypot(rays[0], rays[1])
    seen = _seen(k, np.arctan(length))
    return rays * np.where(length > 0, seen / np.where(length > 0, length, 1.0), 1.0)


def undistort(k: Coefficients, seen: Floats) -> tuple[Floats, Bools]:
    """Rays whose distortion gives `seen`, and where there is one; elsewhere the ray is zero.

    Newton's method on the angle, from a start read off the curve and kept inside the fold.
    """
    distance: Floats = np.hypot(seen[0], seen[1])
    end = _fold_angle(k)
    angles = np.linspace(0, end, CURVE_POINTS)
    angle = np.interp(distance, _seen(k, angles), angles)
    for _ in range(NEWTON_STEPS):
        off = _seen(k, angle) - distance
        if np.abs(off).max(initial=0) < TOLERANCE:
            break
        angle = np.clip(angle - off / np.maximum(_slope(k, angle), 1e-12), 0, end)
    found = (np.abs(_seen(k, angle) - distance) < 1e3 * TOLERANCE) & (angle < end)
    length = np.tan(np.where(found, angle, 0.0))
    return seen * np.where(distance > 0, length / np.where(distance > 0, distance, 1.0), 1.0) * found, found


def unfolded(k: Coefficients, rays: Floats) -> Bools:
    """Where the model still maps one ray to one place."""
    return np.hypot(rays[0], rays[1]) < fold_radius(k)


def fold_radius(k: Coefficients) -> float:
    """Ray length at which the image turns back; infinite where it does not do so within 90 degrees."""
    angle = _fold_angle(k)
    return inf if angle == SIDEWAYS else tan(angle)


@lru_cache(maxsize=16)
def _fold_angle(k: Coefficients) -> float:
    k1, k2, k3, k4 = k
    slope = Polynomial([1, 3 * k1, 5 * k2, 7 * k3, 9 * k4])  # of theta squared
    roots = np.asarray(slope.trim(1e-12).roots(), dtype=np.complex128)
    turning = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return min(SIDEWAYS, float(np.sqrt(turning.min()))) if len(turning) else SIDEWAYS


def _seen(k: Coefficients, angle: Floats) -> Floats:
    k1, k2, k3, k4 = k
    s = angle * angle
    return angle * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4))))


def _slope(k: Coefficients, angle: Floats) -> Floats:
    k1, k2, k3, k4 = k
    s = angle * angle
    return 1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))
