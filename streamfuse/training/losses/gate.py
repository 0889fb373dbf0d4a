"""Which source's edge is wanted at a pixel: the stronger one, softly, and as a whole vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamfuse.training.losses.sobel import length


@dataclass(frozen=True, slots=True)
class Gate:
    """`noise`: gradients (brightness per pixel) below which no source is preferred. `sharpness`: of the choice;
    `opposed` times that where the edges oppose each other, so that they do not average to nothing."""

    noise: float = 0.01
    sharpness: float = 6.0
    opposed: float = 4.0

    def wanted(self, thermal: Tensor, visible: Tensor) -> Tensor:
        """Of both gradients N 2 H W the stronger one, softly."""
        strong, weak = length(thermal), length(visible)
        opposing = (thermal * visible).sum(dim=1, keepdim=True) < 0
        sharpness = torch.where(opposing, self.opposed * self.sharpness, self.sharpness)
        chosen = torch.sigmoid(sharpness * (strong - weak) / (strong + weak + self.noise))
        return chosen * thermal + (1 - chosen) * visible
