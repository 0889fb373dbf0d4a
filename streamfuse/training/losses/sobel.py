"""Slopes of images, their smoothing and halving, which the gradient losses share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.evaluation.edges import Border, framed


def gradients(images: Tensor, border: Border = "replicate") -> Tensor:
    """N 1 H W -> N 2 H W: Sobel slope along x and y in brightness per pixel (the kernels' sum, divided by 8).

    `border`: replicate has no slope across the border; zero sees a step to black there, as a zero-padded convolution.
    Written as differences of slices: on a CPU a convolution of one channel costs six times as much.
    """
    padded = framed(images, border)
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    along_x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    along_y = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return torch.cat((along_x, along_y), dim=1) / 8


def length(vectors: Tensor, softness: float = 1e-3) -> Tensor:
    """N 2 H W -> N 1 H W, rounded off below `softness` so that its slope exists at zero, and exactly 0 there."""
    return torch.sqrt((vectors**2).sum(dim=1, keepdim=True) + softness**2) - softness


def halved(images: Tensor) -> Tensor:
    """Half the size (rounded up) by area; an odd border is continued."""
    height, width = images.shape[-2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def low_passed(images: Tensor) -> Tensor:
    """The binomial mean of each pixel's 3 x 3 neighbourhood (1 2 1 along both axes), borders replicated."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    along = (padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4
    return (along[..., :-2, :] + 2 * along[..., 1:-1, :] + along[..., 2:, :]) / 4
