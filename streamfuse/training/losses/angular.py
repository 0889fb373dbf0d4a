"""Angular loss: where the sources have an edge, the fused image's edge points the same way, however strong it is.

Ours (after the idea of arXiv 2510.12260, whose formula we have not seen). The angle is taken between the vectors
(slope x, slope y, noise): on edges well above the noise it is the angle between the edges; where nothing is to be seen
it goes to zero smoothly instead of jumping.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamfuse.training.losses.gate import Gate
from streamfuse.training.losses.sobel import gradients, halved, length
from streamfuse.training.losses.term import Count, FusionLoss, Positive


class AngularLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar in [0, 2]; 0 where fused has the wanted edges.

    Mean over pixels and `scales` of 1 - cosine, weighted by how far the wanted edge is above the noise. `noise`: a
    slope in brightness per pixel; `sharpness`, `opposed`: of the choice between sources (see `Gate`).
    """

    def __init__(
        self, *, scales: Count = 3, noise: Positive = 0.01, sharpness: Positive = 6.0, opposed: Positive = 4.0
    ) -> None:
        super().__init__()
        self.scales, self.noise, self.gate = scales, noise, Gate(noise, sharpness, opposed)

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        sources = torch.cat((thermal, visible))
        costs = [self._angles(fused, sources)]
        for _ in range(self.scales - 1):
            fused, sources = halved(fused), halved(sources)
            costs.append(self._angles(fused, sources))
        return torch.stack(costs).mean()

    def _angles(self, fused: Tensor, sources: Tensor) -> Tensor:
        edges, wanted = gradients(fused), self.gate.wanted(*gradients(sources).chunk(2))
        noise = self.noise**2
        product = (edges * wanted).sum(dim=1, keepdim=True) + noise
        squares = [(one**2).sum(dim=1, keepdim=True) + noise for one in (edges, wanted)]
        strength = length(wanted)
        return (strength / (strength + self.noise) * (1 - product * torch.rsqrt(squares[0] * squares[1]))).mean()
