"""Temporal loss: what stays the same in the scene stays the same in the fused image, followed along its motion.

The warp error of Lai et al. (ECCV 2018) between successive fused frames. The flow must come from a *source* (see
`flow.flow_between`): flow from fused frames rewards blur, since smooth frames warp onto each other well.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.term import FusionLoss, Previous

SOFTNESS = 1e-3


class TemporalConsistencyLoss(FusionLoss):
    """forward(fused, thermal, visible, previous=...) -> scalar >= 0; 0 without a previous frame.

    Mean absolute difference of fused and the previous fused frame moved here, over the pixels that were visible there.
    `norm`: l1, or charbonnier, which is rounded off below 0.001.
    """

    def __init__(self, *, norm: Literal["l1", "charbonnier"] = "l1") -> None:
        super().__init__()
        self.norm = norm

    def forward(self, fused: Tensor, thermal: Tensor, visible: Tensor, *, previous: Previous | None = None) -> Tensor:
        del thermal, visible
        if previous is None:
            return torch.zeros_like(fused).sum(dtype=torch.float32)
        moved, known = warped(previous)
        apart = (fused - moved).abs()
        if self.norm == "charbonnier":
            apart = torch.sqrt(apart**2 + SOFTNESS**2) - SOFTNESS
        return (known * apart).sum() / known.sum().clamp(min=1)


def warped(previous: Previous) -> tuple[Tensor, Tensor]:
    """The previous fused frame, moved along its flow to this frame's pixels, and a mask of where it is known there.

    Both N 1 H W in float32 at least; bilinear. The mask is 0 where the flow leads out of the frame.
    """
    kind = torch.promote_types(previous.fused.dtype, torch.float32)
    flow = previous.flow.to(kind)
    height, width = flow.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=kind)[:, None] + flow[:, 1]
    columns = torch.arange(width, device=flow.device, dtype=kind) + flow[:, 0]
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
    moved = F.grid_sample(previous.fused.to(kind), grid, padding_mode="border", align_corners=False)
    return moved, previous.visible.to(kind) * inside[:, None]
