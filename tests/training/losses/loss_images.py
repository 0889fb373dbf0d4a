"""Small images with known edges, which the tests of the losses share. All N 1 H W in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def noise(height: int = 24, width: int = 30, seed: int = 0, count: int = 2) -> Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(seed))


def smooth(seed: int, height: int = 32, width: int = 40, count: int = 1) -> Tensor:
    return F.interpolate(noise(6, 8, seed, count), (height, width), mode="bicubic").clamp(0, 1)


def flat(value: float, height: int = 24, width: int = 30) -> Tensor:
    return torch.full((1, 1, height, width), value)


def step(degrees: float, side: int = 32) -> Tensor:
    """A soft edge of height 0.5 whose normal points to `degrees`."""
    rows, columns = torch.meshgrid(torch.arange(side) - side / 2, torch.arange(side) - side / 2, indexing="ij")
    across = columns * np.cos(np.radians(degrees)) + rows * np.sin(np.radians(degrees))
    return (0.25 + 0.5 * torch.sigmoid(across))[None, None]


def slope(loss: torch.nn.Module, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
    """Of the loss, on the fused image."""
    fused = fused.detach().clone().requires_grad_()
    loss(fused, thermal, visible).backward()
    assert fused.grad is not None
    return fused.grad
