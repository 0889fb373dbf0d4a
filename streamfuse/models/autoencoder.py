"""What the three fusing autoencoders have in common: encode both images, merge the features, decode what came of it.

Such a network learns to reproduce one image (`reconstruct`); fusion happens between encoder and decoder by a rule
without parameters that training never sees. Any size works: images smaller than the deepest scale needs are continued
to the right and below, and cut again.

The published networks work on grey levels 0..255. Here features are 255 times smaller: a network of convolutions and
ReLUs does the same with its biases divided by 255, and what is not proportional (softmax, epsilons) has the factor in
`attention.py`. Half precision is then far from its limits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Features = tuple[Tensor, ...]
Rule = Callable[[Tensor, Tensor], Tensor]
"""Features of thermal and visible, each N C H W and >= 0 -> fused features of that shape."""


class Autoencoder(nn.Module, ABC):
    """Training recognises these by `isinstance(network, Autoencoder)` and trains `reconstruct` instead of `forward`.

    Outputs are clamped to [0, 1]; the clamp is also the ReLU that the publications have after the last layer. In
    training mode there is none: a loss has to see how far outside a pixel lies to bring it back.
    """

    smallest = 2
    """Pixels along each side that the encoder needs: reflection padding takes two at the deepest scale."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    @abstractmethod
    def encode(self, image: Tensor) -> Features:
        """N 1 H W -> the features that are fused, finest scale first."""

    @abstractmethod
    def decode(self, features: Features) -> Tensor:
        """Features -> N 1 H W, not yet limited to [0, 1]."""

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        """Thermal and visible N 1 H W in [0, 1] -> fused, the same."""
        pairs = zip(self.encode(self._enough(thermal)), self.encode(self._enough(visible)), strict=True)
        return self._image(tuple(self.rule(*pair) for pair in pairs), thermal)

    def reconstruct(self, image: Tensor) -> Tensor:
        """N 1 H W in [0, 1] -> the same image once more, as far as the network has learned it."""
        return self._image(self.encode(self._enough(image)), image)

    def _enough(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if min(height, width) >= self.smallest:
            return image
        lacking = (0, max(0, self.smallest - width), 0, max(0, self.smallest - height))
        return F.pad(image, lacking, mode="replicate")

    def _image(self, features: Features, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        image = self.decode(features)[..., :height, :width]
        return image if self.training else image.clamp(0, 1)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Reflection-padded convolution and ReLU; size kept, or at stride 2 halved and rounded up."""
    return nn.Sequential(linear(inputs, outputs, kernel, stride), nn.ReLU())


def linear(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """`convolution` without its ReLU."""
    padding = kernel // 2
    mode = "reflect" if padding else "zeros"
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, padding_mode=mode)


def start_alive(network: nn.Module, last: nn.Conv2d) -> None:
    """He's initialisation, which keeps the size of what passes a ReLU; the image starts as a varied middle grey."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            _fill_bias(module, 0.0)
    with torch.no_grad():
        last.weight *= 0.1
    _fill_bias(last, 0.5)


def _fill_bias(module: nn.Conv2d, value: float) -> None:
    if module.bias is not None:
        nn.init.constant_(module.bias, value)
