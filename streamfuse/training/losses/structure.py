"""SSIM loss: the structure of both sources, within windows of 11 pixels.

Structural similarity of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE Trans. Image Processing 13 (2004), in its standard form: Gaussian window of 11 pixels,
sigma 1.5, K = (0.01, 0.03), dynamic range 1, whole windows only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamfuse.training.losses.term import FusionLoss

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


class SSIMLoss(FusionLoss):
    """forward(fused, thermal, visible), all N 1 H W in [0, 1] -> 1 - mean of both similarities.

    0 for three equal images. Raises ValueError for images smaller than a window.
    """

    def cost(self, fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
        return 1 - (similarity(fused, thermal).mean() + similarity(fused, visible).mean()) / 2


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """SSIM at every whole window of two images N 1 H W: N 1 H-10 W-10, each in [-1, 1]."""
    if min(one.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} x {WINDOW}, found {one.shape[-1]} x {one.shape[-2]}")
    mean_one, mean_other, squares_one, squares_other, product = blurred(
        torch.cat((one, other, one * one, other * other, one * other))
    ).chunk(5)
    covariance = product - mean_one * mean_other
    variances = squares_one - mean_one**2 + squares_other - mean_other**2
    brightness = (2 * mean_one * mean_other + C1) / (mean_one**2 + mean_other**2 + C1)
    return brightness * (2 * covariance + C2) / (variances + C2)


def blurred(images: Tensor) -> Tensor:
    """Gaussian means over whole windows: N 1 H W -> N 1 H-10 W-10.

    As two products with band matrices: on a CPU ten times as fast as a convolution of one channel, backwards too.
    """
    return window_matrix(images, images.shape[-2]) @ images @ window_matrix(images, images.shape[-1]).T


def window_matrix(like: Tensor, length: int) -> Tensor:
    """(length - 10) x length: row k holds the window that starts at pixel k."""
    start = torch.arange(length - WINDOW + 1, device=like.device)[:, None]
    distance = (torch.arange(length, device=like.device) - start - WINDOW // 2).to(like.dtype)
    weights = torch.exp(-(distance**2) / (2 * SIGMA**2)) * (distance.abs() <= WINDOW // 2)
    return weights / weights.sum(dim=1, keepdim=True)
