"""VIF, visual information fidelity: how much of what a source shows an observer is still there in the fused image.

Pixel-domain form of Sheikh and Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15 (2006):
4 scales with windows of 17, 9, 5 and 3 pixels (Gaussian, sigma = size / 5), whole windows only, halved between scales
by the next window and every second pixel, variance of the eye's noise 2. This is not the VIFF of Han et al.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from streamfuse.evaluation.windows import Weights, filtered, gaussian

WINDOWS = (17, 9, 5, 3)
NOISE = 2.0
SMALLEST = 41
"""Pixels a side below which the coarsest scale holds no whole window."""


def vif(fused: Tensor, thermal: Tensor, visible: Tensor, over: Literal["sum", "mean"] = "sum") -> Tensor:
    """VIF(thermal, F) + VIF(visible, F) of N 1 H W on 0..255 -> (N,).

    The sum rewards a copy of one source: read `worse_source_vif` beside it. `over="mean"` halves it, as VF-Bench does.
    """
    both = vif_of_each(fused, thermal, visible)
    return both.sum(1) if over == "sum" else both.mean(1)


def worse_source_vif(fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
    """VIF of the source that is kept worse, (N,): a copy of the other source scores near 0."""
    return vif_of_each(fused, thermal, visible).amin(1)


def vif_of_each(fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
    """VIF of the fused image against thermal and against visible, (N, 2); 1 = nothing lost.

    A source without any detail counts as 1. Raises ValueError for images smaller than SMALLEST x SMALLEST.
    """
    if min(fused.shape[-2:]) < SMALLEST:
        raise ValueError(f"VIF needs images of {SMALLEST} x {SMALLEST} or more, found {tuple(fused.shape[-2:])}")
    images = torch.cat((fused, thermal, visible), dim=1)
    # variances do not depend on the mean; without it they lose fewer digits
    images = images - images.mean(dim=(2, 3), keepdim=True).detach()
    kept = told = images.new_zeros(len(images), 2)
    for scale, size in enumerate(WINDOWS):
        window = gaussian(size, size / 5)
        if scale:
            images = filtered(images, window)[..., ::2, ::2]
        kept_here, told_here = _information(images, window)
        kept, told = kept + kept_here, told + told_here
    nothing = 1e-10
    return (kept + nothing) / (told + nothing)


def _information(images: Tensor, window: Weights) -> tuple[Tensor, Tensor]:
    """Information of each source that reaches the eye through the fused image, and by itself: (N, 2) each."""
    variance_fused, variance_sources, covariance = _moments(images, window)
    gain, residue = _channel(variance_fused, variance_sources, covariance)
    kept = torch.log1p(gain.square() * variance_sources / (residue + NOISE))
    told = torch.log1p(variance_sources / NOISE)
    return kept.sum(dim=(2, 3)), told.sum(dim=(2, 3))


def _moments(images: Tensor, window: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Local variance of the fused image (N 1 H' W'), of both sources, and their covariances with it (N 2 H' W')."""
    fused, sources = images[:, :1], images[:, 1:]
    stack = torch.cat((images, images.square(), fused * sources), dim=1)
    local = filtered(stack, window)
    means, squares, products = local[:, :3], local[:, 3:6], local[:, 6:]
    variances = (squares - means.square()).clamp_min(0)
    return variances[:, :1], variances[:, 1:], products - means[:, :1] * means[:, 1:]


def _channel(fused: Tensor, sources: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """F = gain x source + residue: gain is never negative, and 0 where either is flat."""
    # float32 cannot tell smaller variances from rounding, and the eye's noise is far above both
    flat = 1e-10 if fused.dtype == torch.float64 else 1e-2
    gain = covariance / (sources + flat)
    usable = (sources >= flat) & (fused >= flat) & (gain >= 0)
    residue = torch.where(usable, fused - gain * covariance, torch.where(fused >= flat, fused, 0))
    return torch.where(usable, gain, 0), residue.clamp_min(flat)
