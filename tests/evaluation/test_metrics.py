"""The metrics: values that follow from the definitions, known extremes, gradients, and agreement of float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from streamfuse.evaluation.contrast import average_gradient, spatial_frequency, standard_deviation
from streamfuse.evaluation.correlation import scd
from streamfuse.evaluation.edges import edges, qabf
from streamfuse.evaluation.fidelity import vif, vif_of_each, worse_source_vif
from streamfuse.evaluation.information import entropy, mutual_information
from streamfuse.evaluation.structure import levels_for, ms_ssim, ssim
from streamfuse.evaluation.windows import filtered, gaussian, uniform

SLOPED = (vif, worse_source_vif, qabf, ssim, ms_ssim, scd)


def picture(seed, size=(64, 72), count=1):
    """Smooth shapes and some noise in whole levels: N 1 H W float64."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 6, 7, generator=generator, dtype=torch.float64) * 255
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False)
    return (smooth + torch.randn(count, 1, *size, generator=generator, dtype=torch.float64) * 4).round().clamp(0, 255)


def columns(*values):
    """One row of pixels, repeated 4 times."""
    return torch.tensor(values, dtype=torch.float64).repeat(1, 1, 4, 1)


@pytest.fixture(scope="module")
def pair():
    return picture(1), picture(2)


def test_windows_are_those_of_a_convolution_and_so_is_their_gradient():
    images = torch.rand(2, 3, 20, 23, dtype=torch.float64, requires_grad=True)
    weights = gaussian(5, 1.2)
    kernel = torch.outer(*[torch.tensor(weights, dtype=torch.float64)] * 2)[None, None]
    straight = F.conv2d(images.reshape(6, 1, 20, 23), kernel).reshape(2, 3, 16, 19)
    torch.testing.assert_close(filtered(images, weights), straight)
    small, weights = torch.rand(1, 1, 4, 5, dtype=torch.float64, requires_grad=True), gaussian(3, 1.0)
    assert torch.autograd.gradcheck(lambda image: filtered(image, weights), small)
    assert torch.autograd.gradgradcheck(lambda image: filtered(image, weights).square(), small)
    assert sum(uniform(7)) == pytest.approx(1)


def test_entropy_counts_bits():
    assert entropy(columns(0, 85, 170, 255)).item() == pytest.approx(2)
    assert entropy(columns(0, 255), unit="nats").item() == pytest.approx(math.log(2))
    assert entropy(columns(7, 7)).item() == 0


def test_mutual_information_of_a_copy_is_its_entropy_and_of_a_flat_image_nothing(pair):
    flat = torch.full_like(pair[0], 9.0)
    assert mutual_information(pair[0], pair[0], flat).item() == pytest.approx(entropy(pair[0], "nats").item())
    bits = mutual_information(*pair, pair[0], unit="bits").item()
    assert bits == pytest.approx(1.442695 * mutual_information(*pair, pair[0]).item())


def test_contrast_by_hand():
    ramp = columns(0, 10, 20, 30)
    assert standard_deviation(ramp).item() == pytest.approx(math.sqrt(125))
    assert spatial_frequency(ramp).item() == pytest.approx(10)
    assert average_gradient(ramp).item() == pytest.approx(10 / math.sqrt(2))


def test_scd_knows_what_was_added(pair):
    thermal, visible = pair
    assert scd(thermal + visible, thermal, visible).item() == pytest.approx(2)
    assert scd(visible, thermal, visible).item() < 1
    assert scd(torch.full_like(visible, 3.0), thermal, visible).item() == pytest.approx(2 * scd_of_constant(*pair))
    assert scd(visible, torch.full_like(visible, 5.0), visible).item() == pytest.approx(1)


def scd_of_constant(thermal, visible):
    """A flat fused image adds the other's negative: minus the correlation of the sources."""
    return -np.corrcoef(thermal.flatten().numpy(), visible.flatten().numpy())[0, 1]


def test_vif_of_a_copy_is_one_and_noise_or_blur_take_from_it(pair):
    thermal, visible = pair
    assert vif_of_each(thermal, thermal, visible)[0, 0].item() == pytest.approx(1)
    blurred = F.avg_pool2d(F.pad(thermal, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    noisy = thermal + torch.randn_like(thermal) * 20
    for worse in (blurred, noisy):
        assert vif_of_each(worse, thermal, visible)[0, 0].item() < 0.8
    assert vif_of_each(2 * thermal - 100, thermal, visible)[0, 0].item() > 1  # more contrast is more information
    copy = vif_of_each(visible, thermal, visible)[0]
    assert worse_source_vif(visible, thermal, visible).item() == copy.min().item() < 0.3
    assert vif(visible, thermal, visible, over="mean").item() == pytest.approx(copy.mean().item())


def test_qabf_by_the_published_curves():
    edge = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    edge[..., 8:] = 100
    flat = torch.zeros_like(edge)
    # a kept edge: strength rated by itself at a tie, direction 0.9879 / (1 + exp(-22 (1 - 0.8)))
    assert qabf(edge, edge, flat).item() == pytest.approx(0.9994 * 0.9879 / (1 + math.exp(-4.4)), rel=1e-3)
    half = qabf(edge / 2, edge, flat).item()  # half the strength: 0.9994 / (1 + exp(0))
    assert half == pytest.approx(0.9994 / 2 * 0.9879 / (1 + math.exp(-4.4)), rel=1e-6)
    assert qabf(edge.mT, edge, flat).item() < 0.25  # what is left: the two share the corner and the border
    assert qabf(edge, flat, flat).item() == 0


def test_edge_directions_have_no_quadrant():
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 1, 9, 9, generator=generator, dtype=torch.float64) * 255
    torch.testing.assert_close(edges(image)[1], edges(-image)[1])


def test_ssim_is_two_for_copies_of_equal_sources_and_range_matters(pair):
    thermal, visible = pair
    assert ssim(thermal, thermal, thermal).item() == pytest.approx(2)
    low, true = ssim(thermal, visible, visible).item() / 2, ssim(thermal, visible, visible, 255.0, "mean").item()
    assert low < true


def test_ssim_equals_the_definition_in_one_window():
    one, other = picture(4, (7, 7)), picture(5, (7, 7))
    a, b = one.flatten().numpy(), other.flatten().numpy()
    (va, cov), (_, vb) = np.cov(a, b)
    c1, c2 = 0.02**2, 0.06**2
    wanted = (2 * a.mean() * b.mean() + c1) * (2 * cov + c2) / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2))
    assert ssim(one, other, other, over="mean").item() == pytest.approx(wanted, rel=1e-9)


def test_ms_ssim_is_one_for_copies_and_needs_fewer_scales_for_small_images(pair):
    assert ms_ssim(pair[0], pair[0], pair[0]).item() == pytest.approx(1)
    assert [levels_for(side) for side in (11, 21, 22, 44, 88, 175, 176, 999)] == [1, 1, 2, 3, 4, 4, 5, 5]
    with pytest.raises(ValueError, match="11 pixels"):
        levels_for(10)


def test_a_batch_is_its_images_one_by_one():
    fused, thermal, visible = (picture(seed, count=3) for seed in (6, 7, 8))
    for figure in (*SLOPED, mutual_information):
        single = torch.cat(
            [figure(*three) for three in zip(*(x.split(1) for x in (fused, thermal, visible)), strict=True)]
        )
        torch.testing.assert_close(figure(fused, thermal, visible), single, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("figure", SLOPED, ids=lambda figure: figure.__name__)
def test_float32_agrees_with_the_referee(figure, pair):
    fused = ((pair[0] + pair[1]) / 2).round()
    exact, quick = figure(fused, *pair), figure(fused.float(), *(one.float() for one in pair))
    assert quick.dtype == torch.float32
    torch.testing.assert_close(quick.double(), exact, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("figure", SLOPED, ids=lambda figure: figure.__name__)
def test_gradients_are_those_of_small_steps(figure):
    generator = torch.Generator().manual_seed(9)
    fused, thermal, visible = (
        torch.rand(1, 1, 48, 48, generator=generator, dtype=torch.float64) * 200 for _ in range(3)
    )
    fused = (fused + thermal + visible) / 3
    step = torch.randn(1, 1, 48, 48, generator=generator, dtype=torch.float64) * 1e-5
    fused.requires_grad_()
    (slope,) = torch.autograd.grad(figure(fused, thermal, visible).sum(), fused)
    with torch.no_grad():
        change = (figure(fused + step, thermal, visible) - figure(fused - step, thermal, visible)).item() / 2
    assert (slope * step).sum().item() == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize("figure", SLOPED, ids=lambda figure: figure.__name__)
@pytest.mark.parametrize("case", ["equal", "black", "saturated", "flat fused", "flat sources", "few levels"])
def test_gradients_in_float32_are_finite_wherever_images_are_flat(figure, case):
    images = {
        "equal": (picture(1).float(),) * 3,
        "black": (torch.zeros(1, 1, 64, 64),) * 3,
        "saturated": (torch.full((1, 1, 64, 64), 255.0), picture(1, (64, 64)).float() + 250, torch.zeros(1, 1, 64, 64)),
        "flat fused": (torch.full((1, 1, 64, 72), 77.3), picture(1).float(), picture(2).float()),
        "flat sources": (picture(1).float(), torch.full((1, 1, 64, 72), 50.1), torch.full((1, 1, 64, 72), 9.0)),
        "few levels": tuple((picture(seed) / 64).round().float() for seed in (1, 2, 3)),
    }[case]
    fused = images[0].clone().requires_grad_()
    value = figure(fused, *images[1:])
    (slope,) = torch.autograd.grad(value.sum(), fused)
    assert value.isfinite().all()
    assert slope.isfinite().all()
    assert slope.abs().max() < 1


@pytest.mark.parametrize("figure", [vif, ssim, ms_ssim])
def test_images_smaller_than_a_window_are_refused(figure):
    with pytest.raises(ValueError, match="images of"):
        figure(*[torch.zeros(1, 1, 6, 40)] * 3)
