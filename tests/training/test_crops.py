"""Batches: repeatable, registered, and wanted as the docs say; an earlier view is where its flow points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_sets import ramp_pair

from streamfuse.training.crops import Ahead, Batch, Crops
from streamfuse.training.losses.temporal import TemporalConsistencyLoss
from streamfuse.training.losses.term import Previous
from streamfuse.training.settings import AugmentConfig

CLEAN = AugmentConfig(smallest=1, tone=0, night=0, noise=0, blank=0)


def batch_of(*, crop: int = 16, size: int = 16, seed: int = 1, step: int = 0, **augment: float) -> Batch:
    settings = CLEAN.model_copy(update=augment)
    return Crops([ramp_pair()], settings, crop=crop, batch=size, seed=seed).at(step)


def slopes(batch: Batch) -> set[tuple[int, int, int, int]]:
    """Of each crop: thermal and visible change from corner to corner, along x and y, in rows or columns."""
    hot, seen = batch.thermal[:, 0] * 255 / 4, batch.visible[:, 0] * 255 / 4
    changes = ((one[0, -1] - one[0, 0], one[-1, 0] - one[0, 0]) for pair in zip(hot, seen, strict=True) for one in pair)
    flat = [round(float(change)) for both in changes for change in both]
    return {(flat[k], flat[k + 1], flat[k + 2], flat[k + 3]) for k in range(0, len(flat), 4)}


def test_both_images_are_cut_scaled_and_flipped_alike() -> None:
    """Thermal grows along y, visible along x: each crop must say one place and one pair of flips."""
    batch = batch_of(size=32)
    assert slopes(batch) == {(0, down, across, 0) for down in (15, -15) for across in (15, -15)}
    assert torch.equal(batch.thermal, batch.wanted_thermal)
    assert torch.equal(batch.visible, batch.wanted_visible)


def test_turned_crops_exchange_the_axes_of_both() -> None:
    turned = {(along, 0, 0, down) for along in (15, -15) for down in (15, -15)}
    assert slopes(batch_of(size=64, turn=1.0)) == turned


def test_batches_depend_on_seed_and_step_alone() -> None:
    one, same, other = (Crops([ramp_pair()], AugmentConfig(), crop=16, batch=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.at(7).thermal, same.at(7).thermal)
    assert not torch.equal(one.at(7).thermal, one.at(8).thermal)
    assert not torch.equal(one.at(7).thermal, other.at(7).thermal)


def test_two_processes_draw_what_one_of_twice_the_batch_would() -> None:
    augment = AugmentConfig(motion=1.0, misregistration=1.0)
    whole = Crops([ramp_pair()], augment, crop=16, batch=6, seed=1).at(3).tensors()
    halves = [Crops([ramp_pair()], augment, crop=16, batch=3, seed=1, first=n).at(3).tensors() for n in (0, 3)]
    assert len(whole) == 8
    for name, images in whole.items():
        assert torch.equal(images, torch.cat([half[name] for half in halves])), name


def test_batches_prepared_ahead_are_the_same_batches() -> None:
    crops = Crops([ramp_pair()], AugmentConfig(), crop=16, batch=2, seed=1)
    ahead = Ahead(crops.at)
    for step in (0, 1, 2, 7, 1):
        assert torch.equal(ahead.at(step).thermal, crops.at(step).thermal)
    ahead.close()


def test_pairs_are_drawn_by_their_share() -> None:
    dark, bright = ramp_pair(), ramp_pair()
    bright.images()[0][:] = 255
    object.__setattr__(bright, "share", 3.0)
    batch = Crops([dark, bright], CLEAN, crop=16, batch=400, seed=0).at(0)
    assert (batch.thermal.amin((1, 2, 3)) == 1).float().mean() == pytest.approx(0.75, abs=0.06)


def test_what_is_degraded_is_not_what_is_wanted() -> None:
    blank = batch_of(blank=1.0)
    for hot, seen, wanted_hot, wanted_seen in zip(
        blank.thermal, blank.visible, blank.wanted_thermal, blank.wanted_visible, strict=True
    ):
        assert hot.std() < 1e-6 < seen.std()
        assert torch.equal(wanted_hot, seen)
        assert torch.equal(wanted_seen, seen)
    noise = batch_of(noise=1.0)
    assert 0.001 < (noise.thermal - noise.wanted_thermal).std() < 0.04


def test_another_exposure_or_polarity_is_wanted_as_it_is_given() -> None:
    plain = batch_of()
    wrong = batch_of(exposure=1.0)
    gains = (wrong.visible / plain.visible.clamp(min=1 / 255)).amax((1, 2, 3))
    assert gains.min() < 0.5
    assert gains.max() > 2
    assert wrong.visible.max() == 1
    assert torch.equal(wrong.visible, wrong.wanted_visible)
    inverted = batch_of(inversion=1.0)
    assert torch.allclose(inverted.thermal, 1 - plain.thermal)
    assert torch.equal(inverted.thermal, inverted.wanted_thermal)
    assert torch.equal(inverted.visible, plain.visible)


def test_lamps_glare_in_front_of_what_is_warm() -> None:
    plain, glare = batch_of(), batch_of(glare=1.0)
    assert torch.equal(glare.thermal, plain.thermal)
    assert torch.equal(glare.visible, glare.wanted_visible)
    assert (glare.visible >= plain.visible).all()
    for hot, seen, lit in zip(plain.thermal, plain.visible, glare.visible, strict=True):
        white = lit == 1
        assert 0 < white.float().mean() < 0.5, "a lamp blinds a part of the picture"
        assert ((lit - seen) > 0.05).float().mean() < 1, "and not all of it"
        assert hot[white].max() >= hot.flatten().quantile(0.97)


def test_misregistration_moves_thermal_alone_and_by_no_more_than_asked() -> None:
    plain, apart = batch_of(size=64), batch_of(size=64, misregistration=2.0)
    assert torch.equal(plain.visible, apart.visible)
    assert torch.equal(apart.thermal, apart.wanted_thermal)
    moved = ((apart.thermal - plain.thermal) * 255 / 4)[..., 4:-4, 4:-4].mean((1, 2, 3))  # rows, away from the border
    assert 1.2 < moved.abs().max() <= 2.1
    assert moved.abs().min() < 0.3


def test_pairs_smaller_than_a_crop_are_enlarged() -> None:
    batch = Crops([ramp_pair(20, 30)], AugmentConfig(motion=1.0), crop=48, batch=2, seed=0).at(0)
    assert batch.visible.shape == (2, 1, 48, 48)


def test_an_earlier_view_lies_where_its_flow_points() -> None:
    """The visible ramp tells its column, thermal its row: warped by the flow, the earlier view is the one of now."""
    batch = batch_of(motion=1.0, motion_px=5, size=8)
    then = batch.earlier
    assert then is not None
    assert then.flow.abs().amax() > 1
    assert 0.3 < then.mask.mean() < 1
    for now, before in ((batch.thermal, then.thermal), (batch.visible, then.visible)):
        same = TemporalConsistencyLoss()(now, now, now, previous=Previous(before, then.flow, then.mask))
        assert same < 1e-6
        still = Previous(before, torch.zeros_like(then.flow), then.mask)
        assert TemporalConsistencyLoss()(now, now, now, previous=still) > 0.01
    assert batch_of(motion=0.0).earlier is None


def test_an_earlier_view_has_noise_of_its_own() -> None:
    batch = batch_of(motion=1.0, motion_px=1, noise=1.0, size=32)
    then = batch.earlier
    assert then is not None
    still = then.flow.abs().amax((1, 2, 3)) == 0
    assert still.any()
    assert (batch.thermal[still] - then.thermal[still]).std() > 0.001
    assert (batch.wanted_thermal[still] - then.thermal[still]).abs().max() < 0.3


def test_the_share_of_batches_with_an_earlier_view() -> None:
    crops = Crops([ramp_pair()], CLEAN.model_copy(update={"motion": 0.3}), crop=8, batch=1, seed=0)
    assert np.mean([crops.at(step).earlier is not None for step in range(200)]) == pytest.approx(0.3, abs=0.1)
