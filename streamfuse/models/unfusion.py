"""UNFusion: densely nested encoder and decoder of four scales, fused by Lp-normalised attention.

Wang, Wang, Wu, Xu, Zhang, "UNFusion: A Unified Multi-Scale Densely Connected Network for Infrared and Visible Image
Fusion", IEEE Trans. Circuits and Systems for Video Technology 32 (2022). 15 683 097 parameters: strided convolutions
stand only where their output is used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamfuse.models.attention import unfusion_rule
from streamfuse.models.autoencoder import Autoencoder, Features, convolution, linear, start_alive


class UNFusion(Autoencoder):
    """`norm` of the attention: l1, l2 or max. Names are the paper's: c = convolution, e and d by scale and depth."""

    smallest = 16

    def __init__(self, norm: str = "l1") -> None:
        super().__init__(unfusion_rule(norm))
        self.c1, self.c2, self.c3, self.c4 = (convolution(a, b) for a, b in ((1, 16), (16, 32), (32, 48), (48, 64)))
        self.e20, self.e30, self.e31 = encoder(48, 64), encoder(80, 96), encoder(208, 256)
        self.e40, self.e41, self.e42 = encoder(112, 128), encoder(288, 304), encoder(752, 1024)
        halved = {"c1": 16, "c2": 32, "c3": 48, "e20": 64, "e30": 96, "e31": 256}
        self.down = nn.ModuleDict({name: convolution(width, width, stride=2) for name, width in halved.items()})
        self.d30, self.d20, self.d21 = decoder(1280, 256), decoder(320, 64), decoder(384, 64)
        self.d10, self.d11, self.d12 = decoder(80, 16), decoder(96, 16), decoder(112, 16)
        self.last = linear(16, 1, kernel=1)
        start_alive(self, self.last)

    def encode(self, image: Tensor) -> Features:
        c1 = self.c1(image)
        half1 = self.down["c1"](c1)
        c2 = self.c2(half1)
        e20 = self.e20(stacked(half1, c2))
        half2 = self.down["c2"](c2)
        c3 = self.c3(half2)
        e30 = self.e30(stacked(half2, c3))
        e31 = self.e31(stacked(self.down["e20"](e20), c3, e30))
        half3 = self.down["c3"](c3)
        c4 = self.c4(half3)
        e40 = self.e40(stacked(half3, c4))
        e41 = self.e41(stacked(self.down["e30"](e30), c4, e40))
        e42 = self.e42(stacked(self.down["e31"](e31), c4, e40, e41))
        return c1, e20, e31, e42

    def decode(self, features: Features) -> Tensor:
        f1, f2, f3, f4 = features
        d30 = self.d30(stacked(f3, doubled(f4, f3)))
        d20 = self.d20(stacked(f2, doubled(f3, f2)))
        d21 = self.d21(stacked(f2, d20, doubled(d30, f2)))
        d10 = self.d10(stacked(f1, doubled(f2, f1)))
        d11 = self.d11(stacked(f1, d10, doubled(d20, f1)))
        return self.last(self.d12(stacked(f1, d10, d11, doubled(d21, f1))))


def encoder(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 to half the input's channels, then 3x3."""
    return nn.Sequential(convolution(inputs, inputs // 2, kernel=1), convolution(inputs // 2, outputs))


def decoder(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 to half the input's channels, then 3x3."""
    return nn.Sequential(convolution(inputs, inputs // 2), convolution(inputs // 2, outputs))


def stacked(*features: Tensor) -> Tensor:
    return torch.cat(features, dim=1)


def doubled(coarse: Tensor, like: Tensor) -> Tensor:
    """Enlarged bilinearly to twice the size; a row or column that halving had rounded up is cut."""
    double = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    return double[..., : like.shape[-2], : like.shape[-1]]
