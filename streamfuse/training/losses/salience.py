"""Salience loss: what stands out warm in the thermal image stands out in the fused one, glare or not.

The gradient terms are content with the outline of a warm target, and beside a headlight the visible outline is the
stronger one; the scores count pixels, of which a target has few. A tracker needs the target.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamfuse.training.losses.term import Count, FusionLoss, Share

HARDLY_ANY = 2e-5
"""Mean of wanted contrast times weight at which a picture counts by half: 1 of 5000 pixels stands out by 0.4."""


class SalienceLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; about 1: lost, 2: turned dark.

    The contrast of a pixel is its distance from the mean of the `window` around it. Missing contrast is summed over
    the pixels that thermal shows warmer than their surroundings by more than `least`, weighted by how much more, in
    relation to what is wanted: `share` of thermal's contrast. 0 where nothing stands out.
    """

    def __init__(self, *, window: Count = 41, share: Share = 0.9, least: Share = 0.1) -> None:
        super().__init__()
        self.window, self.share, self.least = window, share, least

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        del visible
        with torch.no_grad():
            warm = contrast(thermal, self.window)
            weight = (warm - self.least).clamp_min(0)
            wanted = self.share * warm
            all_wanted = (weight * wanted).mean(dim=(1, 2, 3))
        missing = (wanted - contrast(fused, self.window)).clamp_min(0)
        return ((weight * missing).mean(dim=(1, 2, 3)) / (all_wanted + HARDLY_ANY)).mean()


def contrast(images: Tensor, window: int) -> Tensor:
    """Each pixel minus the mean of the window around it, which the border cuts: N 1 H W -> the same."""
    return images - mean_along(mean_along(images, window // 2, dim=3), window // 2, dim=2)


def mean_along(images: Tensor, reach: int, dim: int) -> Tensor:
    """Mean of the pixels up to `reach` away along one axis, by running sums: as quick for a wide window as for none."""
    side = images.shape[dim]
    at = torch.arange(side, device=images.device)
    first, end = (at - reach).clamp_min(0), (at + reach + 1).clamp_max(side)
    sums = torch.cat((torch.zeros_like(images.narrow(dim, 0, 1)), images.cumsum(dim)), dim)
    count = (end - first).to(images.dtype).view((-1, 1) if dim == 2 else (-1,))
    return (sums.index_select(dim, end) - sums.index_select(dim, first)) / count
