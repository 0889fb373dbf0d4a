"""Sliding windows over whole images: separable filters, whole windows only. Knows nothing of what they are for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = tuple[float, ...]
"""The same weights along rows and columns; symmetric."""


def gaussian(size: int, sigma: float) -> Weights:
    """`size` weights that add up to 1."""
    distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(distance**2) / (2 * sigma**2))
    return tuple(float(weight) for weight in weights / weights.sum())


def uniform(size: int) -> Weights:
    """`size` equal weights that add up to 1."""
    return (1 / size,) * size


def filtered(images: Tensor, weights: Weights) -> Tensor:
    """N C H W -> N C H-k+1 W-k+1 for k weights; differentiable any number of times.

    Raises ValueError for images smaller than the window.
    """
    size = len(weights)
    if min(images.shape[-2:]) < size:
        raise ValueError(f"needs images of at least {size} x {size}, found {images.shape[-1]} x {images.shape[-2]}")
    return _Filter.apply(images, weights)  # type: ignore[no-any-return]


class _Filter(torch.autograd.Function):
    """Sums of shifted planes, in place: on a CPU ten times as fast as convolutions of one channel, backwards too."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weights: Weights) -> Tensor:
        ctx.weights = weights
        planes = images.detach().reshape(-1, *images.shape[-2:])
        # plane by plane a CPU works within its cache; a GPU rather takes all at once
        step = 1 if images.device.type == "cpu" else len(planes)
        parts = [planes[start : start + step] for start in range(0, len(planes), step)]
        sums = torch.cat([_along(_along(part, -2, weights), -1, weights) for part in parts])
        return sums.reshape(*images.shape[:-2], *sums.shape[-2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        border = len(ctx.weights) - 1
        return filtered(F.pad(grads[0], (border,) * 4), ctx.weights), None


def _along(planes: Tensor, dim: int, weights: Weights) -> Tensor:
    length = planes.shape[dim] - len(weights) + 1
    total = planes.narrow(dim, 0, length) * weights[0]
    for start, weight in enumerate(weights[1:], 1):
        total.add_(planes.narrow(dim, start, length), alpha=weight)
    return total
