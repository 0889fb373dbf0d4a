"""SSIM and multi-scale SSIM losses: the structure of both sources, within windows of 11 pixels.

Structural similarity of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE Trans. Image Processing 13 (2004), in its standard form: Gaussian window of 11 pixels,
sigma 1.5, K = (0.01, 0.03), dynamic range 1, whole windows only. Over scales as in Wang, Simoncelli and Bovik,
"Multiscale structural similarity for image quality assessment", Asilomar 2003.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.term import FusionLoss, Positive, Share
from streamfuse.training.losses.weight_block import Weights, thermal_share

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
LEVELS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LEAST = 1e-3
"""Similarities below count as this, since a power of a negative one is none."""
Form = Literal["standard", "published"]


class SSIMLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> 1 - the weighted mean of both similarities.

    0 for three equal images. `weights`, `share`: see `weight_block.thermal_share`. `dynamic_range`: what the formula's
    two constants are multiples of; below 1 faint structure counts more, down to the 2 / 255 of the field's SSIM. An
    image narrower than a window is one window wide.
    """

    def __init__(self, *, weights: Weights = "share", share: Share = 0.5, dynamic_range: Positive = 1.0) -> None:
        super().__init__()
        self.weights: Weights = weights
        self.share, self.dynamic_range = share, dynamic_range

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        share = thermal_share(thermal, visible, self.weights, self.share).flatten()
        scaled = (images / self.dynamic_range for images in (fused, torch.cat((thermal, visible))))
        hot, seen = similarity(*scaled).mean(dim=(1, 2, 3)).chunk(2)
        return 1 - (share * hot + (1 - share) * seen).mean()


class MSSSIMLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> 1 - weighted mean of both multi-scale similarities.

    0 for three equal images. `weights`, `share`: see `weight_block.thermal_share`. `form`: standard, with as many of
    the five levels as whole windows fit (all from 176 pixels on), their exponents re-normalised to sum 1; or published,
    the deviating one that NestFuse, Res2Fusion and UNFusion are trained with (`published_ms_similarity`).
    """

    def __init__(self, *, form: Form = "standard", weights: Weights = "share", share: Share = 0.5) -> None:
        super().__init__()
        self.weights: Weights = weights
        self.share = share
        self.alike = ms_similarity if form == "standard" else published_ms_similarity

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        share = thermal_share(thermal, visible, self.weights, self.share).flatten()
        hot, seen = self.alike(fused, torch.cat((thermal, visible))).chunk(2)
        return 1 - (share * hot + (1 - share) * seen).mean()


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """SSIM at every whole window of two images N 1 H W: N 1 H-10 W-10, each in [-1, 1].

    `other` may hold several images for each of `one`, batch after batch; so may it below.
    """
    brightness, contrast = similarities(one, other)
    return brightness * contrast


def similarities(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at every whole window: of means; of contrast and structure.

    Second moments are taken around each image's mean, which changes nothing but the rounding: a mean of squares less a
    squared mean would lose what flat images have, and all of it in TF32.
    """
    times = (len(other) // len(one), 1, 1, 1)
    middle_one, middle_other = (image.detach().mean(dim=(-2, -1), keepdim=True) for image in (one, other))
    one, other = one - middle_one, other - middle_other
    mean_one, squares_one = (mean.repeat(times) for mean in blurred(torch.cat((one, one * one))).chunk(2))
    mean_other, squares_other = blurred(torch.cat((other, other * other))).chunk(2)
    covariance = blurred(one.repeat(times) * other) - mean_one * mean_other
    variances = squares_one - mean_one**2 + squares_other - mean_other**2
    mean_one, mean_other = mean_one + middle_one.repeat(times), mean_other + middle_other
    brightness = (2 * mean_one * mean_other + C1) / (mean_one**2 + mean_other**2 + C1)
    return brightness, (2 * covariance + C2) / (variances + C2)


def ms_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Of each pair of images N 1 H W: contrast and structure over all levels, brightness at the coarsest; N values."""
    fitting = 1 + int(math.log2(max(1, min(one.shape[-2:]) / WINDOW)))
    exponents = LEVELS[:fitting]
    levels = [level.mean(dim=(2, 3, 4)).clamp(min=LEAST) for level in pyramid(one, other, len(exponents))]
    finest = [contrast for _, contrast in levels[:-1]]
    factors = zip([*finest, levels[-1][0]], exponents, strict=True)
    powers = [value ** (exponent / sum(exponents)) for value, exponent in factors]
    return torch.stack(powers).prod(dim=0)


def published_ms_similarity(one: Tensor, other: Tensor) -> Tensor:
    """As in the code of the three hosts: means over the whole batch, mapped from [-1, 1] to [0, 1] before the powers,
    and the coarsest SSIM's power in the product four times, once for each finer level. One value for each batch.

    Theirs guesses the dynamic range from the data; here it is 1. Below 176 pixels, coarse windows shrink.
    """
    fitting = 1 + int(math.log2(min(one.shape[-2:])))
    batches = len(other) // len(one)
    levels = [
        (level.view(2, batches, -1).mean(dim=2) + 1) / 2 for level in pyramid(one, other, min(len(LEVELS), fitting))
    ]
    coarsest = levels[-1][0] ** LEVELS[-1]
    powers = [level[1] ** exponent * coarsest for level, exponent in zip(levels[:-1], LEVELS[:-1], strict=False)]
    return torch.stack(powers or [coarsest]).prod(dim=0)


def pyramid(one: Tensor, other: Tensor, levels: int) -> list[Tensor]:
    """At each level, half the size of the one before by 2 x 2 means: SSIM and its contrast factor, 2 N 1 h w."""
    found: list[Tensor] = []
    for level in range(levels):
        if level:
            one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
        brightness, contrast = similarities(one, other)
        found.append(torch.stack((brightness * contrast, contrast)))
    return found


def blurred(images: Tensor) -> Tensor:
    """Gaussian means over whole windows: N 1 H W -> N 1 H-10 W-10.

    As two products with band matrices: on a CPU ten times as fast as a convolution of one channel, backwards too.
    """
    return window_matrix(images, images.shape[-2]) @ images @ window_matrix(images, images.shape[-1]).T


def window_matrix(like: Tensor, length: int) -> Tensor:
    """(length - 10) x length: row k holds the window that starts at pixel k; one row where the image is no longer."""
    window = min(WINDOW, length)
    start = torch.arange(length - window + 1, device=like.device)[:, None]
    place = torch.arange(length, device=like.device) - start
    distance = (place - (window - 1) / 2).to(like.dtype)
    weights = torch.exp(-(distance**2) / (2 * SIGMA**2)) * ((place >= 0) & (place < window))
    return weights / weights.sum(dim=1, keepdim=True)
