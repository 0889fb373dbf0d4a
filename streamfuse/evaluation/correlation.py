"""SCD, the sum of the correlations of differences: what the fused image adds to one source should look like the other.

Aslantas and Bendes, "A new image quality metric for image fusion: the sum of the correlations of differences",
AEU International Journal of Electronics and Communications 69 (2015), eq. 1 to 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scd(fused: Tensor, thermal: Tensor, visible: Tensor) -> Tensor:
    """r(F - visible, thermal) + r(F - thermal, visible) of N 1 H W on 0..255 -> (N,), from -2 to 2."""
    return correlation(fused - visible, thermal) + correlation(fused - thermal, visible)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's r over all pixels, (N,); 0 where either image is flat, which tells nothing of the other."""
    one, other = (image.flatten(1) - image.flatten(1).mean(1, keepdim=True) for image in (one, other))
    spread = one.square().sum(1) * other.square().sum(1)
    known = spread > 0
    return torch.where(known, (one * other).sum(1) * torch.where(known, spread, 1).rsqrt(), 0)
