"""Directional gradient loss: at every pixel and scale the edge of the source that has the stronger one, sign and all.

`published`: the direction-aware multi-scale gradient loss of Yang et al. (arXiv 2510.13067), evaluated as its
authors do: Sobel responses, unnormalised and zero-padded, at scales 1, 1/2, 1/4 of a bilinear resize without
antialiasing; along x and y separately the response of the source in which it is larger, sign kept, ties to the visible
image.

`ours` departs from it in four places:
- the choice is made per pixel between gradient *vectors*, not per axis, which would invent directions that neither
  source has;
- it is a soft gate of relative strength, which does not flicker where both are alike, and is sharper where the two
  edges oppose each other, so that they do not average to nothing;
- borders are replicated, so that a constant image costs exactly nothing;
- images shrink by area, so that coarse scales see no aliased sensor noise.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.gate import Gate
from streamfuse.training.losses.sobel import gradients, halved, length
from streamfuse.training.losses.term import Count, FusionLoss, Positive


class DirectionalGradientLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where fused has the wanted edges.

    `scales`: number of scales, each half the one before. Of ours only: `noise`, `sharpness`, `opposed` (see `Gate`).
    Ours is in brightness per pixel, the published form in Sobel sums of two axes: on photographs about ten times more.
    """

    def __init__(
        self,
        *,
        variant: Literal["ours", "published"] = "ours",
        scales: Count = 3,
        noise: Positive = 0.01,
        sharpness: Positive = 6.0,
        opposed: Positive = 4.0,
    ) -> None:
        super().__init__()
        self.variant, self.scales, self.gate = variant, scales, Gate(noise, sharpness, opposed)

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        one_scale = self._published if self.variant == "published" else self._ours
        sources = torch.cat((thermal, visible))  # apart from fused, so that no slope is computed for them
        return torch.stack([one_scale(fused, sources, scale) for scale in range(self.scales)]).mean()

    def _ours(self, fused: Tensor, sources: Tensor, scale: int) -> Tensor:
        for _ in range(scale):
            fused, sources = halved(fused), halved(sources)
        wanted = self.gate.wanted(*gradients(sources).chunk(2))
        return length(gradients(fused) - wanted).mean()

    def _published(self, fused: Tensor, sources: Tensor, scale: int) -> Tensor:
        hot, seen = sobel_sums(shrunk(sources, scale)).chunk(2)
        wanted = torch.where(seen.abs() >= hot.abs(), seen, hot)
        return 2 * (sobel_sums(shrunk(fused, scale)) - wanted).abs().mean()


def shrunk(images: Tensor, scale: int) -> Tensor:
    """As published: `scale` times half the size (rounded), bilinear, without antialiasing."""
    size = [max(1, round(side / 2**scale)) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False) if scale else images


def sobel_sums(images: Tensor) -> Tensor:
    """As published: the kernels' sums, N 1 H W -> N 2 H W, zero padding."""
    return 8 * gradients(images, "zero")
