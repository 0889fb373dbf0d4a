"""Intensity, block weights, Laplacian, salience, daylight and the veil: which source is wanted how much."""

from __future__ import annotations

import pytest
import torch
from loss_images import flat, noise, slope, smooth

from streamfuse.training.losses.daylight import DaylightLoss
from streamfuse.training.losses.intensity import IntensityLoss
from streamfuse.training.losses.laplacian import LaplacianGradientLoss, laplacian
from streamfuse.training.losses.salience import SalienceLoss
from streamfuse.training.losses.sobel import gradients
from streamfuse.training.losses.veil import BELOW, unveiled
from streamfuse.training.losses.weight_block import WeightBlockGradientLoss, block_weights, thermal_share


def test_the_brightest_wins() -> None:
    thermal, visible = flat(0.2), flat(0.7)
    assert float(IntensityLoss()(visible, thermal, visible)) == 0
    assert float(IntensityLoss()(thermal, thermal, visible)) == pytest.approx(0.5)


def test_other_targets_of_intensity() -> None:
    thermal, visible = flat(0.2), flat(0.6)
    assert float(IntensityLoss(target="mean")(flat(0.4), thermal, visible)) == pytest.approx(0, abs=1e-7)
    assert float(IntensityLoss(target="mean", norm="l2")(visible, thermal, visible)) == pytest.approx(0.04)
    weighted = IntensityLoss(target="weighted", share=0.75)
    assert float(weighted(flat(0.3), thermal, visible)) == pytest.approx(0.75 * 0.1 + 0.25 * 0.3)
    squared = IntensityLoss(target="weighted", share=0.75, norm="l2")
    assert float(slope(squared, flat(0.3), thermal, visible).abs().max()) < 1e-8


def test_each_block_is_weighted_towards_the_livelier_source() -> None:
    """Thermal lives on the left, visible on the right."""
    thermal, visible = flat(0.5, 48, 96), flat(0.5, 48, 96)
    thermal[..., :40] = smooth(1, 48, 40)
    visible[..., 56:] = smooth(2, 48, 40)
    weights = block_weights(thermal, visible)
    assert weights.shape == thermal.shape
    assert float(weights[..., :24].min()) > 0.9
    assert float(weights[..., 72:].max()) < 0.1
    assert torch.allclose(block_weights(visible, thermal), 1 - weights, atol=1e-6)
    assert torch.allclose(block_weights(thermal, thermal), torch.full_like(weights, 0.5))


def test_fine_noise_gets_less_weight_than_an_edge_of_its_strength() -> None:
    noisy = 0.5 + 0.1 * (noise(32, 32, 1, 1) - 0.5)
    edges = flat(0.45, 32, 32)
    edges[..., ::16], edges[..., 1::16], edges[..., 2::16], edges[..., 3::16] = 0.55, 0.55, 0.55, 0.55
    steep = [float(gradients(image).abs().mean()) for image in (noisy, edges)]
    assert steep[0] > steep[1]
    assert float(block_weights(noisy, edges).mean()) < 0.55


def test_an_images_share_is_the_mean_of_its_block_weights() -> None:
    thermal, visible = torch.cat((smooth(1), flat(0.5, 32, 40))), torch.cat((flat(0.5, 32, 40), smooth(2)))
    share = thermal_share(thermal, visible, "blocks", 0.5)
    assert share.shape == (2, 1, 1, 1)
    assert float(share[0]) > 0.9
    assert float(share[1]) < 0.1
    assert thermal_share(thermal, visible, "share", 0.3).flatten().tolist() == pytest.approx([0.3, 0.3])


def test_squares_want_the_mean_of_both_gradients_and_absolutes_one_of_them() -> None:
    """Ramps of 0.01 and 0.03 per pixel, weighted almost alike: the least l2 cost lies between, the least l1 at one."""
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    thermal, visible = 0.01 * ramp, 0.03 * ramp
    share = float(block_weights(thermal, visible, temperature=10).mean())
    slopes = torch.linspace(0.005, 0.035, 61)

    def best(norm: str) -> float:
        loss = WeightBlockGradientLoss(norm=norm, temperature=10)
        costs = [float(loss(float(one) * ramp, thermal, visible)) for one in slopes]
        return float(slopes[int(torch.tensor(costs).argmin())])

    assert best("l2") == pytest.approx(share * 0.01 + (1 - share) * 0.03, abs=5e-4)
    assert best("l1") == pytest.approx(0.03, abs=5e-4)


def test_the_weight_block_loss_is_its_formula() -> None:
    fused, thermal, visible = noise(20, 24, 3, 3).split(1)
    weights = block_weights(thermal, visible, 8, 0.1)
    edges, hot, seen = (8 * gradients(image) for image in (fused, thermal, visible))
    squares = weights * (edges - hot).square().sum(1, keepdim=True)
    squares = squares + (1 - weights) * (edges - seen).square().sum(1, keepdim=True)
    found = WeightBlockGradientLoss(block=8, temperature=0.1)(fused, thermal, visible)
    assert float(found) == pytest.approx(float(squares.mean()), rel=1e-5)


def test_the_laplacian_is_that_of_four_neighbours() -> None:
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(8.0), indexing="ij")
    bowl = (0.01 * rows**2 + 0.02 * columns**2)[None, None]
    assert torch.allclose(laplacian(bowl)[..., 1:-1, 1:-1], torch.tensor(0.06), atol=1e-6)


def test_the_livelier_sources_laplacian_is_wanted_with_its_sign() -> None:
    lively, dull = smooth(1), 0.5 + 0.05 * (smooth(2) - 0.5)
    loss, blank = LaplacianGradientLoss(), flat(0.5, 32, 40)
    assert float(loss(lively, lively, blank)) < 1e-9
    assert float(loss(lively, blank, lively)) < 1e-9
    lost = float(loss(blank, lively, dull))
    assert float(loss(lively, lively, dull)) < 0.05 * lost
    assert float(loss(1 - lively, lively, dull)) > 3.5 * lost


def test_the_veil_lifts_and_what_is_hot_becomes_bright() -> None:
    scene = flat(0.4)
    scene[..., 4:8, 4:8] = 0.75
    bare = unveiled(scene, 0.5)
    assert bare[0, 0, 0, 0] < 0.1
    assert 0.65 < bare[0, 0, 5, 5] <= 1
    assert float(unveiled(flat(0.6), 0.5).abs().max()) < 1e-6
    scene[..., 12:14, 12:14] = 0.2
    assert unveiled(scene, 0.5)[0, 0, 13, 13] < 0


def test_lifting_the_veil_amplifies_noise_less_than_twofold_and_cold_things_hardly_at_all() -> None:
    noisy = 0.5 + 0.01 * (noise(count=1) - 0.5)
    bare = unveiled(noisy, 0.5)
    rising = noisy.flatten().sort().indices
    slopes = bare.flatten()[rising].diff() / noisy.flatten()[rising].diff().clamp(min=1e-9)
    assert slopes.max() < 1.85
    assert slopes[0] == pytest.approx(1.8 * BELOW, rel=0.05)


def walker(there: float, ground: float) -> torch.Tensor:
    scene = flat(ground, 80, 90)
    scene[..., 30:40, 40:44] = there
    return scene


def test_a_warm_target_lost_in_glare_costs_one_and_a_dark_one_two() -> None:
    thermal, glare = walker(0.8, 0.3), flat(1.0, 80, 90)
    loss = SalienceLoss(window=31, share=0.8)
    assert float(loss(thermal, thermal, glare)) == 0
    assert float(loss(walker(0.7, 0.3), thermal, glare)) == pytest.approx(0, abs=1e-6), "0.8 of the contrast is enough"
    assert float(loss(glare, thermal, glare)) == pytest.approx(1, abs=0.03)
    assert float(loss(walker(0.6, 1.0), thermal, glare)) == pytest.approx(2, abs=0.06)
    assert float(slope(loss, glare, thermal, glare)[..., 30:40, 40:44].max()) < 0, (
        "brighter is better, everywhere in it"
    )


def test_what_is_cold_or_hardly_warm_is_no_target() -> None:
    lost = flat(0.5, 80, 90)
    assert float(SalienceLoss()(lost, walker(0.1, 0.6), lost)) == 0
    assert float(SalienceLoss(least=0.1)(lost, walker(0.39, 0.3), lost)) == 0


def test_salience_looks_at_contrast_and_not_at_brightness() -> None:
    thermal, lost = walker(0.8, 0.3), flat(0.9, 80, 90)
    assert float(SalienceLoss()(walker(0.6, 0.1), thermal, lost)) == pytest.approx(0, abs=1e-6)


def street(sky: float) -> torch.Tensor:
    """A sky above a lively street."""
    scene = noise(count=1, height=80, width=90)
    scene[..., :40, :] = sky
    return scene


def test_a_bright_sky_as_dark_as_the_thermal_one_costs_one() -> None:
    thermal, visible = street(0.1), street(0.9)
    loss = DaylightLoss(share=0.5)
    assert float(loss(thermal, thermal, visible)) == pytest.approx(1, abs=0.02)
    assert float(loss(street(0.3), thermal, visible)) == pytest.approx(0.5, abs=0.02)
    assert float(loss(street(0.5), thermal, visible)) == pytest.approx(0, abs=1e-6), "half of the light is enough"
    slopes = slope(loss, street(0.3), thermal, visible)
    assert slopes[..., :30, :].max() < 0, "brighter is better, everywhere in it"
    assert slopes[..., 46:, :].abs().max() == 0
    dim, thermal, visible = (image.double()[..., 36:44, :12] for image in (street(0.3), thermal, visible))
    assert torch.autograd.gradcheck(lambda image: DaylightLoss(window=3)(image, thermal, visible), dim.requires_grad_())


@pytest.mark.parametrize(
    ("thermal", "visible"),
    [(street(0.8), street(0.9)), (street(0.9), street(0.2)), (street(0.1), noise(count=1, height=80, width=90))],
    ids=["warm", "night", "lively"],
)
def test_what_is_not_bright_and_smooth_is_no_sky(thermal: torch.Tensor, visible: torch.Tensor) -> None:
    assert float(DaylightLoss()(flat(0, 80, 90), thermal, visible)) == 0
