"""Where a lamp blinds the visible camera in front of something warm: less of the visible image, so that it shows.

White cannot be brightened: whatever a network adds to a blown-out spot is cut off, and the rider behind the headlight
is gone. There, and only there, less of the visible image is taken: where it is (nearly) white and smooth, and the
thermal image is warmer than on average and not smooth. A bright sky is cold in thermal, and a small lamp is not smooth:
both stay as they are. Nothing here is learnt. All of it is done on cells of 8 x 8 pixels, for the sake of its cost.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 4
"""Half-resolution pixels to a cell, along each side."""
WHITE = (0.9, 0.98)
"""From where on the visible image counts as blown out, and where it does fully."""
DARKENED = 0.35
"""So much of the visible image is taken away where all conditions hold fully."""
WARMER = (0.02, 0.06)
"""Than the whole thermal image's mean, of 1: from where on a cell counts as warm, and where it does fully."""
ROUGH = 1 / 40
"""So much more texture (mean deviation, of 1) than the visible image has counts fully."""
REACH = 9
"""Cells of the square that is darkened around what is warm: what stands out needs surroundings to stand out from."""
ENOUGH = 1 / 8
"""Share of that square that must be hidden for its middle to be darkened fully: a target is smaller than the square."""
SOFT = 5
"""Cells over which the shade fades."""


class Glare(nn.Module):
    """How much of the visible image to keep: phases N 8 h w -> N 1 h w in [1 - DARKENED, 1]; h, w whole cells."""

    enlarging: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([[0.375, 0.625, 0.0], [0.125, 0.875, 0.0], [0.0, 0.875, 0.125], [0.0, 0.625, 0.375]])
        kernels = torch.einsum("py,qx->pqyx", taps, taps).reshape(CELL * CELL, 1, 3, 3)
        self.register_buffer("enlarging", kernels, persistent=False)

    def forward(self, phases: Tensor) -> Tensor:
        cells = cast(Tensor, F.avg_pool2d(phases, CELL).unflatten(1, (2, 4))).mean(dim=2)
        kept = 1 - DARKENED * shade(cells)
        # bilinear, as one convolution: on a CPU a fraction of the cost of an interpolation
        return F.pixel_shuffle(F.conv2d(F.pad(kept, (1, 1, 1, 1), mode="replicate"), self.enlarging), CELL)


def shade(cells: Tensor) -> Tensor:
    """Where something warm is hidden by glare: thermal and visible cells N 2 h w -> N 1 h w in [0, 1]."""
    means = around(cells, (3, 3))
    # mean deviation from the surroundings, as exact in a short mantissa as a variance would not be
    texture = around((cells - means).abs(), (3, 3))
    blown = _ramp(cells[:, 1:], *WHITE)
    hidden = _ramp(texture[:, :1] - texture[:, 1:], 0, ROUGH)
    hot = _ramp(means[:, :1] - cells[:, :1].mean(dim=(2, 3), keepdim=True), *WARMER)
    near = around(around(blown * hidden * hot, (REACH, 1)), (1, REACH))
    return around(blown * _ramp(near, 0, ENOUGH), (SOFT, SOFT))


def around(cells: Tensor, sides: tuple[int, int]) -> Tensor:
    """Mean over a window of `sides` (height, width) cells, of those that there are."""
    half = (sides[0] // 2, sides[1] // 2)
    return F.avg_pool2d(cells, sides, stride=1, padding=half, count_include_pad=False)


def _ramp(cells: Tensor, start: float, end: float) -> Tensor:
    """0 up to `start`, 1 from `end` on, a line between."""
    return ((cells - start) / (end - start)).clamp(0, 1)
