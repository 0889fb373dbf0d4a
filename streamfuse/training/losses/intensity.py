"""Intensity loss: how bright the fused image shall be; by default as the brighter source, so that hot targets and lamps
stay bright.

`max` as in SwinFusion (Ma et al., IEEE/CAA J. Autom. Sinica 2022) and SeAFusion (Tang et al., Information Fusion 2022);
`weighted` with norm l2 as in U2Fusion (Xu et al., TPAMI 2022), with l1 and block weights as the second seed has it (Li
et al., Infrared Physics & Technology 128, reconstructed).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from streamfuse.training.losses.term import FusionLoss, Share
from streamfuse.training.losses.weight_block import Weights, thermal_share


class IntensityLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0.

    `target`: max or mean, of both sources at every pixel (0 where fused is that); or weighted: both distances, summed
    (0 where both sources are alike). `norm`: l1 = mean absolute, l2 = mean squared difference. Of weighted only:
    `weights` and `share`, see `weight_block.thermal_share`.
    """

    def __init__(
        self,
        *,
        target: Literal["max", "mean", "weighted"] = "max",
        norm: Literal["l1", "l2"] = "l1",
        weights: Weights = "share",
        share: Share = 0.5,
    ) -> None:
        super().__init__()
        self.target, self.norm, self.share = target, norm, share
        self.weights: Weights = weights

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        if self.target == "max":
            return self._distance(fused, torch.maximum(thermal, visible)).mean()
        if self.target == "mean":
            return self._distance(fused, (thermal + visible) / 2).mean()
        share = thermal_share(thermal, visible, self.weights, self.share)
        return (share * self._distance(fused, thermal) + (1 - share) * self._distance(fused, visible)).mean()

    def _distance(self, one: Tensor, other: Tensor) -> Tensor:
        return (one - other).abs() if self.norm == "l1" else (one - other) ** 2
