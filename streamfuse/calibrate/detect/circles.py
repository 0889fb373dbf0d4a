"""Finds an asymmetric circle grid in a prepared image; centres are measured in the recorded one.

A centre is the centroid of a disc in the plane of the target, not in the image: a tilted circle's image is an ellipse
whose middle is not the image of the circle's middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np

from streamfuse.calibrate.detect.found import Found, sampled
from streamfuse.calibrate.detect.order import upright
from streamfuse.calibrate.detect.plane import fit_homography, mapped, strays
from streamfuse.calibrate.detect.preparations import Bytes, Prepared
from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import Floats, Target

STRAY = 0.06
"""RMS distance from a smooth surface, in spacings, above which a grid is not one."""
ROUND = 0.6
"""Median share of brightness explained by distance from the centre, below which there are no circles."""
RADIUS = 0.66
"""Radius of the examined disc in spacings; the nearest neighbour's centre is at 1.41."""
MOST_BLOBS = 600
"""Above it is noise, in which OpenCV's search for a grid takes seconds."""
CELLS = 17
RINGS = 6


def find(prepared: Prepared, values: Scalars, target: Target) -> Found | None:
    for centres in _searches(prepared.image, (target.columns, target.rows)):
        found = _judged(values, prepared.recorded(centres), target)
        if found is not None:
            return found
    return None


def _searches(image: Bytes, shape: tuple[int, int]) -> Iterator[Floats]:
    """Centres (N 2) of dark circles, then of bright ones."""
    detector = cv2.SimpleBlobDetector.create(_blobs(min(image.shape)))
    flags = cv2.CALIB_CB_ASYMMETRIC_GRID | cv2.CALIB_CB_CLUSTERING
    for polarity in (image, np.subtract(255, image, dtype=np.uint8)):
        if not shape[0] * shape[1] <= len(detector.detect(polarity)) <= MOST_BLOBS:
            continue
        found, centres = cv2.findCirclesGrid(polarity, shape, flags=flags, blobDetector=detector)
        if found:
            yield cast(Floats, centres).reshape(-1, 2).astype(np.float64)


def _blobs(shorter: int) -> cv2.SimpleBlobDetector.Params:
    """Dark, fairly round and convex; tilted circles are flat ellipses and faint ones show at few thresholds."""
    asked = cv2.SimpleBlobDetector.Params()
    asked.minThreshold, asked.maxThreshold, asked.thresholdStep = 20, 240, 10
    asked.minArea, asked.maxArea = 9, (shorter / 6) ** 2
    asked.minDistBetweenBlobs = 3
    asked.minCircularity, asked.filterByCircularity = 0.5, True
    asked.minInertiaRatio, asked.minConvexity = 0.15, 0.8
    return asked


def _judged(values: Scalars, centres: Floats, target: Target) -> Found | None:
    plane = target.points_m[:, :2] / target.spacing_m
    centres = _numbered(plane, centres)
    for _ in range(2):
        centres, *_ = _measured(values, plane, centres, plane)
    centres, quality, contrast = _measured(values, plane, centres, plane)
    spacing = _spacing_px(plane, centres)
    away = np.linalg.norm(strays(plane, centres), axis=1)
    if not np.sqrt((away**2).mean()) < STRAY * spacing or np.median(quality) < ROUND:
        return None
    further = _goes_on(values, plane, centres, float(np.median(contrast)), target)
    if any(further):
        return Found.without_points(other_size=(target.columns + further[0], target.rows + further[1]))
    quality = quality * np.exp(-((away / (STRAY * spacing)) ** 2))
    return Found(indices=upright(centres, target), pixels=centres, quality=quality)


def _numbered(plane: Floats, centres: Floats) -> Floats:
    """OpenCV may count from either end: the order that lies on a plane without a mirror is the right one."""

    def error(order: Floats) -> float:
        homography = fit_homography(plane, order)
        mirrored = np.linalg.det(homography[:2, :2]) < 0
        rest = np.linalg.norm(mapped(homography, plane) - order, axis=1).mean()
        return float("inf") if mirrored or not np.isfinite(rest) else float(rest)

    return min((centres, centres[::-1]), key=error)


def _spacing_px(plane: Floats, centres: Floats) -> float:
    homography = fit_homography(plane, centres)
    steps = mapped(homography, plane + np.array([1.0, 0])) - mapped(homography, plane)
    return float(np.median(np.linalg.norm(steps, axis=1)))


def _measured(values: Scalars, plane: Floats, centres: Floats, wanted: Floats) -> tuple[Floats, Floats, Floats]:
    """Centres, quality and contrast of discs near the plane points `wanted` (N 2); NaN off the image."""
    homography = fit_homography(plane, centres)
    shift = centres - mapped(homography, plane) if wanted is plane else np.zeros((len(wanted), 2))
    steps = np.linspace(-RADIUS, RADIUS, CELLS)
    offsets = np.stack(np.meshgrid(steps, steps), axis=-1)
    radius = np.linalg.norm(offsets, axis=2)
    at = mapped(homography, wanted[:, None, None] + offsets) + shift[:, None, None]
    patches = sampled(values, at)
    rim = np.nanmedian(patches[:, (radius > 0.85 * RADIUS) & (radius <= RADIUS)], axis=1)
    above = patches - rim[:, None, None]
    middle = above[:, radius < 0.25].mean(axis=1)
    weights = np.clip(above * np.sign(middle)[:, None, None], 0, None) * (radius <= 0.85 * RADIUS)
    weights = np.where(weights > 0.25 * np.abs(middle)[:, None, None], weights, 0)
    total = weights.sum(axis=(1, 2)) + 1e-9
    moved = np.einsum("nij,ijk->nk", weights, offsets) / total[:, None]
    return mapped(homography, wanted + moved) + shift, _roundness(patches, radius), np.abs(middle)


def _roundness(patches: Floats, radius: Floats) -> Floats:
    """Share of the variance within the disc that its distance from the centre explains (N)."""
    inside = radius <= 0.85 * RADIUS
    samples, ring = patches[:, inside], np.minimum((radius[inside] / (0.85 * RADIUS) * RINGS).astype(int), RINGS - 1)
    within = sum(((samples[:, ring == one].var(axis=1)) * (ring == one).sum() for one in range(RINGS)), np.zeros(1))
    return np.clip(np.nan_to_num(1 - within / (samples.var(axis=1) * inside.sum() + 1e-9)), 0, 1)


def _goes_on(values: Scalars, plane: Floats, centres: Floats, usual: float, target: Target) -> tuple[int, int]:
    """Further columns and rows of circles beyond the grid."""
    columns, rows = target.columns, target.rows
    sides = [[(2 * c + r % 2, r) for r in range(rows)] for c in (-1, columns)]
    ends = [[(2 * c + r % 2, r) for c in range(columns)] for r in (-1, rows)]

    def is_there(line: list[tuple[int, int]]) -> bool:
        _, quality, contrast = _measured(values, plane, centres, np.array(line, np.float64))
        return float(((quality > ROUND) & (np.nan_to_num(contrast) > 0.4 * usual)).mean()) > 0.6

    return sum(map(is_there, sides)), sum(map(is_there, ends))
