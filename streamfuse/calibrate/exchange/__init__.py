"""Rigs from and to the files of other tools: ROS camera_info, Kalibr camchain, OpenCV FileStorage.

    found = read_files([Path("camchain.yaml")])
    rig = rig_of(found, thermal="cam1", name="mast")
    write_files(rig, "ros", Path("out"))

Each format has one module that reads it into `Found` and writes it from a rig; only this one knows them all. Whatever a
format cannot say, or says in another way, is told in words (`notes`), never passed over in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel

from streamfuse.calibrate.exchange.found import Found, Untold, parts, rig_of
from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.rig import Rig
from streamfuse.yamlfile import read_yaml

__all__ = ["Form", "Found", "Untold", "read_files", "rig_of", "write_files"]

Form = Literal["ros", "kalibr", "opencv"]
FILE_STORAGE = ("%YAML", "<?xml")
"""How a FileStorage begins; its YAML has a version line (%YAML:1.0, %YAML 1.2) that no other tool here writes."""


class _Keys(BaseModel, extra="allow"):
    """Any YAML mapping: what it is shows in its keys."""


def read_files(paths: Sequence[Path], sizes: Sequence[Size | None] = (None, None)) -> Found:
    """The cameras that these files describe; the format is told from their contents.

    `sizes`: of the first and the second camera, for OpenCV files, which need not say them. Raises UserError naming the
    file, the key, what was found and what is allowed.
    """
    forms = {path: _form(path) for path in paths}
    kinds = {form.split("-")[0] for form in forms.values()}
    if len(kinds) != 1:
        told = ", ".join(f"{path} ({form})" for path, form in forms.items())
        raise UserError(f"found files of several formats: {told}; give those of one calibration")
    if kinds == {"opencv"}:
        from streamfuse.calibrate.exchange.opencv import read_opencv

        return read_opencv(paths, sizes)
    if kinds == {"kalibr"}:
        from streamfuse.calibrate.exchange.kalibr import read_kalibr

        return read_kalibr(paths)
    from streamfuse.calibrate.exchange.ros import read_ros

    chosen = {form: [path for path in paths if forms[path] == form] for form in ("ros-camera", "ros-pair")}
    return read_ros(chosen["ros-camera"], chosen["ros-pair"])


def write_files(rig: Rig, form: Form, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Write the rig's lenses and pose into `folder` (made if missing): the files, and what they cannot say.

    Raises UserError for a planar rig, which has neither, and for a lens that the format does not know.
    """
    if form not in get_args(Form):
        raise UserError(f"format {form!r} is unknown; choose one of {', '.join(get_args(Form))}")
    parts(rig)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}; name another folder") from error
    if form == "opencv":
        from streamfuse.calibrate.exchange.opencv import write_opencv

        return write_opencv(rig, folder)
    if form == "kalibr":
        from streamfuse.calibrate.exchange.kalibr import write_kalibr

        return write_kalibr(rig, folder)
    from streamfuse.calibrate.exchange.ros import write_ros

    return write_ros(rig, folder)


def _form(path: Path) -> str:
    try:
        start = path.read_text(encoding="utf-8", errors="replace")[:200].lstrip("\ufeff \n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}; give calibration files of ROS, Kalibr or OpenCV"
        ) from error
    if start.startswith(FILE_STORAGE):
        return "opencv"
    keys = set(read_yaml(path, _Keys, "calibration file").model_extra or {})
    for form, sign in (("kalibr", "cam0"), ("ros-pair", "transform"), ("ros-camera", "camera_matrix")):
        if sign in keys:
            return form
    if keys & {"rgb_from_thermal", "rgb_from_thermal_homography"}:
        raise UserError(f"{path}: this is a rig file already; name it in the run file")
    if keys & {"image_width", "distortion_coefficients"}:
        return "ros-camera"
    raise UserError(
        f"{path}: neither ROS camera_info (camera_matrix), ROS transform (transform), Kalibr camchain (cam0), nor an "
        f"OpenCV file (first line %YAML); found the keys {', '.join(sorted(keys)[:8])}"
    )
