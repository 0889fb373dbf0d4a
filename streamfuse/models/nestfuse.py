"""NestFuse: encoder of four scales, nest-connected decoder, fused by channel and spatial attention.

Li, Wu and Durrani, "NestFuse: An Infrared and Visible Image Fusion Architecture Based on Nest Connection and
Spatial/Channel Attention Models", IEEE Trans. Instrumentation and Measurement 69 (2020). 2 732 761 parameters; without
the heads for deep supervision, which the paper does not use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamfuse.models.attention import POOLS, nestfuse_rule
from streamfuse.models.autoencoder import Autoencoder, Features, convolution, linear, start_alive

WIDTHS = (64, 112, 160, 208)
"""Channels at scale 1, 1/2, 1/4, 1/8."""


class NestFuse(Autoencoder):
    """`pool`, what a channel's weight is: its average (published default), its maximum or its nuclear norm."""

    smallest = 16

    def __init__(self, pool: str = "average") -> None:
        super().__init__(nestfuse_rule(POOLS[pool]))
        w1, w2, w3, w4 = WIDTHS
        self.first = convolution(1, 16, kernel=1)
        self.encoders = nn.ModuleList(block(a, b) for a, b in zip((16, w1, w2, w3), WIDTHS, strict=True))
        self.d11, self.d21, self.d31 = block(w1 + w2, w1), block(w2 + w3, w2), block(w3 + w4, w3)
        self.d12, self.d22 = block(2 * w1 + w2, w1), block(2 * w2 + w3, w2)
        self.d13 = block(3 * w1 + w2, w1)
        self.last = linear(w1, 1, kernel=1)
        start_alive(self, self.last)

    def encode(self, image: Tensor) -> Features:
        seen: Tensor = self.first(image)
        features: list[Tensor] = []
        for index, encoder in enumerate(self.encoders):
            seen = encoder(F.max_pool2d(seen, 2) if index else seen)
            features.append(seen)
        return tuple(features)

    def decode(self, features: Features) -> Tensor:
        e1, e2, e3, e4 = features
        d11, d21, d31 = self.d11(joined([e1], e2)), self.d21(joined([e2], e3)), self.d31(joined([e3], e4))
        d12, d22 = self.d12(joined([e1, d11], d21)), self.d22(joined([e2, d21], d31))
        return self.last(self.d13(joined([e1, d11, d12], d22)))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 to half the input's channels, then 1x1."""
    return nn.Sequential(convolution(inputs, inputs // 2), convolution(inputs // 2, outputs, kernel=1))


def joined(skips: list[Tensor], coarse: Tensor) -> Tensor:
    """The skips and the coarser features, repeated 2x2 and, where pooling had dropped a row or column, reflected."""
    doubled = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
    height, width = skips[0].shape[-2:]
    lacking = (0, width - doubled.shape[-1], 0, height - doubled.shape[-2])
    return torch.cat([*skips, F.pad(doubled, lacking, mode="reflect")], dim=1)
