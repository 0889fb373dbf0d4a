"""Weight-block gradient loss: the gradients of both sources, each block of the image weighted towards the livelier one.

Reconstruction of the second seed (Li, Liu, Zhou, Zhang, Kasabov, Infrared Physics & Technology 128, 104486), whose
abstract says that weights come from blocks of the inputs; the rest is taken from its nearest relatives (SDNet,
U2Fusion, SwinFusion). Unlike a hard maximum it is a weighted sum over sources. configs/losses/weight-block.yaml is the
whole.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.sobel import gradients, low_passed
from streamfuse.training.losses.term import Count, FusionLoss, Positive

Weights = Literal["share", "blocks"]
BLOCK = 16
TEMPERATURE = 0.05


class WeightBlockGradientLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where all have the same gradients.

    `block`: side of a block in pixels. `temperature`: how much livelier (in Sobel sums) a source must be for e times
    the weight. `norm`: with l2 the optimum is the weighted mean of both gradients, which washes out opposed edges; l1
    selects one. Gradients are signed Sobel sums (not divided by 8), borders replicated.
    """

    def __init__(
        self, *, block: Count = BLOCK, temperature: Positive = TEMPERATURE, norm: Literal["l1", "l2"] = "l2"
    ) -> None:
        super().__init__()
        self.block, self.temperature, self.norm = block, temperature, norm

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        edges, hot, seen = (8 * gradients(image) for image in (fused, thermal, visible))
        share = block_weights(thermal, visible, self.block, self.temperature)
        return (share * self._distance(edges, hot) + (1 - share) * self._distance(edges, seen)).mean()

    def _distance(self, one: Tensor, other: Tensor) -> Tensor:
        apart = (one - other).abs() if self.norm == "l1" else (one - other) ** 2
        return apart.sum(dim=1, keepdim=True)


@torch.no_grad()
def block_weights(thermal: Tensor, visible: Tensor, block: int = BLOCK, temperature: float = TEMPERATURE) -> Tensor:
    """The thermal image's weight at every pixel, N 1 H W in [0, 1]; the visible one's is the rest.

    Softmax over both sources of |Sx| + |Sy|, meaned over blocks after a 3 x 3 low-pass (against the sensor's noise),
    then interpolated between block centres.
    """
    liveliness = (8 * gradients(low_passed(torch.cat((thermal, visible))))).abs().sum(dim=1, keepdim=True)
    kernel = [min(block, side) for side in thermal.shape[-2:]]
    hot, seen = F.avg_pool2d(liveliness, kernel, ceil_mode=True, count_include_pad=False).chunk(2)
    weights = torch.sigmoid((hot - seen) / temperature)
    return F.interpolate(weights, thermal.shape[-2:], mode="bilinear", align_corners=False)


def thermal_share(thermal: Tensor, visible: Tensor, weights: Weights, share: float) -> Tensor:
    """How much the thermal image counts in a term that compares with either source: N 1 1 1 in [0, 1].

    `share`: that much in every image; `blocks`: each image's mean of the block weights.
    """
    if weights == "share":
        return thermal.new_full((len(thermal), 1, 1, 1), share)
    return block_weights(thermal, visible).mean(dim=(-2, -1), keepdim=True)
