"""The weighted sum of any terms, with every term's value on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamfuse.training.losses.settings import TERMS, LossConfig
from streamfuse.training.losses.term import Previous, widened
from streamfuse.training.losses.veil import unveiled


@dataclass(frozen=True, slots=True, eq=False)
class LossRecord:
    """One evaluation: `total` is what is minimised, `terms` are unweighted."""

    total: Tensor
    terms: Mapping[str, Tensor]

    def values(self) -> dict[str, float]:
        """The total first, then each term."""
        return {name: float(value.detach()) for name, value in {"total": self.total, **self.terms}.items()}


class CombinedGradientLoss(nn.Module):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> `LossRecord`.

    `previous`: the frame before, for terms that compare both (without it they are 0). `progress`: share of the training
    done, for terms that come in later; until then they are recorded without a slope.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.losses = nn.ModuleDict({name: TERMS[name](**one.options()) for name, one in config.chosen().items()})

    def forward(
        self,
        fused: Tensor,
        thermal: Tensor,
        visible: Tensor,
        *,
        previous: Previous | None = None,
        progress: float = 1.0,
    ) -> LossRecord:
        fused, thermal, visible = widened(fused, thermal, visible)
        if self.config.veil is not None:
            thermal = unveiled(thermal, self.config.veil)
        total = fused.new_zeros(())
        terms: dict[str, Tensor] = {}
        for name, settings in self.config.chosen().items():
            weight = settings.weight * settings.ramp(progress)
            with torch.set_grad_enabled(torch.is_grad_enabled() and weight > 0):
                terms[name] = self.losses[name](fused, thermal, visible, previous=previous)
            if weight > 0:
                total = total + weight * terms[name]
        return LossRecord(total, terms)
