"""Edge transfer loss: the stronger edges of both sources are kept in strength and direction; what is missing of Qabf.

A differentiable use of Qabf itself (Xydeas and Petrovic, Electronics Letters 36, 2000; `evaluation/edges.py`): a
network trained with it is judged there by its own ruler, which whoever reports Qabf must say.

The score takes what lies outside the image for black, so that a bright border is an edge to be kept, and a network
trained with it draws a bright line along bright skies, into the second row. Here the images go on beyond their border.
"""

from __future__ import annotations

import math

from torch import Tensor

from streamfuse.evaluation.edges import DIRECTION, STRENGTH, qabf
from streamfuse.training.losses.term import FusionLoss

TOP = STRENGTH[0] * DIRECTION[0] / (1 + math.exp(DIRECTION[1] * (1 - DIRECTION[2])))
"""Qabf of a perfect copy of two equal sources: its curves never quite reach 1."""


class EdgeTransferLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 for equal sources and their copy.

    Images without an edge cost nothing.
    """

    def __init__(self) -> None:
        super().__init__()

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        reached = qabf(255 * fused, 255 * thermal, 255 * visible, border="replicate")
        apart, span = (thermal - visible).abs(), thermal.amax(dim=(1, 2, 3)) - thermal.amin(dim=(1, 2, 3))
        edgeless = apart.amax(dim=(1, 2, 3)) + span == 0
        return ((TOP - reached).clamp_min(0) * ~edgeless).mean()
