"""Res2Fusion: an encoder of two Res2Net blocks at full resolution, fused by double non-local attention.

Wang, Wu, Wang, Chen, Xu, "Res2Fusion: Infrared and Visible Image Fusion Based on Dense Res2net and Double Nonlocal
Attention Models", IEEE Trans. Instrumentation and Measurement 71 (2022). 98 341 parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamfuse.models.attention import res2fusion_rule
from streamfuse.models.autoencoder import Autoencoder, Features, convolution, linear, start_alive


class Res2Fusion(Autoencoder):
    """`queries` of the spatial attention: "full", one for every pixel as published, or "coarse", one for 8x8."""

    def __init__(self, queries: str = "full") -> None:
        super().__init__(res2fusion_rule(coarse=queries == "coarse"))
        self.first = convolution(1, 16)
        self.second = Res2Block(16, 32, width=4)
        self.third = Res2Block(48, 64, width=8)
        self.decoder = nn.Sequential(convolution(112, 64), convolution(64, 32), convolution(32, 16))
        self.last = linear(16, 1)
        start_alive(self, self.last)

    def encode(self, image: Tensor) -> Features:
        first: Tensor = self.first(image)
        both = torch.cat((first, self.second(first)), dim=1)
        return (torch.cat((both, self.third(both)), dim=1),)

    def decode(self, features: Features) -> Tensor:
        return self.last(self.decoder(features[0]))


class Res2Block(nn.Module):
    """Four groups of channels; three pass 3x3 convolutions one after the other, each with the result before it."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.narrow = convolution(inputs, 4 * width, kernel=1)
        self.steps = nn.ModuleList(convolution(width, width) for _ in range(3))
        self.widen = nn.Conv2d(4 * width, outputs, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        groups: tuple[Tensor, ...] = self.narrow(features).split(self.width, dim=1)
        done: list[Tensor] = []
        for step, group in zip(self.steps, groups[:3], strict=True):
            done.append(step(done[-1] + group if done else group))
        return F.relu(self.widen(torch.cat((*done, groups[3]), dim=1)) + self.shortcut(features))
