"""Soft-HOG loss: the same histogram of edge directions in every cell as the image, or as both sources, have.

Histograms of oriented gradients (Dalal and Triggs, CVPR 2005) made differentiable: a gradient votes for all directions
by a softmax instead of for its own bin. Pooled over cells, the loss tolerates shifts of a few pixels, as between the
cameras of a real rig. Reconstruction of the first seed (Long et al., Laser & Optoelectronics Progress 60(24), 2411001),
of which the abstract alone was at hand: there the target is the image that an autoencoder is to reproduce. The target
out of two sources is ours.

The direction enters through the double angle, (gx^2 - gy^2, 2 gx gy) / |g|^2: no arc tangent, no jump at its seam.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.term import Count, FusionLoss, Positive

SOFTNESS = 1e-3
"""Differences of neighbours below this (a quarter of a grey level) hardly vote."""
GATE = 6.0
"""Sharpness of the choice between sources, as of the directional loss."""
NOISE = 0.02
"""Cell energy below which no source is preferred, in the units of the votes (brightness over two pixels)."""
Target = Literal["soft", "winner", "union"]


class SoftHOGLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> scalar >= 0; 0 where fused has the wanted histograms.

    `bins`: directions over half a turn. `polarity`: unsigned does not tell an image from its negative; signed splits
    each bin into both its directions; both is the mean of the two losses. `cell`: side in pixels; odd borders are
    continued. `normalised`: histograms relative to their block of 2 x 2 cells, which cannot see contrast; below `floor`
    they fade. `target`, cell by cell: soft (by relative energy), winner (which flickers in video), union (the maximum
    bin by bin, which invents cells with many directions). `sharpness`: of the vote; by default a gradient along a bin's
    centre gives that bin e times what it gives the next.
    """

    def __init__(
        self,
        *,
        bins: Annotated[int, Field(ge=3)] = 9,
        polarity: Literal["unsigned", "signed", "both"] = "both",
        cell: Count = 8,
        target: Target = "soft",
        normalised: bool = False,
        floor: Positive = 0.01,
        sharpness: Positive | None = None,
    ) -> None:
        super().__init__()
        self.bins, self.polarity, self.cell, self.target = bins, polarity, cell, target
        self.normalised, self.floor = normalised, floor
        self.sharpness = sharpness or 1 / (2 * math.sin(math.pi / bins) ** 2)

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.wanted(self.histograms(thermal), self.histograms(visible))
        found = self.histograms(fused)
        distance = self._distance(found, wanted)
        if self.polarity == "both":
            distance = (distance + self._distance(folded(found), folded(wanted))) / 2
        return distance

    def histograms(self, image: Tensor) -> Tensor:
        """N 1 H W -> N B h w: in every cell the mean edge strength (brightness over two pixels) for each direction.

        B = `bins` where polarity is unsigned; else twice that, the latter half for the opposite directions.
        """
        across, down = differences(continued(image, self.cell))
        strength = torch.sqrt(across**2 + down**2 + SOFTNESS**2)
        across, down, strength = across / strength, down / strength, strength - SOFTNESS
        angles = (torch.arange(self.bins, device=image.device, dtype=image.dtype) + 0.5) * (math.pi / self.bins)
        twice = in_cells(torch.cat((across**2 - down**2, 2 * across * down), dim=1), self.cell)
        votes = torch.softmax(self.sharpness * (directions(2 * angles) @ twice), dim=-2)
        strengths = in_cells(torch.cat((strength, strength * across, strength * down), dim=1), self.cell)
        pooled = votes @ strengths.transpose(-1, -2) / self.cell**2  # N h w B 3: one product pools and weighs
        both = pooled[..., 0]
        if self.polarity == "unsigned":
            return both.permute(0, 3, 1, 2)
        lean = (pooled[..., 1:] * directions(angles)).sum(dim=-1)
        return torch.cat((both + lean, both - lean), dim=-1).permute(0, 3, 1, 2) / 2

    def wanted(self, thermal: Tensor, visible: Tensor) -> Tensor:
        """The histograms to reach, out of both sources' N B h w; theirs where they are alike."""
        if self.target == "union":
            return torch.maximum(thermal, visible)
        hot, seen = thermal.sum(dim=1, keepdim=True), visible.sum(dim=1, keepdim=True)
        if self.target == "winner":
            return torch.where(hot > seen, thermal, visible)
        gate = torch.sigmoid(GATE * (hot - seen) / (hot + seen + NOISE))
        return gate * thermal + (1 - gate) * visible

    def _distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Summed over directions, so that the scale does not hang on their number; mean over cells."""
        if self.normalised:
            found, wanted = block_normalised(found, self.floor), block_normalised(wanted, self.floor)
        return (found - wanted).abs().sum(dim=1).mean()


def continued(image: Tensor, cell: int) -> Tensor:
    """Borders replicated to the right and below until whole cells fit."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % cell, 0, -height % cell), mode="replicate")


def differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Both neighbours' difference along x and along y, N 1 H W each, borders replicated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return across, padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]


def in_cells(maps: Tensor, cell: int) -> Tensor:
    """N C H W -> N h w C P, the P = cell^2 pixels of every cell beside each other."""
    count, channels, height, width = maps.shape
    parted = maps.view(count, channels, height // cell, cell, width // cell, cell)
    return parted.permute(0, 2, 4, 1, 3, 5).reshape(count, height // cell, width // cell, channels, cell**2)


def directions(angles: Tensor) -> Tensor:
    """B -> B 2: cosine and sine."""
    return torch.stack((torch.cos(angles), torch.sin(angles)), dim=1)


def folded(signed: Tensor) -> Tensor:
    """Opposite directions added: N 2B h w -> N B h w."""
    one, other = signed.chunk(2, dim=1)
    return one + other


def block_normalised(histograms: Tensor, floor: float) -> Tensor:
    """Each 2 x 2 block of cells by its norm (overlapping, stride 1): N B h w -> 4N B h-1 w-1, one for each cell."""
    size = [min(2, side) for side in histograms.shape[-2:]]
    height, width = (side - extent + 1 for side, extent in zip(histograms.shape[-2:], size, strict=True))
    offsets = itertools.product(range(size[0]), range(size[1]))
    cells = torch.stack([histograms[..., y : y + height, x : x + width] for y, x in offsets])
    return (cells * torch.rsqrt((cells**2).sum(dim=(0, 2), keepdim=True) + floor**2)).flatten(0, 1)
