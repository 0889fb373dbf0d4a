"""Losses of image fusion, one per file, and their weighted sum with every term named.

Each loss is called as loss(fused, thermal, visible) on N 1 H W in [0, 1] and gives a scalar; with one image as both
sources it is a reconstruction loss. `CombinedGradientLoss(load_loss(path))` sums those that a loss file names
(configs/losses/). docs/losses.md lists them all.
"""

from __future__ import annotations

from streamfuse.training.losses.combined import CombinedGradientLoss, LossRecord
from streamfuse.training.losses.settings import TERMS, LossConfig, load_loss
from streamfuse.training.losses.term import FusionLoss, Previous

__all__ = ["TERMS", "CombinedGradientLoss", "FusionLoss", "LossConfig", "LossRecord", "Previous", "load_loss"]
