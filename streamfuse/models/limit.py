"""The end of a fusing network: [0, 1], with a way back for what training pushed beyond."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def limited(image: Tensor, *, training: bool) -> Tensor:
    """`image`, of any shape, within [0, 1]. In training what is beyond a limit has the slope that leads back inside.

    A plain clamp has none there: a network that ran into white, in the glare of a lamp, would not learn to leave it.
    """
    return cast(Tensor, _WayBack.apply(image)) if training else image.clamp(0, 1)


class _WayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        ctx.save_for_backward(image)
        return image.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (image,), (slope,) = ctx.saved_tensors, slopes
        farther = ((image > 1) & (slope < 0)) | ((image < 0) & (slope > 0))
        return slope.masked_fill(farther, 0)
