"""Complement loss: what the fused image adds to one source looks like the other, seen coarsely.

A differentiable form of SCD (Aslantas and Bendes, AEU Int. J. Electronics and Communications 69, 2015) on means of
`cell` x `cell` pixels: brightness of both sources is added up, while their details are left to the gradient terms. At
full resolution SCD would want the sum of both sources' details, which is noise on noise.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.term import Count, FusionLoss, Positive

ALIKE = 1e-3
"""Sources that differ by less than this (mean absolute, of 1) have nothing to complement."""
FLAT = 1e-5
"""A variance below this is no pattern: it is that of 0.8 grey levels."""


class ComplementLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where SCD reaches `enough`.

    `enough`: SCD, at most 2, above which nothing more is wanted. 0 for equal sources.
    """

    def __init__(self, *, cell: Count = 16, enough: Positive = 2.0) -> None:
        super().__init__()
        self.cell, self.enough = cell, enough

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        cell = min(self.cell, *fused.shape[-2:])
        differ = (thermal - visible).abs().mean(dim=(1, 2, 3)) > ALIKE
        fused, thermal, visible = (F.avg_pool2d(image, cell) for image in (fused, thermal, visible))
        reached = correlation(fused - visible, thermal) + correlation(fused - thermal, visible)
        return ((self.enough - reached).clamp_min(0) * differ).mean()


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's r of N 1 H W, (N,); fades to 0 where either is flat, so that it has a slope there."""
    one, other = (image.flatten(1) - image.flatten(1).mean(1, keepdim=True) for image in (one, other))
    return (one * other).mean(1) * (one.square().mean(1) * other.square().mean(1) + FLAT**2).rsqrt()
