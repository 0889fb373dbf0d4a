"""Daylight loss: a bright smooth sky stays bright before a cold thermal one.

Where both images are smooth, gradient terms and structure see nothing, and the scores that add both images up hardly
care whether such a sky comes out white or dark grey. Who looks at the picture does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamfuse.training.losses.overshoot import largest
from streamfuse.training.losses.term import Count, FusionLoss, Positive, Share

HARDLY_ANY = 1e-3
"""Mean of wanted light times weight at which a picture counts by half: a hundredth of it is sky, 0.6 above thermal."""


class DaylightLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; about 1: as dark as thermal.

    Counted are pixels where visible is brighter than thermal by more than `least`, weighted by how much more, and both
    range over less than `smooth` within `window` pixels (odd). Missing light is summed over them, in relation to what
    is wanted: `share` of what visible is brighter. 0 where nothing is both bright and smooth.
    """

    def __init__(self, *, share: Share = 0.6, window: Count = 9, smooth: Positive = 0.1, least: Share = 0.3) -> None:
        super().__init__()
        self.share, self.window, self.smooth, self.least = share, window, smooth, least

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        with torch.no_grad():
            lighter = visible - thermal
            weight = (lighter - self.least).clamp_min(0) * self._smooth(thermal) * self._smooth(visible)
            wanted = self.share * lighter
            all_wanted = (weight * wanted).mean(dim=(1, 2, 3))
        missing = (thermal + wanted - fused).clamp_min(0)
        return ((weight * missing).mean(dim=(1, 2, 3)) / (all_wanted + HARDLY_ANY)).mean()

    def _smooth(self, image: Tensor) -> Tensor:
        """1 where nothing is drawn, 0 from `smooth` on."""
        ranging = largest(image, self.window) + largest(-image, self.window)
        return (1 - ranging / self.smooth).clamp_min(0)
