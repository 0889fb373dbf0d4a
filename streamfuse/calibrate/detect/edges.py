"""Straight edges at sub-pixel precision, and where they cross.

Blur (heat that spreads, a soft lens) rounds corners but leaves the middle of an edge in its place. So a corner is taken
as the crossing of lines through edge points away from it, each point the centre of the brightness step across the
edge: this does not depend on which side is the brighter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import Floats

ALONG = 9
STEP_PX, MOST_ACROSS = 0.4, 121
"""Distance of the samples across an edge, and how many there may be."""
STEP_SHARE = 0.5
"""This share of the steepest slope in a profile is taken off before its centre counts: noise beside the edge goes."""
ROBUST_PX = 0.4
"""Distance from the line at which an edge point counts half."""
PARALLEL = 0.2
"""Sine of the angle of two lines below which their crossing means nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """N lines: every point p on one satisfies normal . p = offset; `contrast`: mean brightness step across."""

    normals: Floats
    offsets: Floats
    contrast: Floats


def edge_points(values: Scalars, starts: Floats, ends: Floats, reaches: Floats) -> tuple[Floats, Floats]:
    """Points (N ALONG 2) where brightness steps, and the size of the step (N ALONG).

    Searched along profiles between `starts` and `ends` (N 2), from -`reaches` to +`reaches` (N 2, pixels across).
    """
    along = np.linspace(0, 1, ALONG)[None, :, None]
    on_edge = starts[:, None] + along * (ends - starts)[:, None]
    widest = float(np.linalg.norm(reaches, axis=1).max())
    steps = np.linspace(-1, 1, int(np.clip(2 * widest / STEP_PX, 21, MOST_ACROSS)))
    at = (on_edge[:, :, None] + steps[:, None] * reaches[:, None, None]).astype(np.float32)
    flat = at.reshape(-1, len(steps), 2)
    profiles = _sampled(values, flat).reshape(at.shape[:3])
    slopes = np.diff(profiles, axis=2)
    upward = np.where(slopes.sum(axis=(1, 2)) < 0, -1.0, 1.0)[:, None, None]
    slopes = slopes * upward
    slopes = np.maximum(slopes - STEP_SHARE * np.maximum(slopes.max(axis=2, keepdims=True), 0), 0)
    size = slopes.sum(axis=2)
    middles = (steps[1:] + steps[:-1]) / 2
    centre = (slopes * middles).sum(axis=2) / (size + 1e-9)
    return on_edge + centre[..., None] * reaches[:, None], size


def fit_lines(points: Floats, weights: Floats) -> Lines:
    """Robust total least squares through points (N M 2), M steps of reweighting."""
    contrast = weights.mean(axis=1)
    weights = weights / (weights.max(axis=1, keepdims=True) + 1e-9) + 1e-6
    normals, offsets = _fitted(points, weights)
    for _ in range(3):
        away = np.abs((points * normals[:, None]).sum(axis=2) - offsets[:, None])
        normals, offsets = _fitted(points, weights / (1 + (away / ROBUST_PX) ** 2))
    return Lines(normals, offsets, contrast)


def crossings(one: Lines, other: Lines) -> Floats:
    """N 2; NaN where two lines are nearly parallel."""
    matrices = np.stack([one.normals, other.normals], axis=1)
    crossing = np.abs(np.linalg.det(matrices)) >= PARALLEL
    found = np.full_like(one.normals, np.nan)
    sides = np.stack([one.offsets, other.offsets], axis=1)[crossing]
    found[crossing] = np.linalg.solve(matrices[crossing], sides[..., None])[..., 0]
    return found


def _fitted(points: Floats, weights: Floats) -> tuple[Floats, Floats]:
    share = (weights / weights.sum(axis=1, keepdims=True))[..., None]
    centre = (points * share).sum(axis=1)
    away = points - centre[:, None]
    spread = np.einsum("nmi,nmj->nij", away * share, away)
    _, axes = np.linalg.eigh(spread)
    normals = axes[:, :, 0]
    return normals, (normals * centre).sum(axis=1)


def _sampled(values: Scalars, at: Scalars) -> Floats:
    """Bilinear samples (K M) at pixels (K M 2), in parts that OpenCV's 16-bit sizes allow; borders repeat."""
    parts = [
        cv2.remap(values, part[..., 0], part[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part in np.array_split(at, len(at) // 30_000 + 1)
    ]
    return np.concatenate(parts).astype(np.float64)
