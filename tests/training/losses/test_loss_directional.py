"""Directional, angular and max-gradient losses: which edge is wanted, and what a wrong one costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_images import flat, noise, smooth, step
from numpy.typing import NDArray
from torch.nn import functional as F

from streamfuse.training.losses.angular import AngularLoss
from streamfuse.training.losses.directional import DirectionalGradientLoss
from streamfuse.training.losses.gate import Gate
from streamfuse.training.losses.max_gradient import MaxGradientLoss
from streamfuse.training.losses.sobel import gradients, halved, low_passed

Image = NDArray[np.float64]


def test_gradients_are_sobels() -> None:
    image = noise(9, 11, 5, 1)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack((sobel, sobel.T))[:, None]
    replicated = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernels)
    assert torch.allclose(gradients(image), replicated, atol=1e-6)
    assert torch.allclose(gradients(image, "zero"), F.conv2d(image, kernels, padding=1), atol=1e-6)
    ramp = torch.arange(10.0).expand(1, 1, 6, 10) * 0.01
    assert torch.allclose(gradients(ramp)[0, 0, :, 1:-1], torch.full((6, 8), 0.01), atol=1e-7)


def test_the_gradient_of_a_constant_is_exactly_zero_on_every_pixel() -> None:
    assert torch.equal(gradients(flat(0.8)), torch.zeros(1, 2, 24, 30))
    assert torch.allclose(low_passed(flat(0.8)), flat(0.8))


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 8)])
def test_halving_keeps_the_mean_of_each_block(size) -> None:
    image = noise(*size, seed=2, count=1)
    half = halved(image)
    assert half.shape[-2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    if size == (6, 8):
        assert torch.allclose(half.mean(), image.mean())
        assert torch.allclose(half[0, 0, 1, 2], image[0, 0, 2:4, 4:6].mean())


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
    wanted = Gate().wanted(one, other)
    strengths = [edges.norm(dim=1)[0, 6:-6, 6:-6] for edges in (one, other, wanted)]
    stronger = torch.maximum(strengths[0], strengths[1])
    clear = stronger > 0.02
    assert clear.sum() > 100
    assert (strengths[2] >= 0.69 * stronger)[clear].all()


def test_the_choice_between_vectors_never_turns_an_edge() -> None:
    """The wanted gradient lies between both sources' directions: a positive mix of them, never x of one and y of the
    other."""
    hot, seen = gradients(smooth(1)), gradients(smooth(2))
    wanted = Gate().wanted(hot, seen)
    matrix = torch.stack((hot, seen), dim=-1).permute(0, 2, 3, 1, 4).reshape(-1, 2, 2).double()
    solvable = torch.linalg.det(matrix).abs() > 1e-5
    mix = torch.linalg.solve(matrix[solvable], wanted.permute(0, 2, 3, 1).reshape(-1, 2, 1)[solvable].double())
    assert solvable.sum() > 300
    assert mix.min() > -1e-3
    assert torch.allclose(mix.sum(dim=1), torch.ones(1, dtype=torch.float64), atol=1e-3)


def test_opposed_edges_are_decided_more_sharply_than_agreeing_ones() -> None:
    weak, strong = torch.tensor([0.05, 0.0]).view(1, 2, 1, 1), torch.tensor([0.08, 0.0]).view(1, 2, 1, 1)
    assert float(Gate().wanted(strong, -weak)[0, 0]) > 0.07
    assert 0.05 < float(Gate().wanted(strong, weak)[0, 0]) < 0.08


def test_a_misplaced_detail_is_seen_at_the_scale_it_has() -> None:
    texture = noise(32, 32, 4, 1)
    coarse = F.interpolate(halved(halved(texture)), (32, 32), mode="nearest")
    blank = flat(0.5, 32, 32)
    costs = [float(DirectionalGradientLoss(scales=scales)(coarse, texture, blank)) for scales in (1, 3)]
    assert costs[1] < costs[0]


@pytest.mark.parametrize("size", [(16, 20), (13, 22), (9, 7)])
def test_the_published_variant_is_the_published_formula(size) -> None:
    fused, thermal, visible = (image[0, 0].double().numpy() for image in noise(*size, seed=3, count=3).split(1))
    expected = np.mean(
        [published_at(*(resized(image, scale) for image in (fused, thermal, visible))) for scale in (1, 2, 4)]
    )
    tensors = [torch.from_numpy(image)[None, None] for image in (fused, thermal, visible)]
    assert float(DirectionalGradientLoss(variant="published")(*tensors)) == pytest.approx(expected, rel=1e-9)


def published_at(fused: Image, thermal: Image, visible: Image) -> float:
    """One scale of the published loss, pixel by pixel."""
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    total = 0.0
    for along in (kernel, kernel.T):
        edges, hot, seen = (correlated(image, along) for image in (fused, thermal, visible))
        for row, column in np.ndindex(fused.shape):
            choice = seen if abs(seen[row, column]) >= abs(hot[row, column]) else hot
            total += abs(edges[row, column] - choice[row, column])
    return total / fused.size


def correlated(image: Image, kernel: NDArray[np.int64]) -> Image:
    padded = np.pad(image, 1)
    height, width = image.shape
    shifts = [kernel[y, x] * padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.sum(shifts, axis=0)


def resized(image: Image, divisor: int) -> Image:
    """Bilinear between the four pixels around each sample, pixel centres at halves, nothing smoothed before."""
    if divisor == 1:
        return image
    for axis in (0, 1):
        length = image.shape[axis]
        target = max(1, round(length / divisor))
        places = np.clip((np.arange(target) + 0.5) * length / target - 0.5, 0, length - 1)
        low = np.floor(places).astype(int)
        share = (places - low).reshape([-1 if one == axis else 1 for one in (0, 1)])
        high = np.minimum(low + 1, length - 1)
        image = (1 - share) * image.take(low, axis) + share * image.take(high, axis)
    return image


def test_max_gradient_wants_the_larger_magnitude() -> None:
    fused, thermal, visible = (image[0, 0].double().numpy() for image in noise(8, 9, seed=6, count=3).split(1))
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    edges, hot, seen = (
        np.abs(correlated(image, kernel)) + np.abs(correlated(image, kernel.T)) for image in (fused, thermal, visible)
    )
    tensors = [torch.from_numpy(image)[None, None] for image in (fused, thermal, visible)]
    assert float(MaxGradientLoss()(*tensors)) == pytest.approx(np.abs(edges - np.maximum(hot, seen)).mean())


def test_an_angle_costs_more_the_wider_it_is_and_contrast_hardly_counts() -> None:
    loss, edge, blank = AngularLoss(), step(0), flat(0.5, 32, 32)
    turned = [float(loss(step(degrees), edge, blank)) for degrees in (0, 45, 90, 180)]
    assert turned == sorted(turned)
    faint = 0.5 + 0.5 * (edge - 0.5)
    assert float(loss(faint, edge, blank)) < 0.2 * turned[1]
    assert float(loss(edge, edge, edge)) < 1e-6 < turned[3] < 2


def test_angles_count_only_where_there_is_an_edge() -> None:
    faint = 0.5 + 1e-3 * (noise(32, 32, 1, 1) - 0.5)
    assert float(AngularLoss()(1 - faint, faint, faint)) < 1e-3
