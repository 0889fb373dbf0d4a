"""Directional gradient loss: at every pixel and scale the edge of the source that has the stronger one, sign and all.

Follows the direction-aware multi-scale gradient loss (signed Sobel responses per axis at scales 1, 1/2, 1/4) and
departs from it in four places:
- the choice is made per pixel between gradient *vectors*, not per axis, which would invent directions that neither
  source has;
- it is a soft gate of relative strength, which does not flicker where both are alike, and is sharper where the two
  edges oppose each other, so that they do not average to nothing;
- borders are replicated, so that a constant image costs exactly nothing;
- images shrink by area, so that coarse scales see no aliased sensor noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DirectionalGradientLoss(nn.Module):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where fused has the wanted edges.

    `scales`: number of scales, each half the one before. `noise`: gradients (per pixel, of a unit ramp 1) below which
    no source is preferred. `sharpness`: of the gate; `opposed` times that where the edges oppose each other.
    """

    def __init__(self, *, scales: int = 3, noise: float = 0.01, sharpness: float = 6.0, opposed: float = 4.0) -> None:
        super().__init__()
        self.scales, self.noise, self.sharpness, self.opposed = scales, noise, sharpness, opposed

    def forward(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        images = torch.cat((fused, thermal, visible))
        total = fused.new_zeros(())
        for scale in range(self.scales):
            if scale:
                images = halved(images)
            edges, hot, seen = gradients(images).chunk(3)
            total = total + length(edges - self.wanted(hot, seen)).mean()
        return total / self.scales

    def wanted(self, thermal: Tensor, visible: Tensor) -> Tensor:
        """Of both gradients N 2 H W the stronger one, softly."""
        strong, weak = length(thermal), length(visible)
        opposing = (thermal * visible).sum(dim=1, keepdim=True) < 0
        sharpness = torch.where(opposing, self.opposed * self.sharpness, self.sharpness)
        gate = torch.sigmoid(sharpness * (strong - weak) / (strong + weak + self.noise))
        return gate * thermal + (1 - gate) * visible


def gradients(images: Tensor) -> Tensor:
    """N 1 H W -> N 2 H W: Sobel slope along x and y in brightness per pixel, borders replicated.

    Written as differences of slices: on a CPU a convolution of one channel costs six times as much.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    along_x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    along_y = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return torch.cat((along_x, along_y), dim=1) / 8


def length(vectors: Tensor, softness: float = 1e-3) -> Tensor:
    """N 2 H W -> N 1 H W, rounded off below `softness` so that its slope exists at zero, and exactly 0 there."""
    return torch.sqrt((vectors**2).sum(dim=1, keepdim=True) + softness**2) - softness


def halved(images: Tensor) -> Tensor:
    """Half the size (rounded up) by area; an odd border is continued."""
    height, width = images.shape[-2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)
