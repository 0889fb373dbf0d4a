"""Losses of image fusion, one per file, and their weighted sum with every term named.

Each loss is called as loss(fused, thermal, visible) on N 1 H W in [0, 1] and gives a scalar.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from streamfuse.training.losses.combined import CombinedGradientLoss, LossRecord
from streamfuse.training.losses.directional import DirectionalGradientLoss
from streamfuse.training.losses.intensity import IntensityLoss
from streamfuse.training.losses.settings import TERMS, LossConfig, load_loss
from streamfuse.training.losses.structure import SSIMLoss
from streamfuse.training.losses.term import FusionLoss, Previous
from streamfuse.training.losses.veil import unveiled

__all__ = [
    "TERMS",
    "CombinedGradientLoss",
    "CombinedLoss",
    "FusionLoss",
    "Loss",
    "LossConfig",
    "LossRecord",
    "LossWeights",
    "Previous",
    "load_loss",
]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What one unit of each term is worth; they differ in scale: a gradient is a tenth of an intensity."""

    intensity: float = 1.0
    gradient: float = 10.0
    structure: float = 0.5


@dataclass(frozen=True, slots=True)
class Loss:
    """One evaluation: `total` is what is minimised, the terms are unweighted."""

    total: Tensor
    intensity: Tensor
    gradient: Tensor
    structure: Tensor

    def values(self) -> dict[str, float]:
        return {name: float(getattr(self, name).detach()) for name in ("total", "intensity", "gradient", "structure")}


class CombinedLoss(nn.Module):
    """Intensity, directional gradient and SSIM, weighted: forward(fused, thermal, visible) -> `Loss`.

    All terms see the thermal image without its veil (`veil.unveiled`), so that they want one and the same picture;
    `veil` = None leaves it as it is.
    """

    def __init__(self, weights: LossWeights | None = None, *, veil: float | None = 0.5) -> None:
        super().__init__()
        self.weights, self.veil = weights or LossWeights(), veil
        self.intensity = IntensityLoss()
        self.gradient = DirectionalGradientLoss()
        self.structure = SSIMLoss()

    def forward(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Loss:
        if self.veil is not None:
            thermal = unveiled(thermal, self.veil)
        images = (fused, thermal, visible)
        intensity, gradient, structure = self.intensity(*images), self.gradient(*images), self.structure(*images)
        weights = self.weights
        total = weights.intensity * intensity + weights.gradient * gradient + weights.structure * structure
        return Loss(total, intensity, gradient, structure)
