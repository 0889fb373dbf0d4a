"""SSIM and MS-SSIM: the standard's formulae, the hosts' deviation, and small images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_images import noise, smooth
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch.nn import functional as F

from streamfuse.training.losses.structure import LEVELS, MSSSIMLoss, SSIMLoss, blurred, similarity

Image = NDArray[np.float64]


def window(length: int = 11) -> Image:
    line = np.exp(-((np.arange(length) - (length - 1) / 2) ** 2) / (2 * 1.5**2))
    return np.outer(line, line) / line.sum() ** 2


def plain(one: Image, other: Image) -> tuple[float, float]:
    """Means over all whole windows of SSIM and of its contrast and structure factor."""
    weights = window(min(11, *one.shape))
    x, y = sliding_window_view(one, weights.shape), sliding_window_view(other, weights.shape)

    def mean(values: Image) -> Image:
        return (values * weights).sum(axis=(-2, -1))

    mx, my = mean(x), mean(y)
    vx, vy, covariance = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    contrast = (2 * covariance + 9e-4) / (vx + vy + 9e-4)
    return float(((2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4) * contrast).mean()), float(contrast.mean())


def plain_levels(one: Image, other: Image, count: int) -> list[tuple[float, float]]:
    levels = []
    for _ in range(count):
        levels.append(plain(one, other))
        height, width = (side // 2 * 2 for side in one.shape)
        one, other = (
            image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for image in (one, other)
        )
    return levels


def pair(height: int, width: int) -> tuple[Image, Image]:
    one = F.interpolate(noise(40, 40, 1, 1), (height, width), mode="bicubic")[0, 0].double().numpy()
    return one, 0.7 * one + 0.3 * noise(height, width, 2, 1)[0, 0].double().numpy()


def tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(image)[None, None]


def test_blurring_is_a_gaussian_window_of_eleven() -> None:
    image = noise(17, 21, 6, 1)
    weights = torch.from_numpy(window()).float()[None, None]
    assert torch.allclose(blurred(image), F.conv2d(image, weights), atol=1e-6)


def test_similarity_is_the_published_formula() -> None:
    one, other = pair(19, 23)
    assert float(similarity(tensor(one), tensor(other)).mean()) == pytest.approx(plain(one, other)[0], rel=1e-9)
    assert float(similarity(tensor(one), 1 - tensor(one)).mean()) < 0


def test_similarity_of_several_images_to_one_is_that_of_each() -> None:
    fused, thermal, visible = smooth(1, count=6).chunk(3)
    together = similarity(fused, torch.cat((thermal, visible)))
    assert torch.allclose(together, torch.cat((similarity(fused, thermal), similarity(fused, visible))), atol=1e-6)


def test_ssim_loss_weighs_both_sources() -> None:
    fused, thermal, visible = smooth(1, count=3).split(1)
    apart = [1 - float(similarity(fused, source).mean()) for source in (thermal, visible)]
    assert float(SSIMLoss(share=0.3)(fused, thermal, visible)) == pytest.approx(0.3 * apart[0] + 0.7 * apart[1])
    assert float(SSIMLoss(share=1)(fused, thermal, visible)) == pytest.approx(apart[0])


@pytest.mark.parametrize(("size", "count"), [((176, 181), 5), ((175, 180), 4), ((64, 70), 3), ((21, 40), 1)])
def test_ms_ssim_is_the_standard_with_as_many_levels_as_fit(size, count) -> None:
    one, other = pair(*size)
    levels, exponents = plain_levels(one, other, count), np.array(LEVELS[:count]) / sum(LEVELS[:count])
    factors = [contrast for _, contrast in levels[:-1]] + [levels[-1][0]]
    expected = 1 - np.prod(np.array(factors) ** exponents)
    assert float(MSSSIMLoss()(tensor(one), tensor(other), tensor(other))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("form", ["standard", "published"])
def test_a_negative_has_less_structure_than_a_blank(form) -> None:
    loss, image = MSSSIMLoss(form=form), smooth(3, 64, 64)
    blank = torch.full_like(image, float(image.mean()))
    assert float(loss(1 - image, image, image)) > float(loss(blank, image, image)) > 0.3


@pytest.mark.parametrize("size", [(176, 176), (48, 48)])
def test_the_hosts_take_the_coarsest_level_four_times(size) -> None:
    one, other = pair(*size)
    levels = [((ssim + 1) / 2, (contrast + 1) / 2) for ssim, contrast in plain_levels(one, other, 5)]
    finest = np.prod([contrast**exponent for (_, contrast), exponent in zip(levels[:4], LEVELS[:4], strict=True)])
    expected = 1 - finest * levels[4][0] ** (4 * LEVELS[4])
    found = float(MSSSIMLoss(form="published")(tensor(one), tensor(other), tensor(other)))
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_hosts_average_the_batch_before_the_powers() -> None:
    loss, near, far = MSSSIMLoss(form="published"), pair(48, 48), (pair(48, 48)[0], 1 - pair(48, 48)[0])
    one, other = (torch.cat((tensor(a), tensor(b))) for a, b in zip(near, far, strict=True))
    singles = [float(loss(tensor(a), tensor(b), tensor(b))) for a, b in (near, far)]
    levels = [np.mean(level, axis=0) for level in zip(plain_levels(*near, 5), plain_levels(*far, 5), strict=True)]
    factors = [((contrast + 1) / 2) ** exponent for (_, contrast), exponent in zip(levels[:4], LEVELS[:4], strict=True)]
    expected = 1 - np.prod(factors) * ((levels[4][0] + 1) / 2) ** (4 * LEVELS[4])
    assert float(loss(one, other, other)) == pytest.approx(expected, rel=1e-6)
    assert abs(expected - np.mean(singles)) > 1e-3


def test_a_smaller_dynamic_range_makes_faint_structure_count() -> None:
    generator = torch.Generator().manual_seed(3)
    faint = 0.5 + 0.01 * torch.rand(1, 1, 30, 30, generator=generator)
    lost = torch.full_like(faint, float(faint.mean()))
    coarse, fine = (float(SSIMLoss(dynamic_range=size)(lost, faint, faint)) for size in (1.0, 0.02))
    assert coarse < 0.02
    assert fine > 0.8
