"""The trial of the drift correction: it plays, injects and reports; here on drawn scenes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamfuse.calibrate.drift_trial import injected, summary, try_drift
from streamfuse.calibrate.report.overlays import Pair
from streamfuse.errors import UserError


def pairs(count: int) -> list[Pair]:
    random, image = np.random.default_rng(0), np.full((240, 320), 80, np.uint8)
    for x, y, size, value in random.integers((0, 0, 8, 20), (320, 240, 40, 230), (40, 4)).tolist():
        cv2.rectangle(image, (x, y), (x + size, y + size // 2), value, -1)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    return [Pair(str(k), 255 - image, np.repeat(image[..., None], 3, axis=2)) for k in range(count)]


def test_what_is_injected() -> None:
    assert not injected("none", 100).any()
    np.testing.assert_allclose(injected("knock", 15), (6.4, -4.8))
    np.testing.assert_allclose(np.hypot(*injected("slow", 25)), 5)
    np.testing.assert_allclose(np.hypot(*injected("slow", 60)), 10)


@pytest.mark.parametrize("kind", ["none", "knock"])
def test_a_trial_ends_aligned(kind: str) -> None:
    told = summary(try_drift(pairs(3), None, kind, 26))
    assert told["last_error_px"] < 1
    assert told["back_s"] <= 10
    assert (told["applied_px"] > 0) == (kind == "knock")


def test_bad_trials_are_told() -> None:
    with pytest.raises(UserError, match="one of none, slow, knock"):
        try_drift(pairs(2), None, "fast", 20)
    with pytest.raises(UserError, match="2 pairs or more"):
        try_drift(pairs(1), None, "none", 20)
