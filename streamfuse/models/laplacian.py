"""Laplacian pyramid fusion: at every scale the stronger detail wins, the coarsest level is averaged.

Pyramid of Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", IEEE Trans. Communications 31 (1983),
with their binomial kernel (1 4 6 4 1) / 16; choice of the larger absolute coefficient as in Burt and Kolczynski,
"Enhanced image capture through fusion", ICCV 1993, with a window of one pixel. No weights, nothing to train.

The blurs are written as sums of shifted slices rather than as convolutions: on a CPU a convolution of one channel
costs several times as much. Borders are replicated, so that any size works, 1 x 1 included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LaplacianPyramid(nn.Module):
    """`levels` in all: levels - 1 of detail and the averaged base."""

    def __init__(self, levels: int = 5) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        pair = torch.cat((thermal, visible), dim=1)
        return fuse_pyramids(pair, self.levels - 1).clamp(0, 1)


def fuse_pyramids(pair: Tensor, details: int) -> Tensor:
    """N 2 H W -> N 1 H W, with so many levels of detail above the averaged base."""
    if details == 0:
        return pair.mean(dim=1, keepdim=True)
    coarse = halve(pair)
    size = (pair.shape[-2], pair.shape[-1])
    return double(fuse_pyramids(coarse, details - 1), size) + stronger(pair - double(coarse, size))


def stronger(pair: Tensor) -> Tensor:
    """N 2 H W -> N 1 H W: of both values the one of larger magnitude; opposite ones of equal magnitude cancel.

    (a + b + sign(a + b) |a - b|) / 2, since a choice by mask costs three times as much on a CPU.
    """
    a, b = pair[:, :1], pair[:, 1:]
    total = a + b
    return (total + torch.sign(total) * (a - b).abs()) * 0.5


def halve(image: Tensor) -> Tensor:
    """Blurred by (1 4 6 4 1) / 16 in both directions and every second pixel taken, from the first on."""
    rows, columns = (image.shape[-2] + 1) // 2, (image.shape[-1] + 1) // 2
    padded = _padded(image, (2, 3, 2, 2))
    blurred = _binomial([padded[..., k : k + 2 * rows - 1 : 2, :] for k in range(5)])
    # every second column is taken once, not once for each tap: columns are dear, rows are not
    alternate = blurred[..., 0::2], blurred[..., 1::2]
    taps = [alternate[k % 2][..., k // 2 : k // 2 + columns] for k in range(5)]
    return _binomial(taps) * (1 / 256)


def double(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The image at twice the size, cut to `size` (height, width): zeros between the pixels, then the same blur x 4."""
    wide = _interleaved(_padded(image, (1, 1, 0, 0)), -1)[..., : size[1]]
    return _interleaved(_padded(wide, (0, 0, 1, 1)), -2)[..., : size[0], :]


def _binomial(taps: list[Tensor]) -> Tensor:
    """16 times the blurred value: a + 4 b + 6 c + 4 d + e."""
    a, b, c, d, e = taps
    return torch.add(torch.add(a + e, b + d, alpha=4), c, alpha=6)


def _interleaved(padded: Tensor, dim: int) -> Tensor:
    """Twice as long along `dim`: on the pixels (1 6 1) / 8, between them (4 4) / 8. One pixel of padding each side."""
    length = padded.shape[dim] - 2
    before, here, after = (padded.narrow(dim, k, length) for k in range(3))
    on = (before + after) * (1 / 8) + here * (6 / 8)
    between = (here + after) * 0.5
    # stacked in front and moved: a copy by columns is twice as fast as stacking pixel by pixel
    return torch.stack((on, between)).movedim(0, dim).flatten(dim - 1, dim)


def _padded(image: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    return F.pad(image, sides, mode="replicate")
