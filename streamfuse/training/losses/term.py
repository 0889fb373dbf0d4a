"""The contract of a loss term: what goes in, what comes out, and in which precision it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, eq=False)
class Previous:
    """The frame (or view) before this one, for terms that compare both.

    `fused` N 1 H W: what the network made of it. `flow` N 2 H W: pixel (x, y) of this frame lies in the previous one
    at (x + flow[0], y + flow[1]), in pixels. `visible` N 1 H W in [0, 1]: 0 where it was hidden there.
    """

    fused: Tensor
    flow: Tensor
    visible: Tensor


class FusionLoss(nn.Module):
    """forward(fused, thermal, visible) on N 1 H W in [0, 1] -> scalar; any size, any device, any float type.

    Given one image as both sources, a term is its reconstruction loss: 0 where fused equals it. A new term overrides
    `cost` and gets a line in `settings.TERMS`; its constructor's keywords are its settings.
    """

    def forward(self, fused: Tensor, thermal: Tensor, visible: Tensor, *, previous: Previous | None = None) -> Tensor:
        """The term's cost, computed in float32 at least, also under autocast: half precision has no room for squares of
        small gradients. Raises ValueError when the images' shapes differ."""
        if not fused.shape == thermal.shape == visible.shape or fused.ndim != 4 or fused.shape[1] != 1:
            found = ", ".join(str(tuple(image.shape)) for image in (fused, thermal, visible))
            raise ValueError(f"a loss needs fused, thermal and visible of one shape N 1 H W, found {found}")
        del previous  # of use to terms over time only
        with torch.autocast(fused.device.type, enabled=False):
            return self.cost(*widened(fused, thermal, visible))

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        raise NotImplementedError


def widened(fused: Tensor, thermal: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All in one type, the widest of theirs and at least float32."""
    sources = torch.promote_types(thermal.dtype, visible.dtype)
    widest = torch.promote_types(torch.promote_types(sources, fused.dtype), torch.float32)
    return fused.to(widest), thermal.to(widest), visible.to(widest)
