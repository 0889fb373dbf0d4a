"""Max-gradient loss, the field's baseline: gradient magnitudes of the fused image equal to the larger source's.

As in SeAFusion (Tang, Yuan, Ma, Information Fusion 82, 2022), which takes it ten times beside the intensity maximum;
PIAFusion, SwinFusion and CDDFuse use the same. It sees neither direction nor sign of an edge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamfuse.evaluation.edges import Border
from streamfuse.training.losses.sobel import gradients
from streamfuse.training.losses.term import FusionLoss


class MaxGradientLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where |Sx| + |Sy| is as the larger.

    Sobel sums, not divided by 8. `border`: zero as published, which sees an edge around every image; or replicate.
    """

    def __init__(self, *, border: Border = "zero") -> None:
        super().__init__()
        self.border: Border = border

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        edges, hot, seen = (self._strength(image) for image in (fused, thermal, visible))
        return (edges - torch.maximum(hot, seen)).abs().mean()

    def _strength(self, image: Tensor) -> Tensor:
        return 8 * gradients(image, self.border).abs().sum(dim=1)
