"""Contrast of one image, in grey levels of 0..255: spread (SD), spatial frequency (SF), average gradient (AG).

The GPU toolkits of the field work on 0..1, where SF reads about 0.05 rather than 12. SF: Eskicioglu and Fisher, "Image
quality measures and their performance", IEEE Trans. Communications 43 (1995), eq. 21; AG: Cui, Feng, Xu, Li and Chen,
"Detail preserved fusion of visible and infrared images", Optics Communications 341 (2015).
"""

from __future__ import annotations

import torch
from torch import Tensor


def standard_deviation(image: Tensor) -> Tensor:
    """SD of N 1 H W on 0..255 -> (N,), over all pixels (divided by their number)."""
    return safe_root(image.flatten(1).var(dim=1, correction=0))


def spatial_frequency(image: Tensor) -> Tensor:
    """SF of N 1 H W on 0..255 -> (N,): root of the mean squares of both neighbour differences."""
    rows, columns = image.diff(dim=-2), image.diff(dim=-1)
    return safe_root(rows.square().flatten(1).mean(1) + columns.square().flatten(1).mean(1))


def average_gradient(image: Tensor) -> Tensor:
    """AG of N 1 H W on 0..255 -> (N,): mean of |gradient| / sqrt 2, central differences, one-sided at the border."""
    down, across = slopes(image, -2), slopes(image, -1)
    return safe_root((down.square() + across.square()) / 2).flatten(1).mean(1)


def slopes(image: Tensor, dim: int) -> Tensor:
    """Central differences along `dim`, one-sided at both ends, same shape."""
    steps = image.diff(dim=dim)
    first, last = steps.narrow(dim, 0, 1), steps.narrow(dim, steps.shape[dim] - 1, 1)
    inner = (steps.narrow(dim, 0, steps.shape[dim] - 1) + steps.narrow(dim, 1, steps.shape[dim] - 1)) / 2
    return torch.cat((first, inner, last), dim=dim)


def safe_root(squares: Tensor) -> Tensor:
    """Square root whose gradient at exactly 0 is 0 rather than infinite."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)
