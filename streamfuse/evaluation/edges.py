"""Qabf: how well the edges of both sources are kept, in strength and direction, weighted by their strength.

Xydeas and Petrovic, "Objective image fusion performance measure", Electronics Letters 36 (2000). Sobel with zeros
outside the image; directions without a quadrant, so an edge and its negative count as the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.evaluation.contrast import safe_root

STRENGTH = (0.9994, -15.0, 0.5)
DIRECTION = (0.9879, -22.0, 0.8)
NO_EDGE = 1e-5


def qabf(fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
    """Qabf of N 1 H W on 0..255 -> (N,), from 0 to about 1; 0 where neither source has an edge."""
    strength, direction = edges(torch.cat((fused, thermal, visible), dim=1))
    kept = _kept(strength[:, :1], strength[:, 1:], direction[:, :1], direction[:, 1:])
    weights = strength[:, 1:]
    total = weights.sum(dim=(1, 2, 3))
    return (kept * weights).sum(dim=(1, 2, 3)) / torch.where(total > 0, total, 1)


def edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel strength and direction of N C H W: direction in radians, (-pi/2, pi/2], pi/2 where nothing goes across."""
    across, down = sobel(images)
    strength = safe_root(across.square() + down.square())
    upright = across.abs() <= NO_EDGE
    # as arctan(-down / across), but with a gradient that stays finite where `across` is small
    direction = torch.atan2(-down * across.sign(), torch.where(upright, 1, across.abs()))
    return strength, torch.where(upright, math.pi / 2, direction)


def sobel(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences across and down of N C H W, zeros outside: same shape each, in eighths of the true slope's unit."""
    padded = F.pad(images, (1, 1, 1, 1))
    smooth_down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    smooth_across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return smooth_down[..., 2:] - smooth_down[..., :-2], smooth_across[..., 2:, :] - smooth_across[..., :-2, :]


def _kept(fused: Tensor, source: Tensor, fused_direction: Tensor, source_direction: Tensor) -> Tensor:
    """Share of each source's edge that is kept at every pixel: N 2 H W."""
    larger = torch.maximum(fused, source)
    ratio = torch.minimum(fused, source) / torch.where(larger > 0, larger, 1)
    # the field's code rates equal strengths by the strength itself: a copied edge reads 0.9994 rather than 0.9989
    ratio = torch.where(fused == source, fused, ratio)
    turned = 1 - (source_direction - fused_direction).abs() / (math.pi / 2)
    return _rated(ratio, STRENGTH) * _rated(turned, DIRECTION)


def _rated(value: Tensor, constants: tuple[float, float, float]) -> Tensor:
    top, steepness, middle = constants
    return top * torch.sigmoid(-steepness * (value - middle))
