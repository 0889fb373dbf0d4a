"""ROS camera_info YAML, one file a camera, and a third one for the pair.

camera_info knows nothing of a second camera, so the pair's file is a stamped transform as ROS writes one: the child
frame's pose in the header's frame, X_header = rotation @ X_child + translation, quaternion x y z w. Frames must be
optical ones (z forward, x right, y down; REP 103), as ours are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from streamfuse.calibrate.exchange.found import Found, FoundCamera, inverse, lens_of, parts, transform
from streamfuse.errors import UserError
from streamfuse.lens import Floats, Lens
from streamfuse.rig import Rig
from streamfuse.yamlfile import read_yaml, write_yaml

MODELS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
OPTICAL = "optical"
UNIT_SLACK = 1e-3


class Data(BaseModel, extra="ignore"):
    data: list[float]


class CameraInfo(BaseModel, extra="ignore"):
    image_width: int = Field(gt=0)
    image_height: int = Field(gt=0)
    camera_name: str = ""
    camera_matrix: Data
    distortion_model: str = "plumb_bob"
    distortion_coefficients: Data
    rectification_matrix: Data | None = None


class Header(BaseModel, extra="ignore"):
    frame_id: str


class Vector(BaseModel, extra="ignore"):
    x: float
    y: float
    z: float


class Quaternion(Vector):
    w: float


class Transform(BaseModel, extra="ignore"):
    translation: Vector
    rotation: Quaternion


class Ours(BaseModel, extra="ignore"):
    working_depth_m: float | None = None
    thermal_delay_ms: float | None = None


class PairTransform(BaseModel, extra="ignore"):
    header: Header
    child_frame_id: str
    transform: Transform
    streamfuse: Ours = Ours()


def read_ros(cameras: Sequence[Path], pairs: Sequence[Path]) -> Found:
    """Two camera_info files and the transform between their optical frames."""
    if len(cameras) != 2 or len(pairs) != 1:
        raise UserError(
            f"found {len(cameras)} camera_info and {len(pairs)} transform files; a rig needs two camera_info files and "
            "one transform (header.frame_id, child_frame_id, transform: streamfuse calibrate export writes one)"
        )
    pair = read_yaml(pairs[0], PairTransform, "ROS transform")
    infos = [read_yaml(path, CameraInfo, "ROS camera_info") for path in cameras]
    named = [info.camera_name or path.stem for path, info in zip(cameras, infos, strict=True)]
    frames = [pair.header.frame_id, pair.child_frame_id]
    words = [(name, path.stem) for name, path in zip(named, cameras, strict=True)]
    header_from_child = _matrix(pairs[0], pair.transform)
    first_is_header = _first_is(pairs[0], pair.header.frame_id, pair.child_frame_id, words)
    second_from_first = inverse(header_from_child) if first_is_header else header_from_child
    found = tuple(
        FoundCamera(name, _lens(path, info), from_first, (path.name, path.stem))
        for name, path, info, from_first in zip(named, cameras, infos, (np.eye(4), second_from_first), strict=True)
    )
    notes = tuple(_rectified(path, info) for path, info in zip(cameras, infos, strict=True))
    if not all(OPTICAL in frame for frame in frames):
        notes += (
            f"{pairs[0]}: frames {', '.join(frames)} are not called optical: the transform must be between frames "
            "with z forward, x right, y down, not between the cameras' bodies",
        )
    ours = pair.streamfuse
    return Found((*cameras, *pairs), found, ours.working_depth_m, ours.thermal_delay_ms, tuple(filter(None, notes)))


def write_ros(rig: Rig, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """thermal.yaml, rgb.yaml, and rgb_from_thermal.yaml: the thermal camera's pose in the RGB optical frame."""
    thermal, rgb, pose = parts(rig)
    documents = {"thermal": _info("thermal", thermal), "rgb": _info("rgb", rgb)}
    x, y, z = pose.translation
    documents["rgb_from_thermal"] = {
        "header": {"frame_id": "rgb_optical_frame"},
        "child_frame_id": "thermal_optical_frame",
        "transform": {
            "translation": {"x": x, "y": y, "z": z},
            "rotation": _quaternion(pose.rotation_matrix),
        },
        "streamfuse": {"working_depth_m": rig.working_depth_m, "thermal_delay_ms": rig.thermal_delay_ms},
    }
    paths = [folder / f"{name}.yaml" for name in documents]
    for path, document in zip(paths, documents.values(), strict=True):
        write_yaml(path, document)
    return paths, ("camera_info says nothing of residual_px",)


def _first_is(path: Path, header: str, child: str, words: Sequence[tuple[str, ...]]) -> bool:
    """Is the header's frame the first camera's? `words`: what may mean each camera."""

    def means(frame: str, camera: int) -> bool:
        return any(word.lower() in frame.lower() for word in words[camera])

    straight, crossed = means(header, 0) and means(child, 1), means(header, 1) and means(child, 0)
    if straight == crossed:
        raise UserError(
            f"{path}: frames {header} and {child} cannot be told to be of the cameras {words[0][0]} and {words[1][0]}; "
            "let each frame's name contain its camera's camera_name"
        )
    return straight


def _lens(path: Path, info: CameraInfo) -> Lens:
    matrix = info.camera_matrix.data
    if len(matrix) != 9:
        raise UserError(f"{path}: `camera_matrix.data`: 9 numbers were expected, found {len(matrix)}")
    if not any(matrix):
        raise UserError(f"{path}: the camera matrix is zero, by which ROS says that the camera is not calibrated")
    if info.distortion_model not in MODELS:
        raise UserError(
            f"{path}: `distortion_model` = {info.distortion_model!r} is unknown; allowed are {', '.join(MODELS)}"
        )
    size = (info.image_width, info.image_height)
    coefficients, fisheye = info.distortion_coefficients.data, info.distortion_model == "equidistant"
    return lens_of(str(path), size, matrix, coefficients, fisheye=fisheye)


def _rectified(path: Path, info: CameraInfo) -> str:
    turn = info.rectification_matrix.data if info.rectification_matrix else []
    if not turn or np.allclose(turn, np.eye(3).ravel()):
        return ""
    return f"{path}: its rectification is not used: a rig maps the camera's own, unrectified images"


def _info(name: str, lens: Lens) -> dict[str, Any]:
    model = (
        "equidistant"
        if lens.model == "fisheye"
        else "rational_polynomial"
        if len(lens.distortion) == 8
        else "plumb_bob"
    )
    count = MODELS[model]
    coefficients = [*lens.distortion, *[0.0] * (count - len(lens.distortion))]
    matrix = [lens.fx, 0.0, lens.cx, 0.0, lens.fy, lens.cy, 0.0, 0.0, 1.0]
    return {
        "image_width": lens.size[0],
        "image_height": lens.size[1],
        "camera_name": name,
        "camera_matrix": _data(3, matrix),
        "distortion_model": model,
        "distortion_coefficients": _data(1, coefficients),
        "rectification_matrix": _data(3, np.eye(3).ravel().tolist()),
        "projection_matrix": _data(3, [*matrix[:3], 0.0, *matrix[3:6], 0.0, *matrix[6:], 0.0]),
    }


def _data(rows: int, values: list[float]) -> dict[str, Any]:
    return {"rows": rows, "cols": len(values) // rows, "data": values}


def _matrix(path: Path, found: Transform) -> Floats:
    q = found.rotation
    length = float(np.sqrt(q.x**2 + q.y**2 + q.z**2 + q.w**2))
    if abs(length - 1) > UNIT_SLACK:
        raise UserError(f"{path}: `transform.rotation` has the length {length:.4g}; a rotation's quaternion has 1")
    x, y, z, w = (value / length for value in (q.x, q.y, q.z, q.w))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    move = found.translation
    return transform(rotation, np.array([move.x, move.y, move.z]))


def _quaternion(rotation: Floats) -> dict[str, float]:
    """x y z w with w >= 0, from the largest of its four parts (S. Shepperd, 1978), which loses no digits."""
    trace = float(np.trace(rotation))
    squares = np.array([*(1 - trace + 2 * np.diag(rotation)), 1 + trace])  # 4 x^2, 4 y^2, 4 z^2, 4 w^2
    off = rotation - np.transpose(rotation)
    turn = np.array([off[2, 1], off[0, 2], off[1, 0]])  # 4 w (x, y, z)
    both = rotation + np.transpose(rotation)
    largest = int(np.argmax(squares))
    if largest == 3:
        q = np.array([*turn, squares[3]])
    else:
        q = np.array([*both[largest], turn[largest]])
        q[largest] = squares[largest]
    q = q / np.linalg.norm(q) * (1 if q[3] >= 0 else -1)
    return dict(zip("xyzw", map(float, q), strict=True))
