"""Losses: zero at the ideal answer, worse when an edge is lost, turned or cancelled, and a slope everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses import CombinedLoss, LossWeights
from streamfuse.training.losses.directional import DirectionalGradientLoss
from streamfuse.training.losses.intensity import IntensityLoss
from streamfuse.training.losses.sobel import gradients, halved
from streamfuse.training.losses.structure import SSIMLoss, blurred, similarity
from streamfuse.training.losses.veil import BELOW, unveiled

ALL = [IntensityLoss, DirectionalGradientLoss, SSIMLoss]


def noise(height: int = 24, width: int = 30, seed: int = 0, count: int = 2) -> Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(seed))


def smooth(seed: int, height: int = 32, width: int = 40) -> Tensor:
    return F.interpolate(noise(6, 8, seed, 1), (height, width), mode="bicubic").clamp(0, 1)


def flat(value: float, height: int = 24, width: int = 30) -> Tensor:
    return torch.full((1, 1, height, width), value)


def step(degrees: float, side: int = 32) -> Tensor:
    """A soft edge of height 0.5 whose normal points to `degrees`."""
    rows, columns = torch.meshgrid(torch.arange(side) - side / 2, torch.arange(side) - side / 2, indexing="ij")
    across = columns * np.cos(np.radians(degrees)) + rows * np.sin(np.radians(degrees))
    return (0.25 + 0.5 * torch.sigmoid(across))[None, None]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("loss", ALL)
def test_a_constant_image_costs_nothing_border_included(loss, value) -> None:
    image = flat(value)
    assert abs(float(loss()(image, image, image))) < 1e-6


def test_the_gradient_of_a_constant_is_exactly_zero_on_every_pixel() -> None:
    assert torch.equal(gradients(flat(0.8)), torch.zeros(1, 2, 24, 30))
    assert float(DirectionalGradientLoss()(flat(0.8), flat(0.8), flat(0.3))) == 0


@pytest.mark.parametrize("loss", ALL)
def test_equal_sources_are_their_own_best_answer(loss) -> None:
    image = smooth(3)
    assert abs(float(loss()(image, image, image))) < 1e-6
    assert float(loss()((image * 0.8).roll(3, -1), image, image)) > 1e-3


@pytest.mark.parametrize("degrees", [0, 45, 90, 135, 180, 225, 270, 315])
def test_an_edge_of_any_direction_is_wanted_in_full_and_its_loss_is_noticed(degrees) -> None:
    loss, edge = DirectionalGradientLoss(), step(degrees)
    lost = float(loss(flat(0.5, 32, 32), edge, flat(0.5, 32, 32)))
    assert float(loss(edge, edge, flat(0.5, 32, 32))) < 0.05 * lost
    assert lost == pytest.approx(float(loss(flat(0.5, 32, 32), flat(0.5, 32, 32), edge)), rel=1e-5)
    straight = float(loss(flat(0.5, 32, 32), step(0), flat(0.5, 32, 32)))
    assert 0.8 * straight < lost < 1.5 * straight


def test_crossing_diagonals_do_not_cancel() -> None:
    """Two sources whose axis responses have opposite signs: what is wanted has the strength of either one."""
    one, other = gradients(step(45)), gradients(step(135))
    wanted = DirectionalGradientLoss().gate.wanted(one, other)
    strengths = [edges.norm(dim=1)[0, 6:-6, 6:-6] for edges in (one, other, wanted)]
    stronger = torch.maximum(strengths[0], strengths[1])
    clear = stronger > 0.02
    assert clear.sum() > 100
    assert (strengths[2] >= 0.69 * stronger)[clear].all()


def test_a_negative_is_not_as_good_as_the_image() -> None:
    edge, blank = step(30), flat(0.5, 32, 32)
    loss = DirectionalGradientLoss()
    assert float(loss(1 - edge, edge, blank)) > 1.9 * float(loss(blank, edge, blank)) > 0


def test_the_choice_between_vectors_never_turns_an_edge() -> None:
    """The wanted gradient lies between both sources' directions: a positive mix of them, never x of one and y of the
    other."""
    hot, seen = gradients(smooth(1)), gradients(smooth(2))
    wanted = DirectionalGradientLoss().gate.wanted(hot, seen)
    matrix = torch.stack((hot, seen), dim=-1).permute(0, 2, 3, 1, 4).reshape(-1, 2, 2).double()
    solvable = torch.linalg.det(matrix).abs() > 1e-5
    mix = torch.linalg.solve(matrix[solvable], wanted.permute(0, 2, 3, 1).reshape(-1, 2, 1)[solvable].double())
    assert solvable.sum() > 300
    assert mix.min() > -1e-3
    assert torch.allclose(mix.sum(dim=1), torch.ones(1, dtype=torch.float64), atol=1e-3)


def test_opposed_edges_are_decided_more_sharply_than_agreeing_ones() -> None:
    weak, strong = torch.tensor([0.05, 0.0]).view(1, 2, 1, 1), torch.tensor([0.08, 0.0]).view(1, 2, 1, 1)
    loss = DirectionalGradientLoss()
    assert float(loss.gate.wanted(strong, -weak)[0, 0]) > 0.07
    assert 0.05 < float(loss.gate.wanted(strong, weak)[0, 0]) < 0.08


def test_a_misplaced_detail_is_seen_at_the_scale_it_has() -> None:
    texture = noise(32, 32, 4, 1)
    coarse = F.interpolate(halved(halved(texture)), (32, 32), mode="nearest")
    blank = flat(0.5, 32, 32)
    costs = [float(DirectionalGradientLoss(scales=scales)(coarse, texture, blank)) for scales in (1, 3)]
    assert costs[1] < costs[0]


def test_gradients_are_sobels() -> None:
    image = noise(9, 11, 5, 1)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    expected = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), torch.stack((sobel, sobel.T))[:, None])
    assert torch.allclose(gradients(image), expected, atol=1e-6)
    ramp = torch.arange(10.0).expand(1, 1, 6, 10) * 0.01
    assert torch.allclose(gradients(ramp)[0, 0, :, 1:-1], torch.full((6, 8), 0.01), atol=1e-7)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 8)])
def test_halving_keeps_the_mean_of_each_block(size) -> None:
    image = noise(*size, seed=2, count=1)
    half = halved(image)
    assert half.shape[-2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    if size == (6, 8):
        assert torch.allclose(half.mean(), image.mean())
        assert torch.allclose(half[0, 0, 1, 2], image[0, 0, 2:4, 4:6].mean())


def test_blurring_is_a_gaussian_window_of_eleven() -> None:
    image = noise(17, 21, 6, 1)
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = torch.from_numpy(np.outer(line, line) / line.sum() ** 2).float()[None, None]
    assert torch.allclose(blurred(image), F.conv2d(image, window), atol=1e-6)


def test_similarity_is_the_published_formula_and_says_no_to_small_images() -> None:
    one, other = noise(11, 11, 7)[:1], noise(11, 11, 7)[1:]
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    x, y = one[0, 0].double().numpy(), other[0, 0].double().numpy()
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy, cov = (
        (weights * (x - mx) ** 2).sum(),
        (weights * (y - my) ** 2).sum(),
        (weights * (x - mx) * (y - my)).sum(),
    )
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert float(similarity(one, other)) == pytest.approx(expected, abs=1e-5)
    assert float(similarity(one, 1 - one)) < 0 < float(similarity(one, one))
    with pytest.raises(ValueError, match="at least 11 x 11, found 10 x 12"):
        similarity(noise(12, 10), noise(12, 10))


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


def test_the_brightest_wins() -> None:
    thermal, visible = flat(0.2), flat(0.7)
    assert float(IntensityLoss()(visible, thermal, visible)) == 0
    assert float(IntensityLoss()(thermal, thermal, visible)) == pytest.approx(0.5)


@pytest.mark.parametrize("loss", ALL)
def test_slopes_are_right_in_double_precision(loss) -> None:
    fused, thermal, visible = noise(14, 13, 8, 3).double().split(1)
    made = loss().double()
    assert torch.autograd.gradcheck(lambda image: made(image, thermal, visible), fused.clone().requires_grad_())


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_slopes_are_finite_where_nothing_is_to_be_seen(loss, value) -> None:
    fused = flat(value).requires_grad_()
    loss()(fused, flat(value), flat(value)).backward()
    assert torch.isfinite(fused.grad).all()


@pytest.mark.parametrize("veil", [None, 1.0])
def test_the_sum_is_what_its_terms_and_weights_say(veil) -> None:
    fused, thermal, visible = noise(20, 20, 9, 3).split(1)
    values = CombinedLoss(LossWeights(intensity=2, gradient=3, structure=5), veil=veil)(
        fused, thermal, visible
    ).values()
    total = 2 * values["intensity"] + 3 * values["gradient"] + 5 * values["structure"]
    assert values["total"] == pytest.approx(total, rel=1e-5)
    images = (fused, thermal if veil is None else unveiled(thermal, veil), visible)
    assert values["intensity"] == pytest.approx(float(IntensityLoss()(*images)))
    assert values["gradient"] == pytest.approx(float(DirectionalGradientLoss()(*images)))
    assert values["structure"] == pytest.approx(float(SSIMLoss()(*images)))
