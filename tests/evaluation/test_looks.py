"""Looks: scenes in which the right answer is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from streamfuse.evaluation.looks import flat_energy, hot_contrast, looks, overshoots, sky_light


def scene(size=(120, 160)):
    """A hot square of 220 on 60 in the thermal image, a visible image of 100 with a soft slope."""
    thermal = np.full(size, 60, np.uint8)
    thermal[50:62, 70:82] = 220
    visible = np.broadcast_to(np.linspace(80, 120, size[1]), size).astype(np.uint8)
    return thermal, visible.copy()


def noisy(image, spread, seed=0):
    return np.clip(image + np.random.default_rng(seed).normal(0, spread, image.shape), 0, 255).astype(np.uint8)


def test_hot_contrast_is_that_of_the_thermal_image_or_a_part_of_it():
    thermal, visible = scene()
    assert hot_contrast(thermal, thermal) == (pytest.approx(1), 0)
    half = (thermal.astype(float) / 2 + 40).astype(np.uint8)
    assert hot_contrast(half, thermal) == (pytest.approx(0.5), 0)
    share, inverted = hot_contrast(255 - thermal, thermal)
    assert share == pytest.approx(-1)
    assert inverted == 1
    assert abs(hot_contrast(visible, thermal)[0]) < 0.02


def test_one_of_two_regions_may_be_inverted():
    thermal = scene()[0]
    thermal[10:22, 10:22] = 220
    fused = thermal.copy()
    fused[10:22, 10:22] = 0
    assert hot_contrast(fused, thermal)[1] == 0.5


def test_a_thermal_image_without_anything_hot_has_no_hot_figure():
    flat = np.full((60, 60), 90, np.uint8)
    assert all(math.isnan(figure) for figure in hot_contrast(flat, flat))
    faint = flat.copy()
    faint[20:30, 20:30] += 3  # stands out, by less than counts
    assert math.isnan(hot_contrast(faint, faint)[0])


def test_flat_energy_sees_mottling_where_both_sources_are_flat_and_nowhere_else():
    thermal, visible = scene()
    assert flat_energy(visible, thermal, visible) == pytest.approx(1, abs=0.05)
    assert flat_energy(noisy(visible, 4), thermal, visible) > 10
    busy = visible.copy()
    busy[:, 80:] = noisy(visible, 40, 1)[:, 80:]
    fused = visible.copy()
    fused[:, 100:] = noisy(visible, 60, 2)[:, 100:]  # wild, but only where the visible image is busy
    assert flat_energy(fused, np.full_like(thermal, 60), busy) == pytest.approx(1, abs=0.05)
    everywhere = noisy(np.full((60, 60), 128), 40)
    assert math.isnan(flat_energy(everywhere, everywhere, everywhere))


def day(sky):
    """A sky of that level over a lively ground."""
    image = noisy(np.full((120, 160), 100), 30)
    image[:50] = sky
    return image


def test_sky_is_the_share_of_light_that_is_left():
    thermal, visible = day(20), day(240)
    assert sky_light(visible, thermal, visible) == pytest.approx(1)
    assert sky_light(thermal, thermal, visible) == pytest.approx(0)
    assert sky_light(day(75), thermal, visible) == pytest.approx(0.25, abs=0.01)
    clouds = visible.copy()
    clouds[:50] = noisy(clouds[:50], 20)
    for no_sky in ((day(200), visible), (day(0), day(150)), (thermal, clouds), (thermal, noisy(visible * 0 + 100, 30))):
        assert math.isnan(sky_light(visible, *no_sky))


def test_nothing_between_the_sources_overshoots():
    thermal, visible = scene()
    for fused in (thermal, visible, np.maximum(thermal, visible), (thermal // 2 + visible // 2)):
        assert overshoots(fused, thermal, visible) == (0, 0)


def test_a_veil_overshoots_but_is_no_rim_and_a_halo_is_both():
    thermal, visible = scene()
    sources = np.maximum(thermal, visible)
    veiled = sources.clip(0, 200) + 30
    overshoot, rim = overshoots(veiled, thermal, visible)
    assert overshoot == pytest.approx(30, abs=3)
    assert rim < 12
    square = (thermal == 220).astype(np.uint8)
    halo = cv2.dilate(square, np.ones((17, 17))) - cv2.dilate(square, np.ones((11, 11)))
    rimmed = sources + 40 * halo
    overshoot, rim = overshoots(rimmed, thermal, visible)
    assert overshoot > 25
    assert rim > 0.6 * overshoot
    dark = overshoots(np.minimum(thermal, visible) - 40 * halo, thermal, visible)
    assert dark[1] > 15


def test_looks_has_its_six_figures():
    assert list(looks(*[scene()[0]] * 3)) == ["hot", "inverted", "flat", "sky", "overshoot", "rim"]
