"""The residual dense network: both images in, one out, no fusion rule; in three sizes.

After Li, Liu, Zhou, Zhang, Kasabov, "Infrared and visible image fusion based on residual dense network and gradient
loss", Infrared Physics and Technology 128 (2023), whose abstract names the parts; layers and widths are those of the
residual dense network it builds on (Zhang et al., CVPR 2018) without the enlargement. Borders are replicated, so that
no dark rim appears and any size works.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualDense(nn.Module):
    """forward(thermal, visible) -> fused, all N 1 H W in [0, 1], any H and W.

    `width` channels run through `blocks` residual dense blocks of `layers` convolutions that add `growth` each.
    """

    def __init__(self, width: int, growth: int, blocks: int, layers: int) -> None:
        super().__init__()
        self.shallow = convolution(2, width)
        self.deeper = convolution(width, width)
        self.blocks = nn.ModuleList(DenseBlock(width, growth, layers) for _ in range(blocks))
        self.gather = nn.Sequential(nn.Conv2d(blocks * width, width, 1), convolution(width, width))
        self.paint = nn.Sequential(convolution(width, 32), nn.LeakyReLU(0.1), convolution(32, 1), nn.Sigmoid())

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        shallow: Tensor = self.shallow(torch.cat((thermal, visible), dim=1))
        seen: Tensor = self.deeper(shallow)
        depths: list[Tensor] = []
        for block in self.blocks:
            seen = block(seen)
            depths.append(seen)
        return self.paint(self.gather(torch.cat(depths, dim=1)) + shallow)


class DenseBlock(nn.Module):
    """Every convolution sees what all before it made; a 1x1 brings it back to `width`, added to the input."""

    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(width + index * growth, growth) for index in range(layers))
        self.local = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        made = features
        for layer in self.layers:
            made = torch.cat((made, F.relu(layer(made))), dim=1)
        return features + self.local(made)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")


def small() -> ResidualDense:
    """28 249 parameters."""
    return ResidualDense(width=16, growth=8, blocks=3, layers=3)


def medium() -> ResidualDense:
    """138 017 parameters."""
    return ResidualDense(width=32, growth=16, blocks=3, layers=4)


def large() -> ResidualDense:
    """905 793 parameters: the size most likely published."""
    return ResidualDense(width=64, growth=32, blocks=4, layers=5)
