"""Temporal loss and the flow it needs: motion followed, hidden places left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_images import noise, smooth
from torch import Tensor
from torch.nn import functional as F

from streamfuse.training.losses.flow import flow_between
from streamfuse.training.losses.temporal import TemporalConsistencyLoss, warped
from streamfuse.training.losses.term import Previous


def moved(scene: Tensor, right: int, down: int) -> tuple[Tensor, Previous]:
    """A window on the scene, and the one before, when everything was so much further left and up."""
    now, before = scene[..., 8:-8, 8:-8], torch.roll(scene, (-down, -right), (-2, -1))[..., 8:-8, 8:-8]
    flow = torch.tensor([-right, -down], dtype=scene.dtype).view(1, 2, 1, 1).expand(1, 2, *now.shape[-2:])
    return now, Previous(before, flow, torch.ones_like(now))


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (-2, 5)])
def test_what_moves_along_the_flow_costs_nothing(right, down) -> None:
    loss = TemporalConsistencyLoss()
    now, previous = moved(noise(48, 56, 1, 1), right, down)
    assert float(loss(now, now, now, previous=previous)) < 1e-5
    assert float(loss(now + 0.1, now, now, previous=previous)) == pytest.approx(0.1, abs=1e-4)


def test_without_the_flow_the_same_frames_differ() -> None:
    now, previous = moved(noise(48, 56, 1, 1), 3, 1)
    still = Previous(previous.fused, torch.zeros_like(previous.flow), previous.visible)
    assert float(TemporalConsistencyLoss()(now, now, now, previous=still)) > 0.1


def test_half_a_pixel_is_the_mean_of_both_neighbours() -> None:
    image = noise(6, 9, 2, 1)
    half = Previous(image, torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 6, 9), torch.ones_like(image))
    found, known = warped(half)
    assert torch.allclose(found[..., :-1], (image[..., :-1] + image[..., 1:]) / 2, atol=1e-5)
    assert known[..., :-1].min() == 1
    assert known[..., -1].max() == 0


def test_hidden_places_and_those_outside_do_not_count() -> None:
    loss = TemporalConsistencyLoss()
    now, previous = moved(noise(48, 56, 3, 1), 4, 0)
    wrong, visible = now.clone(), torch.ones_like(now)
    wrong[..., 10:20, 10:20] = 0
    visible[..., 10:20, 10:20] = 0
    assert float(loss(wrong, now, now, previous=previous)) > 0.01
    assert float(loss(wrong, now, now, previous=Previous(previous.fused, previous.flow, visible))) < 1e-5
    wrong[..., :4] = 0  # came into view from the left
    assert float(loss(wrong, now, now, previous=Previous(previous.fused, previous.flow, visible))) < 1e-5


def test_nothing_known_or_no_previous_frame_costs_nothing() -> None:
    now, previous = moved(noise(48, 56, 3, 1), 4, 0)
    fused = (now * 0.5).requires_grad_()
    hidden = Previous(previous.fused, previous.flow, torch.zeros_like(now))
    (
        TemporalConsistencyLoss()(fused, now, now, previous=hidden) + TemporalConsistencyLoss()(fused, now, now)
    ).backward()
    assert fused.grad is not None
    assert float(fused.grad.abs().max()) == 0


@pytest.mark.parametrize("norm", ["l1", "charbonnier"])
def test_slopes_are_right_for_both_frames(norm) -> None:
    now, previous = moved(noise(22, 24, 4, 1).double(), 1, 0)
    loss = TemporalConsistencyLoss(norm=norm)

    def cost(fused: Tensor, before: Tensor) -> Tensor:
        return loss(fused, now, now, previous=Previous(before, previous.flow + 0.3, previous.visible))

    images = (noise(6, 8, 5, 1).double(), noise(6, 8, 6, 1).double())
    assert torch.autograd.gradcheck(cost, [image.requires_grad_() for image in images])


def test_half_precision_and_flat_frames_have_finite_slopes() -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float32):
        fused = torch.full((1, 1, 8, 9), 0.5, dtype=kind, requires_grad=True)
        same = Previous(fused.detach(), torch.zeros(1, 2, 8, 9, dtype=kind), torch.ones(1, 1, 8, 9, dtype=kind))
        for norm in ("l1", "charbonnier"):
            cost = TemporalConsistencyLoss(norm=norm)(fused, fused.detach(), fused.detach(), previous=same)
            assert cost.dtype == torch.float32
            assert float(cost.detach()) == 0
            cost.backward()
        assert torch.isfinite(fused.grad).all()


def test_flow_finds_the_motion_and_what_it_hides() -> None:
    """A textured square moves 6 px to the right before a still background."""
    background = F.interpolate(noise(24, 30, 1, 1), (96, 120), mode="bicubic")[0, 0]
    square = F.interpolate(noise(10, 10, 2, 1), (40, 40), mode="bicubic")[0, 0]
    frames = []
    for left in (30, 36):
        frame = background.clone()
        frame[28:68, left : left + 40] = square
        frames.append((frame.clamp(0, 1) * 255).byte().numpy())
    before, now = frames
    flow, visible = flow_between(now, before)
    assert flow.shape == (2, 96, 120)
    assert visible.shape == (1, 96, 120)
    assert float(flow[0, 36:60, 44:68].median()) == pytest.approx(-6, abs=0.3)
    assert float(flow[:, :16].abs().median()) < 0.2
    uncovered = visible[0, 34:62, 30:34]  # the background that the square leaves behind
    assert float(uncovered.mean()) < 0.7
    assert float(visible[0, 36:60, 44:68].mean()) > 0.95
    assert float(visible[0, :16].mean()) > 0.95


def test_the_flow_makes_consecutive_frames_alike() -> None:
    scene = smooth(7, 80, 96)
    frames = [(scene[..., shift : 64 + shift, 2 * shift : 80 + 2 * shift] * 255).byte()[0, 0] for shift in (0, 2)]
    before, now = (frame.numpy().astype(np.uint8) for frame in frames)
    flow, visible = flow_between(now, before)
    tensors = [torch.from_numpy(frame)[None, None].float() / 255 for frame in (now, before)]
    loss, images = TemporalConsistencyLoss(), (tensors[0],) * 3
    followed = float(loss(*images, previous=Previous(tensors[1], flow[None], visible[None])))
    still = float(loss(*images, previous=Previous(tensors[1], torch.zeros_like(flow)[None], visible[None])))
    assert followed < 0.2 * still
