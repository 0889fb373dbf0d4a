"""A flat target in an image: homography, and how far each point strays from a smooth surface.

A homography alone would blame the lens: up to third-order bending of the plane's image is taken out too.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from streamfuse.calibrate.target import Floats

FEWEST_FOR_BENDING = 20


def fit_homography(plane: Floats, pixels: Floats) -> Floats:
    """3x3, pixels from plane coordinates (both N 2), least squares; N >= 4."""
    matrix = cast("Floats | None", cv2.findHomography(plane, pixels, 0)[0])
    return np.full((3, 3), np.nan) if matrix is None else matrix


def mapped(homography: Floats, points: Floats) -> Floats:
    """Points (... 2) through a homography."""
    whole = np.einsum("...i,ji->...j", points, homography[:, :2]) + homography[:, 2]
    return np.asarray(whole[..., :2] / whole[..., 2:], np.float64)


def strays(plane: Floats, pixels: Floats) -> Floats:
    """N 2: pixels minus the smooth surface through all of them."""
    rest = pixels - mapped(fit_homography(plane, pixels), plane)
    if len(plane) < FEWEST_FOR_BENDING or not np.isfinite(rest).all():
        return rest
    x, y = ((plane - plane.mean(axis=0)) / max(float(np.ptp(plane)), 1e-12) * 2).T
    terms = [x**i * y**j for i in range(4) for j in range(4 - i)]
    basis = np.column_stack(terms)
    bend, *_ = np.linalg.lstsq(basis, rest, rcond=None)
    return rest - basis @ bend
