"""Glare: something warm in front of a lamp shows, and everything else stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.models import build
from streamfuse.models.glare import DARKENED, Glare

HEIGHT, WIDTH = 256, 320
FIGURE = slice(112, 144), slice(152, 168)


def away() -> Tensor:
    """Distance from the figure's middle, pixels, H W."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) - 128.0, torch.arange(WIDTH) - 160.0, indexing="ij")
    return torch.hypot(x, y)


def lamp(radius: float) -> Tensor:
    """A dark street and a lamp: white up to `radius`, a veil around."""
    return (0.1 + (radius / away().clamp(min=1)) ** 2).clamp(max=1)[None, None]


def figure(warm: float = 0.8, background: float = 0.3) -> Tensor:
    image = torch.full((1, 1, HEIGHT, WIDTH), background)
    image[(0, 0, *FIGURE)] = warm
    return image


def kept(thermal: Tensor, visible: Tensor) -> Tensor:
    return Glare()(torch.cat([F.pixel_unshuffle(image, 2) for image in (thermal, visible)], dim=1))


def test_the_glare_around_something_warm_is_darkened_and_nothing_far_away() -> None:
    share = kept(figure(), lamp(50))[0, 0]
    assert share[64, 80] < 1 - 0.8 * DARKENED
    assert (share[away()[::2, ::2] > 100] == 1).all()
    assert share.min() >= 1 - DARKENED
    assert share.max() <= 1


@pytest.mark.parametrize(
    ("thermal", "visible"),
    [
        pytest.param(figure(), lamp(5), id="small lamp"),
        pytest.param(figure(), torch.full((1, 1, HEIGHT, WIDTH), 0.8), id="bright, not white"),
        pytest.param(torch.full((1, 1, HEIGHT, WIDTH), 0.3), lamp(50), id="nothing warm"),
        pytest.param(figure(warm=0.1, background=0.5), lamp(50), id="something cold"),
        pytest.param(torch.ones(1, 1, HEIGHT, WIDTH), torch.ones(1, 1, HEIGHT, WIDTH), id="all white"),
    ],
)
def test_without_something_warm_in_glare_all_is_kept(thermal, visible) -> None:
    assert torch.equal(kept(thermal, visible), torch.ones(1, 1, HEIGHT // 2, WIDTH // 2))


def test_shares_are_enlarged_bilinearly() -> None:
    cells = torch.rand(1, 1, 5, 7, generator=torch.Generator().manual_seed(1))
    padded = F.pad(cells, (1, 1, 1, 1), mode="replicate")
    enlarged = F.pixel_shuffle(F.conv2d(padded, Glare().enlarging), 4)
    assert torch.allclose(enlarged, F.interpolate(cells, scale_factor=4.0, mode="bilinear"), atol=1e-6)


def test_the_smallest_image_is_darkened_too() -> None:
    thermal = torch.zeros(1, 1, 32, 32)
    thermal[..., 12:20, 12:20] = 1
    assert kept(thermal, torch.ones(1, 1, 32, 32)).min() < 0.9


@pytest.mark.parametrize("name", ["streamfuse-s", "streamfuse-q"])
def test_a_warm_figure_shows_in_the_glare_of_a_lamp(name) -> None:
    noise = 0.01 * torch.randn(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    thermal, visible = figure() + noise, lamp(50)
    with torch.inference_mode():
        fused = build(name)(thermal, visible)[0, 0]
    ring = (away() > 28) & (away() < 40)
    assert fused[FIGURE].mean() - fused[ring].mean() > 0.15  # 0 without it: white on white
