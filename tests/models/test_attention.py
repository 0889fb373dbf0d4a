"""Every fusion rule against a slow evaluation of its publication, in plain numpy on features of 0..255 images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamfuse.models import attention
from streamfuse.models.attention import NORMS, POOLS, nestfuse_rule, res2fusion_rule, unfusion_rule

Array = NDArray[np.float64]
EPS = 1e-5


def features(channels: int = 5, height: int = 16, width: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of an image in [0, 1]: >= 0, some exactly 0, unlike in strength; a channel that is off in both."""
    generator = torch.Generator().manual_seed(seed)
    made = (torch.randn(2, 1, channels, height, width, generator=generator, dtype=torch.float64) * 0.02).relu()
    made[:, :, -1] = 0
    return made[0], 1.7 * made[1]


def published(rule, *pair: torch.Tensor) -> Array:
    """A rule for features C H W of 0..255 images, applied to those of [0, 1] images."""
    return rule(*(255 * one[0].numpy() for one in pair)) / 255


def nestfuse(first: Array, second: Array, pool: str) -> Array:
    def score(channel: Array) -> float:
        match pool:
            case "average":
                return channel.mean()
            case "max":
                return channel.max()
            case _:
                return np.sqrt(np.linalg.eigvalsh(channel @ channel.T).clip(0)).sum()

    by_channel = np.zeros_like(first)
    for c in range(len(first)):
        a, b = score(first[c]), score(second[c])
        by_channel[c] = a / (a + b + EPS) * first[c] + b / (a + b + EPS) * second[c]
    return (by_channel + by_softmax(first, second, first.mean(axis=0), second.mean(axis=0))) / 2


def by_softmax(first: Array, second: Array, a: Array, b: Array) -> Array:
    return (np.exp(a) * first + np.exp(b) * second) / (np.exp(a) + np.exp(b) + EPS)


def unfusion(first: Array, second: Array, norm: str) -> Array:
    area, channels = first[0].size, len(first)
    scores = {
        "l1": lambda values: np.abs(values).sum(),
        "l2": lambda values: np.sqrt((values**2).sum()),
        "max": lambda values: values.max(),
    }
    by_channel = np.zeros_like(first)
    for c in range(channels):
        share = 1 if norm == "max" else area
        a, b = scores[norm](first[c]) / share, scores[norm](second[c]) / share
        by_channel[c] = (a * first[c] + b * second[c]) / (a + b + EPS)
    places = [np.apply_along_axis(scores[norm], 0, one) / channels for one in (first, second)]
    by_place = by_softmax(first, second, *places)
    return (by_place**2 + by_channel**2) / (by_place + by_channel + EPS)


def res2fusion(first: Array, second: Array) -> Array:
    branches: list[Array] = []
    for attend in (among_channels, among_places):
        a, b = attend(first), attend(second)
        branches.append(a / (a + b + 1e-10) * first + b / (a + b + 1e-10) * second)
    return sum(branches) / 2


def softmax_of_stretched(affinity: Array) -> Array:
    stretched = (affinity - affinity.min()) / (affinity.max() - affinity.min())
    return np.exp(stretched) / np.exp(stretched).sum(axis=1, keepdims=True)


def among_channels(one: Array) -> Array:
    flat = one.reshape(len(one), -1)
    return one + (softmax_of_stretched(flat @ flat.T) @ flat).reshape(one.shape)


def among_places(one: Array) -> Array:
    channels, height, width = one.shape
    keys = [one[:, y : y + 8, x : x + 8].mean(axis=(1, 2)) for y in range(0, height, 8) for x in range(0, width, 8)]
    pooled = np.stack(keys, axis=1)
    attended = softmax_of_stretched(one.reshape(channels, -1).T @ pooled) @ pooled.T
    return one + attended.T.reshape(one.shape)


@pytest.mark.parametrize("pool", POOLS)
def test_nestfuses_rule_is_the_published_one(pool: str) -> None:
    pair = features()
    wanted = published(lambda a, b: nestfuse(a, b, pool), *pair)
    assert np.abs(nestfuse_rule(POOLS[pool])(*pair)[0].numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_unfusions_rule_is_the_published_one(norm: str) -> None:
    pair = features()
    wanted = published(lambda a, b: unfusion(a, b, norm), *pair)
    assert np.abs(unfusion_rule(norm)(*pair)[0].numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize("at_a_time", [10_000_000, 7 * 6, 1])
@pytest.mark.parametrize("size", [(16, 24), (13, 17), (1, 1)])
def test_res2fusions_rule_is_the_published_one_in_however_many_pieces(monkeypatch, at_a_time: int, size) -> None:
    monkeypatch.setattr(attention, "AFFINITIES", at_a_time)
    pair = features(4, *size)
    fused = res2fusion_rule(coarse=False)(*pair)[0].numpy()
    if size == (1, 1):
        assert np.isfinite(fused).all()
    else:
        assert np.abs(fused - published(res2fusion, *pair)).max() < 1e-9


def test_variants_of_a_rule_differ() -> None:
    pair = features()
    for rules in (
        [nestfuse_rule(pool) for pool in POOLS.values()],
        [unfusion_rule(norm) for norm in NORMS],
        [res2fusion_rule(coarse=coarse) for coarse in (False, True)],
    ):
        fused = [rule(*pair) for rule in rules]
        assert all((one - fused[0]).abs().max() > 1e-5 for one in fused[1:])


@pytest.mark.parametrize("size", [(32, 40), (13, 17)])
def test_coarse_queries_are_the_keys_and_their_answer_is_enlarged_bilinearly(size) -> None:
    one = features(4, *size)[0]
    keys = attention.pooled(one)[0].numpy()
    flat = keys.reshape(len(keys), -1)
    told = (softmax_of_stretched(flat.T @ flat) @ flat.T).T.reshape(keys.shape)
    enlarged = [cv2.resize(channel, None, fx=8, fy=8)[: size[0], : size[1]] for channel in told]
    attended = (attention.coarse_spatial_attention(one) - one)[0].numpy()
    assert np.abs(attended - np.stack(enlarged)).max() < 1e-9


RULES = {
    **{f"nestfuse:{pool}": nestfuse_rule(score) for pool, score in POOLS.items()},
    **{f"unfusion:{norm}": unfusion_rule(norm) for norm in NORMS},
    "res2fusion:full": res2fusion_rule(coarse=False),
    "res2fusion:coarse": res2fusion_rule(coarse=True),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@every_rule
@pytest.mark.parametrize("value", [0.0, 1e-4, 200.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_flat_features_of_any_strength_stay_what_they_are(rule, value: float, kind: torch.dtype) -> None:
    """Exponentials of 200 would overflow every float; sums over the image those of half precision."""
    flat = torch.full((1, 6, 40, 48), value, dtype=kind)
    fused = rule(flat, flat)
    assert fused.dtype == kind
    assert torch.allclose(fused.float(), flat.float(), rtol=0.01, atol=1e-6)


@every_rule
def test_the_stronger_source_counts_more_and_order_does_not_matter(rule) -> None:
    weak, strong = features()[0].float(), 4 * features(seed=1)[0].float()
    fused = rule(weak, strong)
    assert (fused - strong).abs().mean() < (fused - weak).abs().mean()
    assert torch.allclose(rule(strong, weak), fused, atol=1e-6)


@every_rule
def test_images_of_a_batch_never_see_each_other(rule) -> None:
    (one, other), (third, fourth) = features(), (5 * image for image in features(seed=3))
    batch = rule(torch.cat((one, third)), torch.cat((other, fourth)))
    assert torch.allclose(batch[:1], rule(one, other), atol=1e-12)
    assert torch.allclose(batch[1:], rule(third, fourth), atol=1e-12)
