"""Laplacian gradient loss: at every pixel the signed Laplacian of the source that is livelier there.

As in SDNet (Zhang, Ma, IJCV 129, 2021), which takes it eighty times: the choice is hard, by the absolute Laplacian of
the low-passed sources, ties to the thermal image. SDNet's own low-pass kernel is not known to us; ours is binomial.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.sobel import low_passed
from streamfuse.training.losses.term import FusionLoss


class LaplacianGradientLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where fused has the wanted Laplacian.

    `norm`: l2 (published) minds strong edges most, l1 weak texture as well. Borders replicated.
    """

    def __init__(self, *, norm: Literal["l1", "l2"] = "l2") -> None:
        super().__init__()
        self.norm = norm

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        lively_hot, lively_seen = (laplacian(low_passed(source)).abs() for source in (thermal, visible))
        wanted = torch.where(lively_seen > lively_hot, laplacian(visible), laplacian(thermal))
        apart = laplacian(fused) - wanted
        return apart.abs().mean() if self.norm == "l1" else (apart**2).mean()


def laplacian(images: Tensor) -> Tensor:
    """N 1 H W -> N 1 H W: the sum of the four neighbours less four times the pixel, borders replicated."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    beside = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return beside + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] - 4 * images
