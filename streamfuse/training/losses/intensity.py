"""Intensity loss: the fused image is as bright as the brighter source, once the thermal image's veil is gone.

A thermal image's bulk lies wherever the camera's tone mapping put it, often at a middle grey that says nothing. The
plain maximum of both sources lays that grey over every shadow of the visible image like fog. So thermal brightness
counts from a floor below which most of the scene lies: what is hot stays as bright as it was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class IntensityLoss(nn.Module):
    """Mean absolute difference to the pixelwise maximum of visible and unveiled thermal.

    The maximum as target is that of SwinFusion (Ma et al., IEEE/CAA J. Autom. Sinica 2022); the veil is ours, and
    `veil=None` gives the plain maximum. The floor is mean - `veil` * standard deviation of each thermal image.
    forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where fused is the target.
    """

    def __init__(self, veil: float | None = 0.5) -> None:
        super().__init__()
        self.veil = veil

    def forward(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        bright = thermal if self.veil is None else unveiled(thermal, self.veil)
        return (fused - torch.maximum(bright, visible)).abs().mean()


def unveiled(thermal: Tensor, veil: float) -> Tensor:
    """Each image N 1 H W stretched so that its floor becomes 0 and 1 stays 1; never below 0."""
    spread, mean = torch.std_mean(thermal, dim=(-2, -1), keepdim=True, correction=0)
    floor = (mean - veil * spread).clamp(0, 0.9)
    return ((thermal - floor) / (1 - floor)).clamp(min=0)
