"""The trial of the drift correction: it plays, injects and reports; here on drawn scenes."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from streamfuse.calibrate.commands.drift import drift
from streamfuse.calibrate.drift_trial import START_S, injected, summary, try_drift
from streamfuse.calibrate.report.overlays import Pair
from streamfuse.depths import Geometry
from streamfuse.errors import UserError


def pairs(count: int) -> list[Pair]:
    random, image = np.random.default_rng(0), np.full((240, 320), 80, np.uint8)
    for x, y, size, value in random.integers((0, 0, 8, 20), (320, 240, 40, 230), (40, 4)).tolist():
        cv2.rectangle(image, (x, y), (x + size, y + size // 2), value, -1)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    return [Pair(str(k), 255 - image, np.repeat(image[..., None], 3, axis=2)) for k in range(count)]


def test_what_is_injected() -> None:
    assert injected("none", 100) == injected("roll", START_S) == Geometry()
    np.testing.assert_allclose(injected("knock", START_S).moved_px, (6.4, -4.8))
    np.testing.assert_allclose(np.hypot(*injected("slow", START_S + 10).moved_px), 5)
    np.testing.assert_allclose(np.hypot(*injected("slow", START_S + 45).moved_px), 10)
    np.testing.assert_allclose(injected("roll", START_S + 10).turned, (math.radians(0.15), 0))
    np.testing.assert_allclose(injected("zoom", START_S + 60).turned, (0, 0.005))


@pytest.mark.parametrize("kind", ["none", "knock"])
def test_a_trial_ends_aligned(kind: str) -> None:
    told = summary(try_drift(pairs(3), None, kind, 51))
    assert told["last_error_px"] < 1
    assert told["back_s"] <= 10
    assert (told["applied_px"] > 0) == (kind == "knock")


def test_the_error_is_that_of_the_worst_corner() -> None:
    moment = try_drift(pairs(2), None, "zoom", 61)[-1]
    assert moment.injected_px == pytest.approx(0.005 * math.hypot(319, 239) / 2, rel=0.01)
    assert moment.error_px <= moment.injected_px + 0.1


def test_each_pair_is_held_as_long_as_asked() -> None:
    still, other = pairs(1)[0], pairs(1)[0]
    flat = Pair("flat", np.full_like(other.thermal, 90), np.full_like(other.visible, 90))
    trusted = [moment.alignment.trusted for moment in try_drift([still, flat], None, "none", 8, hold_s=4)]
    assert trusted[7] == 1.0
    assert trusted[15] < 0.2


def test_bad_trials_are_told() -> None:
    with pytest.raises(UserError, match="one of none, slow, knock, roll, zoom"):
        try_drift(pairs(2), None, "fast", 20)
    with pytest.raises(UserError, match="2 pairs or more"):
        try_drift(pairs(1), None, "none", 20)


def test_a_plot_that_has_no_place_is_told_before_the_trial(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--plot .*file: cannot be made"):
        drift(tmp_path / "ir", tmp_path / "vis", plot=tmp_path / "file" / "error.png")
