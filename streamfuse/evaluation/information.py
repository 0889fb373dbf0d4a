"""Information: how many levels an image uses (EN), and how much of the sources' levels the fused image tells (MI).

Histograms of 256 whole grey levels: not differentiable. Mutual information as a fusion measure: Qu, Zhang and Yan,
"Information measure for performance of image fusion", Electronics Letters 38 (2002).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

LEVELS = 256
Unit = Literal["bits", "nats"]


def entropy(image: Tensor, unit: Unit = "bits") -> Tensor:
    """EN of N 1 H W on 0..255 -> (N,). The field prints bits."""
    levels = whole_levels(image)
    return _entropy(_shares(levels, LEVELS), unit)


def mutual_information(fused: Tensor, thermal: Tensor, visible: Tensor, unit: Unit = "nats") -> Tensor:
    """MI = I(F; thermal) + I(F; visible) of N 1 H W on 0..255 -> (N,).

    Python code in the field prints nats, MATLAB toolkits print bits, which are 1.4427 times as many.
    """
    levels = whole_levels(fused)
    return _shared(levels, whole_levels(thermal), unit) + _shared(levels, whole_levels(visible), unit)


def whole_levels(image: Tensor) -> Tensor:
    """N 1 H W -> N H*W whole numbers in 0..255."""
    return image.detach().round().clamp(0, LEVELS - 1).long().flatten(1)


def _shared(one: Tensor, other: Tensor, unit: Unit) -> Tensor:
    both = _shares(one * LEVELS + other, LEVELS**2)
    table = both.reshape(-1, LEVELS, LEVELS)
    return _entropy(table.sum(2), unit) + _entropy(table.sum(1), unit) - _entropy(both, unit)


def _shares(levels: Tensor, count: int) -> Tensor:
    """N P -> N count, float64."""
    offsets = torch.arange(len(levels), device=levels.device)[:, None] * count
    counts = torch.bincount((levels + offsets).flatten(), minlength=len(levels) * count)
    return counts.reshape(len(levels), count).double() / levels.shape[1]


def _entropy(shares: Tensor, unit: Unit) -> Tensor:
    nats = -torch.xlogy(shares, shares).sum(1)
    return nats / math.log(2) if unit == "bits" else nats
