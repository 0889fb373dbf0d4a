"""Fidelity loss: what each source tells an observer is still told by the fused image; what is missing of VIF.

A differentiable use of VIF itself (Sheikh and Bovik, IEEE Trans. Image Processing 15, 2006;
`evaluation/fidelity.py`): whoever reports VIF of a network trained with it must say so. The sum alone is won by a copy
of one source, so the worse source counts by itself, too.
"""

from __future__ import annotations

from torch import Tensor

from streamfuse.evaluation.fidelity import vif_of_each
from streamfuse.training.losses.term import FusionLoss, Share


class FidelityLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 for a copy of two equal sources.

    `worse`: share of the source that is kept worse; the rest is for the mean of both. Contrast beyond the source's,
    which VIF would praise, earns nothing. Raises ValueError for images under 41 x 41.
    """

    def __init__(self, *, worse: Share = 0.5) -> None:
        super().__init__()
        self.worse = worse

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        lost = (1 - vif_of_each(255 * fused, 255 * thermal, 255 * visible)).clamp_min(0)
        return (self.worse * lost.amax(dim=1) + (1 - self.worse) * lost.mean(dim=1)).mean()
