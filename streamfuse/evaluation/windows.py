"""Sliding windows over whole images: separable filters, whole windows only. Knows nothing of what they are for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 32
"""Outputs that one row of a matrix product makes; a filter of one channel is several times slower as a convolution."""


def gaussian(size: int, sigma: float) -> Tensor:
    """`size` weights that add up to 1, float64."""
    distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(distance**2) / (2 * sigma**2))
    return weights / weights.sum()


def uniform(size: int) -> Tensor:
    """`size` equal weights that add up to 1, float64."""
    return torch.full((size,), 1 / size, dtype=torch.float64)


def filtered(images: Tensor, weights: Tensor) -> Tensor:
    """N C H W -> N C H-k+1 W-k+1 for k weights, the same ones along rows and columns.

    Raises ValueError for images smaller than the window.
    """
    size = len(weights)
    if min(images.shape[-2:]) < size:
        raise ValueError(f"needs images of at least {size} x {size}, found {images.shape[-1]} x {images.shape[-2]}")
    matrix = _band(weights.to(images))
    rows = _pieces(images, -2, size).movedim(-1, -2)  # N C pieces BLOCK+k-1 W
    columns = (matrix.T @ rows).flatten(2, 3)[..., : images.shape[-2] - size + 1, :]
    return (_pieces(columns, -1, size) @ matrix).flatten(-2)[..., : images.shape[-1] - size + 1]


def _pieces(images: Tensor, dim: int, size: int) -> Tensor:
    """Overlapping stretches along `dim`, each long enough for BLOCK whole windows; the last one filled with zeros."""
    outputs = images.shape[dim] - size + 1
    missing = -outputs % BLOCK
    padded = F.pad(images, (0, missing) if dim == -1 else (0, 0, 0, missing))
    return padded.unfold(dim, BLOCK + size - 1, BLOCK)


def _band(weights: Tensor) -> Tensor:
    """(BLOCK + k - 1) x BLOCK: column j holds the weights from row j on."""
    matrix = weights.new_zeros(BLOCK + len(weights) - 1, BLOCK)
    for column in range(BLOCK):
        matrix[column : column + len(weights), column] = weights
    return matrix
