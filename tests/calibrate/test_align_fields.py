"""Fields of edge directions: what they must not see, and what they must."""

from __future__ import annotations

import numpy as np
import pytest

from streamfuse.calibrate.align_fields import field, picture
from tests.calibrate.scenes import scene


def test_bright_and_dark_may_change_places():
    thermal, _ = scene(1)
    values, _ = field(*parts(thermal))
    inverted, _ = field(*parts(255 - thermal))
    assert np.abs(values - inverted).max() < 1e-4


def test_gain_and_offset_of_sixteen_bits_change_nothing():
    thermal, _ = scene(1)
    values, _ = field(*parts(thermal))
    counts, _ = field(*parts(thermal.astype(np.uint16) * 90 + 7000))
    assert np.abs(values - counts).max() < 1e-3


def test_a_quarter_turn_changes_the_sign():
    """Edges at right angles must count against a match, not merely not for it."""
    thermal, _ = scene(2)
    upright, _ = field(*parts(thermal))
    turned, _ = field(*parts(np.rot90(thermal)))
    back = np.rot90(turned, -1)
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(upright[inner] + back[inner]).mean() < 0.1 * np.abs(upright[inner]).mean()


@pytest.mark.parametrize("shade", [0, 255])
def test_an_even_frame_is_unseen_and_makes_no_edges(shade):
    _, visible = scene(3)
    framed = np.full_like(visible, shade)
    framed[30:-30, 40:-40] = visible[30:-30, 40:-40].clip(1, 254)
    seen = picture(framed).seen
    assert seen[:25].max() == 0
    assert seen[40:-40, 50:-50].min() == 1
    values, trusted = field(*parts(framed))
    assert np.abs(values[:26]).max() < 1e-6
    assert trusted[:30].max() == 0


def test_a_dark_sky_inside_the_picture_stays_seen():
    thermal, _ = scene(4)
    thermal[60:120, 80:160] = 0
    assert picture(thermal).seen.min() == 1


def parts(pixels):
    one = picture(pixels)
    return one.grey, one.seen
