"""Intensity loss: the fused image is as bright as the brighter source, so that hot targets and lamps stay bright."""

from __future__ import annotations

import torch
from torch import Tensor

from streamfuse.training.losses.term import FusionLoss


class IntensityLoss(FusionLoss):
    """Mean absolute difference to the pixelwise maximum, as in SwinFusion (Ma et al., IEEE/CAA J. Autom. Sinica 2022).

    forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where fused is that maximum.
    """

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        return (fused - torch.maximum(thermal, visible)).abs().mean()
