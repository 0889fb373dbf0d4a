"""The acceptance rule: each failing part says what was found, what is asked and what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamfuse.calibrate.accept import Measured, bare_corners, reasons

GOOD = Measured(thermal_rms_px=0.5, held_out_px=1.0, poses=15, tilt_degrees=10, bare_corners={"thermal": (), "rgb": ()})


def test_a_rig_on_the_limits_passes():
    assert reasons(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "found", "asked", "remedy"),
    [
        ({"thermal_rms_px": 0.51}, "0.51 px", "0.5", "hold target and rig still"),
        ({"held_out_px": 1.3}, "1.30 px", "1 ", "same instant"),
        ({"held_out_px": float("nan")}, "no held-out error", "15", "take at least"),
        ({"poses": 11}, "11 poses", "15", "take 4 more"),
        ({"tilt_degrees": 4.0}, "4.0 degrees", "10", "tilt it"),
        ({"bare_corners": {"rgb": ("top left", "top right", "bottom left")}}, "the top left, top right and", "", ""),
        (
            {"bare_corners": {"rgb": ("top left",)}},
            "top left corner of the part of the RGB image that thermal sees",
            "outer quarter",
            "every corner",
        ),
        ({"loose_px": 6.3}, "6.3 px", "one rig", "one plate"),
    ],
)
def test_each_rule_says_what_was_found_asked_and_to_do(change, found, asked, remedy):
    (reason,) = reasons(replace(GOOD, **change))
    assert all(part in reason for part in (found, asked, remedy)), reason


def test_all_failing_rules_are_told():
    assert len(reasons(replace(GOOD, thermal_rms_px=1, held_out_px=2, poses=1, tilt_degrees=1))) == 4


def test_corners_without_points_are_named():
    box = (-0.5, -0.5, 639.5, 479.5)
    assert bare_corners(np.array([[320.0, 240.0]]), box) == ("top left", "top right", "bottom left", "bottom right")
    assert bare_corners(np.array([[10.0, 10.0], [630, 470], [159, 361]]), box) == ("top right",)
    assert bare_corners(np.array([[161.0, 10.0]]), box)[0] == "top left"
