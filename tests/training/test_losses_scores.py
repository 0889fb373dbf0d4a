"""Loss terms made from scores: 0 where nothing is missing, falling as the score rises, with a slope everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from streamfuse.evaluation.correlation import scd
from streamfuse.evaluation.edges import qabf
from streamfuse.evaluation.fidelity import vif_of_each
from streamfuse.training.losses.complement import ComplementLoss
from streamfuse.training.losses.edge_transfer import EdgeTransferLoss
from streamfuse.training.losses.fidelity import FidelityLoss
from streamfuse.training.losses.overshoot import OvershootLoss

ALL = [ComplementLoss, EdgeTransferLoss, FidelityLoss, OvershootLoss]


def picture(seed: int, height: int = 60, width: int = 72, cells: int = 9) -> Tensor:
    small = torch.rand(2, 1, cells, cells + 2, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("loss", ALL)
def test_a_copy_of_equal_sources_costs_nothing(loss):
    image = picture(1)
    assert float(loss()(image, image, image)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_flat_images_cost_something_finite_with_a_finite_slope(loss, kind):
    fused = torch.full((1, 1, 48, 50), 0.4, dtype=kind, requires_grad=True)
    cost = loss()(fused, torch.full_like(fused, 0.2).detach(), torch.full_like(fused, 0.6).detach())
    cost.backward()
    assert torch.isfinite(cost)
    assert torch.isfinite(fused.grad).all()


@pytest.mark.parametrize("loss", ALL)
def test_descending_the_slope_lowers_the_cost(loss):
    thermal, visible = picture(2), picture(3, cells=14)
    fused = (1.3 * torch.maximum(thermal, visible) - 0.1).requires_grad_()
    before = loss()(fused, thermal, visible)
    (slope,) = torch.autograd.grad(before, fused)
    moved = fused.detach() - 2e-3 * slope / slope.abs().max()
    assert float(loss()(moved, thermal, visible)) < float(before.detach())


@pytest.mark.parametrize("loss", ALL)
def test_the_slope_is_that_of_small_steps_in_double_precision(loss):
    """Along a few directions: a full check of 2 000 pixels would take minutes. No edge is a source's own: Qabf has a
    kink there."""
    thermal, visible, other = (picture(seed, 41, 45, 13).double() for seed in (2, 3, 4))
    fused = (1.2 * torch.maximum(thermal, visible) + 0.2 * other - 0.1).requires_grad_()
    (slope,) = torch.autograd.grad(loss()(fused, thermal, visible), fused)
    assert slope.abs().max() > 0
    for seed in range(3):
        noise = torch.rand(fused.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5
        step = 1e-8 * (noise + slope / slope.abs().max())
        with torch.no_grad():
            change = float(loss()(fused + step, thermal, visible) - loss()(fused - step, thermal, visible)) / 2
        assert float((slope * step).sum()) == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (11, 90)])
def test_any_size_will_do_where_the_score_has_one(loss, size):
    fused, thermal, visible = torch.rand(3, 2, 1, *size, generator=torch.Generator().manual_seed(5))
    fused.requires_grad_()
    if loss is FidelityLoss:
        with pytest.raises(ValueError, match="41 x 41"):
            loss()(fused, thermal, visible)
        return
    cost = loss()(fused, thermal, visible)
    cost.backward()
    assert torch.isfinite(cost)
    assert torch.isfinite(fused.grad).all()
    if size == (1, 1):
        assert float(loss()(thermal, thermal, thermal)) == 0, "a pixel has no edge and lacks nothing"


def test_complement_is_what_is_missing_of_scd_on_coarse_means():
    thermal, visible = picture(4), picture(5)
    fused = (thermal + visible) / 2
    coarse = [F.avg_pool2d(image, 12) for image in (fused, thermal, visible)]
    expected = (1.7 - scd(*coarse)).clamp_min(0).mean()
    assert float(ComplementLoss(cell=12, enough=1.7)(fused, thermal, visible)) == pytest.approx(
        float(expected), rel=2e-2
    )
    assert float(ComplementLoss()(thermal + visible, thermal, visible)) < 1e-3
    assert float(ComplementLoss()(visible, thermal, visible)) > 0.5


def test_edge_transfer_is_what_is_missing_of_qabf():
    thermal, visible = picture(6), picture(7)
    fused = torch.maximum(thermal, visible)
    missing = 0.975 - qabf(*(255 * image for image in (fused, thermal, visible)), border="replicate").mean()
    assert float(EdgeTransferLoss()(fused, thermal, visible)) == pytest.approx(float(missing), abs=2e-3)
    assert float(EdgeTransferLoss()(torch.full_like(fused, 0.5), thermal, visible)) > 0.85


def test_edge_transfer_wants_no_line_along_a_bright_border():
    thermal, visible = 0.1 + 0.3 * picture(6), 0.8 + 0.2 * picture(7)
    fused = 0.35 * thermal + 0.4 * visible
    lined = fused.clone()
    lined[..., 1, :] += 0.1  # the row whose difference from outside the image stands at the border
    images = [255 * image for image in (thermal, visible)]
    assert qabf(255 * lined, *images).mean() > qabf(255 * fused, *images).mean()  # what the score wants
    assert EdgeTransferLoss()(lined, thermal, visible) > EdgeTransferLoss()(fused, thermal, visible)


def test_fidelity_weighs_the_worse_source_as_asked():
    thermal, visible = picture(8), picture(9)
    fused = 0.3 * thermal + 0.7 * visible
    lost = 1 - vif_of_each(*(255 * image for image in (fused, thermal, visible)))
    assert float(FidelityLoss(worse=1)(fused, thermal, visible)) == pytest.approx(float(lost.amax(1).mean()), rel=1e-4)
    assert float(FidelityLoss(worse=0)(fused, thermal, visible)) == pytest.approx(float(lost.mean()), rel=1e-4)
    copy = float(FidelityLoss(worse=1)(visible, thermal, visible))
    assert copy > float(FidelityLoss(worse=1)(fused, thermal, visible)), "a copy gives up the other source"


def test_overshoot_counts_what_lies_beyond_the_local_range_of_both():
    thermal, visible = torch.full((1, 1, 40, 40), 0.2), torch.full((1, 1, 40, 40), 0.5)
    inside = torch.linspace(0.2, 0.5, 1600).reshape(1, 1, 40, 40)
    assert float(OvershootLoss()(inside, thermal, visible)) == 0
    spot = inside.clone()
    spot[..., 10, 10], spot[..., 30, 30] = 0.9, 0.0
    assert float(OvershootLoss()(spot, thermal, visible)) == pytest.approx((0.4 + 0.2) / 1600, rel=1e-4)
    bright = thermal.clone()
    bright[..., 12, 12] = 1.0
    assert float(OvershootLoss(window=7)(spot, bright, visible)) == pytest.approx(0.2 / 1600, rel=1e-4)
