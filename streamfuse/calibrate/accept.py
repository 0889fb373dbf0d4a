"""When a solved rig may be trusted: the rule, and what is said where a rig misses it.

A rig that misses a rule is written all the same, marked provisional with these reasons. Knows nothing of solving.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamfuse.calibrate.views import Floats

THERMAL_RMS_PX = 0.5
HELD_OUT_PX = 1.0
POSES = 15
TILT_DEGREES = 10.0
CORNER = 0.25  # of width and height: how far a corner reaches into the image
PLACES = {"thermal": "the thermal image", "rgb": "the part of the RGB image that thermal sees"}
CORNERS = ("top left", "top right", "bottom left", "bottom right")


@dataclass(frozen=True, slots=True)
class Measured:
    """What the rule looks at. `held_out_px` NaN: too few views to leave some out. `tilt_degrees`: RMS angle between
    the target's planes and their mean. `bare_corners`: of each of `PLACES`, those without any point.
    `loose_px`: where the views share no one rig, by how much they typically miss it in RGB."""

    thermal_rms_px: float
    held_out_px: float
    poses: int
    tilt_degrees: float
    bare_corners: dict[str, tuple[str, ...]]
    loose_px: float | None = None


def reasons(measured: Measured) -> tuple[str, ...]:
    """Why a rig is provisional: what was found, what is asked, what to do; empty where it is accepted."""
    return tuple(
        reason
        for reason in (
            _thermal(measured.thermal_rms_px),
            _loose(measured.loose_px),
            _held_out(measured.held_out_px),
            _poses(measured.poses),
            _tilt(measured.tilt_degrees),
            *(_coverage(camera, bare) for camera, bare in measured.bare_corners.items()),
        )
        if reason
    )


def bare_corners(pixels: Floats, box: tuple[float, float, float, float]) -> tuple[str, ...]:
    """Corners of a box (left, top, right, bottom; pixels) in which none of `pixels` (N 2) lies."""
    left, top, right, bottom = box
    across, along = (pixels[:, 0] - left) / (right - left), (pixels[:, 1] - top) / (bottom - top)
    near = [across < CORNER, across > 1 - CORNER]
    edge = [along < CORNER, along > 1 - CORNER]
    seen = [bool(np.any(side & end)) for end in edge for side in near]
    return tuple(name for name, there in zip(CORNERS, seen, strict=True) if not there)


def _thermal(found: float) -> str:
    if found <= THERMAL_RMS_PX:
        return ""
    return (
        f"thermal RMS is {found:.2f} px, at most {THERMAL_RMS_PX:g} is asked: hold target and rig still, focus, raise "
        "the target's thermal contrast, and leave blurred views out"
    )


def _loose(found: float | None) -> str:
    if found is None:
        return ""
    return (
        f"the views do not share one rig: each fits its lenses, together they typically miss by {found:.1f} px: fix "
        "both cameras to one plate, hold rig and target still, and take both images at the same instant"
    )


def _held_out(found: float) -> str:
    if np.isnan(found):
        return "no held-out error, for too few views show the target to both cameras: take at least 15"
    if found <= HELD_OUT_PX:
        return ""
    return (
        f"held-out error from thermal to RGB is {found:.2f} px (RMS, RGB pixels), at most {HELD_OUT_PX:g} is asked: "
        "take both images at the same instant, spread the views over image and distance, check that the target is flat"
    )


def _poses(found: int) -> str:
    if found >= POSES:
        return ""
    return f"{found} poses count in both cameras, at least {POSES} are asked: take {POSES - found} more"


def _tilt(found: float) -> str:
    if found >= TILT_DEGREES:
        return ""
    return (
        f"the target's tilt spreads by {found:.1f} degrees, at least {TILT_DEGREES:g} are asked: tilt it by 20 to 40 "
        "degrees, to the left, right, up and down"
    )


def _coverage(camera: str, bare: tuple[str, ...]) -> str:
    if not bare:
        return ""
    corners = " and ".join(part for part in (", ".join(bare[:-1]), bare[-1]) if part)
    return (
        f"no target point in the {corners} corner of {PLACES[camera]} (outer quarter each way): the lens "
        "is extrapolated there: take views with the target in every corner"
    )
