"""Overshoot loss: no value that neither source shows nearby, hence no bright or dark rims."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.term import Count, FusionLoss


class OvershootLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 inside the local range of both sources.

    Mean distance from the range between smallest and largest value of both sources within `window` pixels (odd), as
    `evaluation/looks.py` measures it.
    """

    def __init__(self, *, window: Count = 7) -> None:
        super().__init__()
        self.window = window

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        with torch.no_grad():
            highest = largest(torch.maximum(thermal, visible), self.window)
            lowest = -largest(-torch.minimum(thermal, visible), self.window)
        return ((fused - highest).clamp_min(0) + (lowest - fused).clamp_min(0)).mean()


def largest(images: Tensor, window: int) -> Tensor:
    """Largest value within the window around each pixel; along one axis after the other, which is quicker."""
    rows = F.max_pool2d(images, (1, window), 1, (0, window // 2))
    return F.max_pool2d(rows, (window, 1), 1, (window // 2, 0))
