"""Fusion rules without parameters: how features of the thermal and the visible image become one.

Each takes two tensors N C H W >= 0 and gives one; images of a batch never see each other. Features are those of
images in [0, 1]; the publications' are 255 times larger, which only exponentials and epsilons notice: GREY_LEVELS
stands where it matters. Ratios, norms and exponentials are computed in float32 at least, since sums over a whole image
leave the range of half precision; the result has the features' type again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

GREY_LEVELS = 255.0
EPS = 1e-5 / GREY_LEVELS
NON_LOCAL_EPS = 1e-10 / GREY_LEVELS
POOL = 8
"""Pixels to one key of the spatial non-local attention, along each side."""
AFFINITIES = 10_000_000
"""Computed at a time, 40 MB; all those of a 640x480 image are 5.5 GiB. Much smaller pieces cost more memory, not less:
what malloc does not map by itself (from 32 MiB on) it finds no room for again between the results."""

Score = Callable[[Tensor], Tensor]


def nestfuse_rule(pool: Score) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of channel attention by `pool` and spatial attention by the mean over channels.

    Li, Wu and Durrani, "NestFuse", IEEE Trans. Instrumentation and Measurement 69 (2020). The published weights
    exp(a) / (exp(a) + exp(b) + eps) are a softmax, here a sigmoid of the difference: no exponential can overflow.
    """

    def fused(thermal: Tensor, visible: Tensor) -> Tensor:
        t, v = _wide(thermal), _wide(visible)
        by_channel = _by_ratio(t, v, pool, EPS)
        by_place = _by_softmax(t, v, lambda features: features.mean(dim=1, keepdim=True))
        return ((by_channel + by_place) * 0.5).to(thermal.dtype)

    return fused


def unfusion_rule(norm: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Channel and spatial attention by normalised L1, L2 or maximum norms, combined where either is strong.

    Wang et al., "UNFusion", IEEE Trans. Circuits and Systems for Video Technology 32 (2022).
    """
    strength = NORMS[norm]

    def channel(features: Tensor) -> Tensor:
        area = 1 if norm == "max" else features.shape[-2] * features.shape[-1]
        return strength(features, (2, 3)) / area

    def place(features: Tensor) -> Tensor:
        return strength(features, (1,)) / features.shape[1]

    def fused(thermal: Tensor, visible: Tensor) -> Tensor:
        t, v = _wide(thermal), _wide(visible)
        by_channel, by_place = _by_ratio(t, v, channel, EPS), _by_softmax(t, v, place)
        return ((by_place**2 + by_channel**2) / (by_place + by_channel + EPS)).to(thermal.dtype)

    return fused


def res2fusion_rule(*, coarse: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Double non-local attention: channels that go together, and places that look alike, support each other.

    Wang et al., "Res2Fusion", IEEE Trans. Instrumentation and Measurement 71 (2022). `coarse`: the spatial attention
    asks once for 8x8 pixels instead of for each, and its answer is enlarged bilinearly: 64 times less work.
    """
    place = coarse_spatial_attention if coarse else spatial_attention

    def fused(thermal: Tensor, visible: Tensor) -> Tensor:
        t, v = _wide(thermal), _wide(visible)
        branches = [_weighted(t, v, attend(t), attend(v), NON_LOCAL_EPS) for attend in (channel_attention, place)]
        return ((branches[0] + branches[1]) * 0.5).to(thermal.dtype)

    return fused


def channel_attention(features: Tensor) -> Tensor:
    """softmax(E) f + f with the affinity of channels E = f f^T, scaled to [0, 1] per image."""
    flat = features.flatten(2)
    affinity = flat @ flat.transpose(1, 2)
    low, high = affinity.amin(dim=(1, 2), keepdim=True), affinity.amax(dim=(1, 2), keepdim=True)
    return (torch.softmax(affinity * _stretch(low, high), dim=2) @ flat).view_as(features) + features


def spatial_attention(features: Tensor) -> Tensor:
    """f + softmax(E) k with k = f averaged over 8x8 pixels and the affinity E = f^T k, scaled to [0, 1] per image."""
    keys = pooled(features).flatten(2)
    queries = features.flatten(2).transpose(1, 2)
    return features + _attended(queries, keys).transpose(1, 2).reshape(features.shape)


def coarse_spatial_attention(features: Tensor) -> Tensor:
    """`spatial_attention` with the keys as its queries; what they are told is enlarged to every pixel."""
    keys = pooled(features)
    told = _attended(keys.flatten(2).transpose(1, 2), keys.flatten(2)).transpose(1, 2).reshape(keys.shape)
    full = (told.shape[-2] * POOL, told.shape[-1] * POOL)
    height, width = features.shape[-2:]
    return features + F.interpolate(told, full, mode="bilinear", align_corners=False)[..., :height, :width]


def pooled(features: Tensor) -> Tensor:
    """Means over 8x8 pixels; what is left over at the right and below counts too."""
    return F.avg_pool2d(features, POOL, ceil_mode=True)


def _attended(queries: Tensor, keys: Tensor) -> Tensor:
    """N Q C and N C K -> N Q C: for every query the mean of the keys, weighted by softmax of the affinity.

    Exact, but never with more than `AFFINITIES` at a time: their extremes are found in a first pass. A softmax does
    not notice what is added to a row, so that only the difference of the extremes matters.
    """
    parts = torch.split(queries, max(1, AFFINITIES // keys.shape[2]), dim=1)
    extremes = [torch.aminmax((part @ keys).flatten(1), dim=1) for part in parts]
    low = torch.stack([one.min for one in extremes]).amin(dim=0)[:, None, None]
    high = torch.stack([one.max for one in extremes]).amax(dim=0)[:, None, None]
    scaled, values = keys * _stretch(low, high), keys.transpose(1, 2)
    return torch.cat([torch.softmax(part @ scaled, dim=2) @ values for part in parts], dim=1)


def _stretch(low: Tensor, high: Tensor) -> Tensor:
    """What makes the range from low to high 1. Where all is equal but for rounding, it stays harmless."""
    smallest = (1e-6 * high).clamp_min(torch.finfo(high.dtype).tiny)
    return 1 / torch.maximum(high - low, smallest)


def mean_of_channel(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3), keepdim=True)


def maximum_of_channel(features: Tensor) -> Tensor:
    return features.amax(dim=(2, 3), keepdim=True)


def nuclear_norm_of_channel(features: Tensor) -> Tensor:
    """Sum of the singular values of every channel's H x W map."""
    return torch.linalg.matrix_norm(features, "nuc", keepdim=True)  # pyright: ignore[reportUnknownVariableType]


POOLS: dict[str, Score] = {
    "average": mean_of_channel,
    "max": maximum_of_channel,
    "nuclear": nuclear_norm_of_channel,
}


def _l1(features: Tensor, dims: tuple[int, ...]) -> Tensor:
    return features.abs().sum(dim=dims, keepdim=True)


def _l2(features: Tensor, dims: tuple[int, ...]) -> Tensor:
    return features.square().sum(dim=dims, keepdim=True).sqrt()


def _maximum(features: Tensor, dims: tuple[int, ...]) -> Tensor:
    return features.amax(dim=dims, keepdim=True)


NORMS: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {"l1": _l1, "l2": _l2, "max": _maximum}


def _wide(features: Tensor) -> Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))


def _by_ratio(thermal: Tensor, visible: Tensor, score: Score, eps: float) -> Tensor:
    return _weighted(thermal, visible, score(thermal), score(visible), eps)


def _weighted(thermal: Tensor, visible: Tensor, of_thermal: Tensor, of_visible: Tensor, eps: float) -> Tensor:
    return (of_thermal * thermal + of_visible * visible) / (of_thermal + of_visible + eps)


def _by_softmax(thermal: Tensor, visible: Tensor, score: Score) -> Tensor:
    share = torch.sigmoid(GREY_LEVELS * (score(thermal) - score(visible)))
    return visible + share * (thermal - visible)
