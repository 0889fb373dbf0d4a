"""What the files of another tool say, before it is settled which camera is the thermal one; and the rig made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from streamfuse.errors import UserError
from streamfuse.frames import Size, wxh
from streamfuse.lens import Floats, Lens, Matrix3, Pose, Row3
from streamfuse.rig import Rig
from streamfuse.yamlfile import explain

THERMAL_WORDS = re.compile(r"(?<![a-z])(thermal|infrared|lwir|tir|ir|flir|boson|lepton|seek)(?![a-z])", re.I)
MOST_BASELINE_M = 3.0
"""Two cameras that are farther apart on one rig are far more often written in millimetres."""
ROUNDED, BROKEN = 1e-6, 1e-2
"""How far rotation x transposed may be off: above the first it is made a rotation, above the second refused."""


class Untold(UserError):
    """The files do not say which camera is the thermal one (or the RGB one); `choices` are their names."""

    def __init__(self, message: str, choices: tuple[str, ...]) -> None:
        super().__init__(message)
        self.choices = choices


@dataclass(frozen=True, slots=True, eq=False)
class FoundCamera:
    """One camera; `also` are other words that mean it; `from_first`: X_this = from_first (4x4, metres) @ X_first.

    `shift_s`: what Kalibr adds to this camera's stamps to get those of the IMU.
    """

    name: str
    lens: Lens
    from_first: Floats
    also: tuple[str, ...] = ()
    shift_s: float | None = None

    def means(self, word: str) -> bool:
        return bool({word, Path(word).name} & {self.name, *self.also})


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The cameras of some files, in their order."""

    files: tuple[Path, ...]
    cameras: tuple[FoundCamera, ...]
    working_depth_m: float | None = None
    thermal_delay_ms: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return ", ".join(map(str, self.files))


@dataclass(frozen=True, slots=True)
class Imported:
    """A rig and what its user must know of how it was read."""

    rig: Rig
    notes: tuple[str, ...]


def rig_of(
    found: Found,
    *,
    name: str,
    thermal: str | None = None,
    rgb: str | None = None,
    working_depth_m: float | None = None,
    metres: float | None = None,
) -> Imported:
    """The rig of two of the cameras found; `metres`: how long one unit of the file's translations is (else 1).

    Raises Untold where nothing says which camera is which, and UserError for a rotation that is none, for cameras
    implausibly far apart, and for a principal point outside its image.
    """
    seeing_heat, seeing_light, notes = _told_apart(found, thermal, rgb)
    pose, pose_notes = _pose(seeing_light.from_first @ inverse(seeing_heat.from_first), metres)
    for camera in (seeing_heat, seeing_light):
        _check_centre(found.source, camera)
    depth_m = working_depth_m or found.working_depth_m
    if depth_m is None:
        depth_m = float("inf")
        notes = (*notes, _depthless(seeing_light.lens, pose))
    delay_ms, delay_notes = _delay(found, seeing_heat, seeing_light)
    rig = Rig(
        name=name,
        thermal=seeing_heat.lens,
        rgb=seeing_light.lens,
        rgb_from_thermal=pose,
        working_depth_m=depth_m,
        thermal_delay_ms=delay_ms,
        notes=f"Imported from {', '.join(file.name for file in found.files)}.",
    )
    return Imported(rig, (*found.notes, *notes, *pose_notes, *delay_notes))


def parts(rig: Rig) -> tuple[Lens, Lens, Pose]:
    """Thermal lens, RGB lens and pose of a full rig."""
    if rig.thermal is None or rig.rgb is None or rig.rgb_from_thermal is None:
        raise UserError(
            f"rig {rig.name} is planar: it knows one matrix from pixels to pixels, and calibration files are made of "
            "lenses and a pose; calibrate both cameras with a target to have them"
        )
    return rig.thermal, rig.rgb, rig.rgb_from_thermal


def transform(rotation: Floats, translation: Floats) -> Floats:
    """4x4 of a rotation and a translation."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, np.ravel(translation)
    return matrix


def inverse(matrix: Floats) -> Floats:
    """Of a rigid transform."""
    turned: Floats = np.transpose(matrix[:3, :3])
    return transform(turned, -turned @ matrix[:3, 3])


def lens_of(
    where: str, size: Size, matrix: Sequence[float], distortion: Sequence[float], *, fisheye: bool = False
) -> Lens:
    """A lens from a camera matrix (9 numbers, row by row) and coefficients in OpenCV's order.

    Raises UserError (beginning with `where`): not calibrated, a skewed matrix, or coefficients that no lens here has.
    """
    fx, skew, cx, _, fy, cy, *_ = matrix
    if not (fx > 0 and fy > 0):
        raise UserError(f"{where}: focal lengths {fx:g} and {fy:g}: the camera is not calibrated; calibrate it first")
    if skew:
        raise UserError(f"{where}: the camera matrix has a skew of {skew:g}, which no lens here has; calibrate without")
    most = 4 if fisheye else 8
    if any(distortion[most:]):
        raise UserError(
            f"{where}: distortion coefficients {most + 1} to {len(distortion)} (thin prism, tilt) are not zero: "
            f"{list(distortion[most:])}; calibrate with at most the rational model (8 coefficients)"
        )
    used = distortion[:most] if fisheye or any(distortion) else ()
    model = "fisheye" if fisheye else "opencv"
    numbers = {"size": size, "model": model, "fx": fx, "fy": fy, "cx": cx, "cy": cy, "distortion": tuple(used)}
    try:
        return Lens.model_validate(numbers)
    except ValidationError as error:
        raise UserError(explain(error, Lens, where)) from error


def _told_apart(found: Found, thermal: str | None, rgb: str | None) -> tuple[FoundCamera, FoundCamera, tuple[str, ...]]:
    heat, notes = _named(found, thermal, "--thermal"), ()
    if heat is None:
        hot = [camera for camera in found.cameras if any(map(THERMAL_WORDS.search, (camera.name, *camera.also)))]
        if len(hot) != 1:
            names = tuple(camera.name for camera in found.cameras)
            raise Untold(
                f"{found.source}: nothing says which of {', '.join(names)} is the thermal camera; "
                f"say it: --thermal {names[-1]}",
                names,
            )
        heat = hot[0]
        called = next(filter(THERMAL_WORDS.search, (heat.name, *heat.also)))
        notes = (f"{' '.join(dict.fromkeys((heat.name, called)))} is taken for the thermal camera by its name",)
    others = [camera for camera in found.cameras if camera is not heat]
    light = _named(replace(found, cameras=tuple(others)), rgb, "--rgb")
    if light is None and len(others) != 1:
        names = tuple(camera.name for camera in others)
        raise UserError(
            f"{found.source}: besides {heat.name} there are {len(others)} cameras: {', '.join(names) or 'none'}; "
            "say --rgb NAME"
        )
    light = light or others[0]
    if np.prod(heat.lens.size) > np.prod(light.lens.size):
        notes = (
            *notes,
            f"the thermal image ({wxh(heat.lens.size)}) is larger than the RGB one ({wxh(light.lens.size)}): swapped?",
        )
    return heat, light, notes


def _named(found: Found, word: str | None, option: str) -> FoundCamera | None:
    if word is None:
        return None
    meant = [camera for camera in found.cameras if camera.means(word)]
    if len(meant) != 1:
        names = ", ".join(camera.name for camera in found.cameras)
        raise UserError(f"{option} {word}: {found.source} has the cameras {names}; name one of them")
    return meant[0]


def _pose(rgb_from_thermal: Floats, metres: float | None) -> tuple[Pose, tuple[str, ...]]:
    rotation, move = rgb_from_thermal[:3, :3], rgb_from_thermal[:3, 3] * (metres or 1.0)
    off, notes = float(np.abs(rotation @ np.transpose(rotation) - np.eye(3)).max()), ()
    if not (off <= BROKEN and np.linalg.det(rotation) > 0 and np.isfinite(move).all()):
        raise UserError(
            f"the rotation between the cameras is none (matrix x transposed is {off:.2g} off, determinant "
            f"{np.linalg.det(rotation):.3g}); write it with more decimals, or see whether rows were mixed up"
        )
    if off > ROUNDED:
        left, _, right = np.linalg.svd(rotation)
        rotation, notes = left @ right, (f"the rotation was rounded (off by {off:.1g}); the nearest one is used",)
    apart = float(np.linalg.norm(move))
    if metres is None and apart > MOST_BASELINE_M:
        raise UserError(
            f"the cameras would be {apart:.3g} m apart, which no rig is: were the lengths millimetres? "
            "Say --unit mm (or cm, or m where it is right)"
        )
    return Pose(rotation=_rows(rotation), translation=_row(move)), notes


def _delay(found: Found, thermal: FoundCamera, rgb: FoundCamera) -> tuple[float, tuple[str, ...]]:
    """Thermal stamp minus RGB stamp of one instant: t_imu = t_camera + shift holds for both."""
    if thermal.shift_s is not None and rgb.shift_s is not None:
        delay_ms = (rgb.shift_s - thermal.shift_s) * 1e3
        return delay_ms, (f"thermal_delay_ms = {delay_ms:.3f}: difference of the two cameras' timeshift_cam_imu",)
    if thermal.shift_s is not None or rgb.shift_s is not None:
        return 0.0, ("timeshift_cam_imu of one camera says nothing of the other: ignored, thermal_delay_ms is 0",)
    return found.thermal_delay_ms or 0.0, ()


def _check_centre(source: str, camera: FoundCamera) -> None:
    lens = camera.lens
    if not (0 <= lens.cx < lens.size[0] and 0 <= lens.cy < lens.size[1]):
        raise UserError(
            f"{source}: the principal point of {camera.name} ({lens.cx:.1f}, {lens.cy:.1f}) lies outside its image "
            f"({wxh(lens.size)}): the lens was measured at another resolution; give the size that belongs to it"
        )


def _depthless(rgb: Lens, pose: Pose) -> str:
    off = rgb.fx * float(np.linalg.norm(pose.translation_vector)) / 10
    return (
        f"no working depth was told: set to infinity, which puts what is 10 m away off by {off:.1f} px; say --depth M"
    )


def _rows(matrix: Floats) -> Matrix3:
    first, second, third = (_row(row) for row in matrix)
    return first, second, third


def _row(row: Any) -> Row3:
    x, y, z = (float(value) for value in row)
    return x, y, z
