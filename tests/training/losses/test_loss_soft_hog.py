"""Soft HOG: the right bin for every direction, what shifts, contrast and polarity cost, and the targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_images import flat, noise, step
from numpy.typing import NDArray
from torch.nn import functional as F

from streamfuse.training.losses.directional import DirectionalGradientLoss
from streamfuse.training.losses.soft_hog import SOFTNESS, SoftHOGLoss, folded


@pytest.mark.parametrize("degrees", [10, 30, 50, 90, 130, 170, 190, 230, 270, 350])
def test_an_edge_votes_for_its_direction(degrees) -> None:
    votes = SoftHOGLoss(polarity="signed").histograms(step(degrees)).mean(dim=(0, 2, 3))
    assert int(votes.argmax()) == (degrees // 20) % 18
    opposite = votes.roll(9)
    assert float(votes.max()) > 20 * float(opposite[votes.argmax()])


def test_votes_of_a_pixel_add_up_to_its_strength() -> None:
    image = noise(16, 16, 1, 1)
    unsigned = SoftHOGLoss(polarity="unsigned").histograms(image)
    signed = SoftHOGLoss(polarity="signed").histograms(image)
    padded = np.pad(image[0, 0].numpy(), 1, mode="edge")
    strength = np.hypot(padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1])
    expected = strength.reshape(2, 8, 2, 8).mean(axis=(1, 3))
    assert np.allclose(unsigned.sum(dim=1)[0].numpy(), expected, atol=2 * SOFTNESS)
    assert torch.allclose(folded(signed), unsigned, atol=1e-6)


@pytest.mark.parametrize("bins", [6, 9])
def test_histograms_are_those_of_a_plain_evaluation(bins) -> None:
    image = noise(17, 8, 2, 1)
    found = SoftHOGLoss(polarity="signed", bins=bins).histograms(image)[0].numpy()
    assert found.shape == (2 * bins, 3, 1)
    assert np.allclose(found[:, :2, 0], plain_histograms(image[0, 0, :, :].double().numpy(), bins)[:, :2, 0], atol=1e-6)


def plain_histograms(image: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """With the angle itself, pixel by pixel, whole cells of 8 only: 2 bins x h x w."""
    height, width = (side // 8 for side in image.shape)
    found = np.zeros((2 * bins, height, width))
    padded = np.pad(image, 1, mode="edge")
    kappa = 1 / (2 * math.sin(math.pi / bins) ** 2)
    centres = (np.arange(bins) + 0.5) * math.pi / bins
    for row, column in np.ndindex(height * 8, width * 8):
        gx = padded[row + 1, column + 2] - padded[row + 1, column]
        gy = padded[row + 2, column + 1] - padded[row, column + 1]
        strength = math.sqrt(gx**2 + gy**2 + SOFTNESS**2)
        share = math.hypot(gx, gy) / strength
        angle = math.atan2(gy, gx)
        votes = np.exp(kappa * share**2 * np.cos(2 * (angle - centres)))
        votes *= (strength - SOFTNESS) / votes.sum() / 64
        lean = share * np.cos(angle - centres)
        found[:, row // 8, column // 8] += np.concatenate((votes * (1 + lean), votes * (1 - lean))) / 2
    return found


@pytest.mark.parametrize("loss", [SoftHOGLoss(), SoftHOGLoss(normalised=True, polarity="unsigned")])
def test_a_shift_of_two_pixels_moves_histograms_less_than_pointwise_gradients(loss) -> None:
    scene = F.interpolate(noise(12, 13, 5, 1), (64, 72), mode="bicubic")
    image, shifted, blank = scene[..., 4:-4], scene[..., 2:-6], flat(0.5, 64, 64)

    def relative(of: torch.nn.Module) -> float:
        return float(of(shifted, image, image)) / float(of(blank, image, image))

    assert relative(loss) < 0.7 * relative(DirectionalGradientLoss())


def test_only_normalised_histograms_are_blind_to_contrast() -> None:
    image = step(20)
    faint = 0.5 + 0.5 * (image - 0.5)
    costs = {}
    for normalised in (False, True):
        loss = SoftHOGLoss(normalised=normalised)
        costs[normalised] = float(loss(faint, image, image)) / float(loss(flat(0.5, 32, 32), image, image))
    assert costs[False] == pytest.approx(0.5, abs=0.02)
    assert costs[True] < 0.1


@pytest.mark.parametrize("target", ["soft", "winner", "union"])
def test_where_one_source_is_blank_the_other_is_wanted(target) -> None:
    loss, edge, blank = SoftHOGLoss(target=target), step(70), flat(0.5, 32, 32)
    lost = float(loss(blank, edge, blank))
    assert float(loss(edge, edge, blank)) < 0.05 * lost
    assert float(loss(edge, blank, edge)) < 0.05 * lost
    assert lost == pytest.approx(float(loss(blank, blank, edge)), rel=1e-5)


def test_targets_differ_where_both_sources_have_edges() -> None:
    hot, seen = SoftHOGLoss().histograms(step(10)), 0.6 * SoftHOGLoss().histograms(step(100))
    soft, winner, union = (SoftHOGLoss(target=target).wanted(hot, seen) for target in ("soft", "winner", "union"))
    stronger = hot.sum(dim=1) > seen.sum(dim=1)
    assert 0 < int(stronger.sum()) < stronger.numel()
    assert torch.equal(winner, torch.where(stronger[:, None], hot, seen))
    assert torch.equal(union, torch.maximum(hot, seen))
    assert (soft >= torch.minimum(hot, seen) - 1e-7).all()
    assert (soft <= torch.maximum(hot, seen) + 1e-7).all()
    assert winner.sum() * 0.9 < soft.sum() < winner.sum() < union.sum()
