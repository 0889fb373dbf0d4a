"""Qabf: how well the edges of both sources are kept, in strength and direction, weighted by their strength.

Xydeas and Petrovic, "Objective image fusion performance measure", Electronics Letters 36 (2000). Sobel with zeros
outside the image, as the field's code has it: a bright border counts as an edge to black. `border="replicate"` goes on
with the image instead. Directions without a quadrant, so an edge and its negative count as the same.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.evaluation.contrast import safe_root

STRENGTH = (0.9994, -15.0, 0.5)
DIRECTION = (0.9879, -22.0, 0.8)
NO_EDGE = 1e-5

Border = Literal["zero", "replicate"]


def qabf(fused: Tensor, thermal: Tensor, visible: Tensor, border: Border = "zero") -> Tensor:
    """Qabf of N 1 H W on 0..255 -> (N,), from 0 to about 1; 0 where neither source has an edge.

    `border`: what lies outside the images; the field's tables hold "zero".
    """
    strength, direction = edges(torch.cat((fused, thermal, visible), dim=1), border)
    kept = _kept(strength[:, :1], strength[:, 1:], direction[:, :1], direction[:, 1:])
    weights = strength[:, 1:]
    total = weights.sum(dim=(1, 2, 3))
    return (kept * weights).sum(dim=(1, 2, 3)) / torch.where(total > 0, total, 1)


def edges(images: Tensor, border: Border = "zero") -> tuple[Tensor, Tensor]:
    """Sobel strength and direction of N C H W: direction in radians, (-pi/2, pi/2], pi/2 where nothing goes across."""
    across, down = sobel(images, border)
    strength = safe_root(across.square() + down.square())
    upright = across.abs() <= NO_EDGE
    # as arctan(-down / across), but with a gradient that stays finite where `across` is small
    direction = torch.atan2(-down * across.sign(), torch.where(upright, 1, across.abs()))
    return strength, torch.where(upright, math.pi / 2, direction)


def sobel(images: Tensor, border: Border) -> tuple[Tensor, Tensor]:
    """Differences across and down of N C H W: same shape each, in eighths of the true slope's unit."""
    padded = framed(images, border)
    smooth_down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    smooth_across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return smooth_down[..., 2:] - smooth_down[..., :-2], smooth_across[..., 2:, :] - smooth_across[..., :-2, :]


def framed(images: Tensor, border: Border) -> Tensor:
    """N C H W with one more pixel on each side, black or as the nearest one: N C H+2 W+2."""
    return F.pad(images, (1, 1, 1, 1), mode="replicate" if border == "replicate" else "constant")


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
