"""SSIM and MS-SSIM against both sources.

Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
Trans. Image Processing 13 (2004); Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
assessment", Asilomar 2003.

The field prints SSIM with a dynamic range of 2 on 0..255 images and summed over the sources, because its code once got
that range by default; "SSIM 1.00" is this. With the true range and the average (`range_=255, over="mean"`, our column
SSIM255) the same images read about 0.7.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.evaluation.windows import Weights, filtered, gaussian, uniform

Over = Literal["sum", "mean"]
WINDOW = 7
GAUSSIAN_WINDOW, SIGMA = 11, 1.5
LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
K1, K2 = 0.01, 0.03


def ssim(fused: Tensor, thermal: Tensor, visible: Tensor, range_: float = 2.0, over: Over = "sum") -> Tensor:
    """SSIM of N 1 H W on 0..255 -> (N,): uniform window of 7, sample covariance, whole windows only.

    Raises ValueError for images smaller than a window.
    """
    return _over(ssim_of_each(fused, thermal, visible, (range_,))[0], over)


def ssim_of_each(fused: Tensor, thermal: Tensor, visible: Tensor, ranges: tuple[float, ...]) -> list[Tensor]:
    """SSIM of the fused image against thermal and against visible, (N, 2) for each dynamic range."""
    moments = _moments(fused, torch.cat((thermal, visible), dim=1), uniform(WINDOW))
    sample = WINDOW**2 / (WINDOW**2 - 1)
    return [(_brightness(moments, range_) * _structure(moments, range_, sample)).mean(dim=(2, 3)) for range_ in ranges]


def ms_ssim(fused: Tensor, thermal: Tensor, visible: Tensor, over: Over = "mean", range_: float = 255.0) -> Tensor:
    """MS-SSIM of N 1 H W on 0..255 -> (N,): Gaussian window of 11, 5 scales, averaged over the sources.

    Images under 176 pixels a side have fewer scales, their weights scaled to the same sum. Raises ValueError for
    images smaller than a window.
    """
    sources = torch.cat((thermal, visible), dim=1)
    weights = LEVEL_WEIGHTS[: levels_for(min(fused.shape[-2:]))]
    exponents = [weight / sum(weights) * sum(LEVEL_WEIGHTS) for weight in weights]
    product = torch.ones_like(sources[:, :, 0, 0])
    window = gaussian(GAUSSIAN_WINDOW, SIGMA)
    for level, exponent in enumerate(exponents):
        if level:
            fused, sources = halved(fused), halved(sources)
        moments = _moments(fused, sources, window)
        similar = _structure(moments, range_)
        if level == len(exponents) - 1:
            similar = similar * _brightness(moments, range_)
        product = product * _power(similar.mean(dim=(2, 3)), exponent)
    return _over(product, over)


def levels_for(side: int) -> int:
    """How many scales hold a whole window for images with this smallest side: at most 5."""
    if side < GAUSSIAN_WINDOW:
        raise ValueError(f"MS-SSIM needs images of {GAUSSIAN_WINDOW} pixels a side or more, found {side}")
    return min(len(LEVEL_WEIGHTS), (side // GAUSSIAN_WINDOW).bit_length())


def halved(images: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; an odd side is first given a border of zeros, as the field's package does."""
    rows, columns = images.shape[-2:]
    return F.avg_pool2d(images, 2, padding=(rows % 2, columns % 2))


_Moments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _moments(fused: Tensor, sources: Tensor, window: Weights) -> _Moments:
    """Local means and variances of fused (N 1 ..) and sources (N 2 ..), and their covariances (N 2 ..)."""
    images = torch.cat((fused, sources), dim=1)
    # variances do not depend on the mean; without it they lose fewer digits
    middle = images.mean(dim=(2, 3), keepdim=True).detach()
    images = images - middle
    stack = torch.cat((images, images.square(), images[:, :1] * images[:, 1:]), dim=1)
    local = filtered(stack, window)
    means, squares, products = local[:, :3], local[:, 3:6], local[:, 6:]
    variances = (squares - means.square()).clamp_min(0)
    covariances = products - means[:, :1] * means[:, 1:]
    means = means + middle
    return means[:, :1], means[:, 1:], variances[:, :1], variances[:, 1:], covariances


def _brightness(moments: _Moments, range_: float) -> Tensor:
    fused, sources = moments[:2]
    floor = (K1 * range_) ** 2
    return (2 * fused * sources + floor) / (fused.square() + sources.square() + floor)


def _structure(moments: _Moments, range_: float, sample: float = 1.0) -> Tensor:
    """Contrast and structure in one; `sample` turns covariances into unbiased ones."""
    fused, sources, covariances = moments[2:]
    floor = (K2 * range_) ** 2
    return (2 * sample * covariances + floor) / (sample * (fused + sources) + floor)


def _power(value: Tensor, exponent: float) -> Tensor:
    """0 for what is not above 0, without the infinite gradient there."""
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1).pow(exponent), 0)


def _over(each: Tensor, over: Over) -> Tensor:
    return each.sum(1) if over == "sum" else each.mean(1)
