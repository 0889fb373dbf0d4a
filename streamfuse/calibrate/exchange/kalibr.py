"""Kalibr's camchain YAML. `T_cn_cnm1` takes coordinates of the previous camera to this one: X_n = T @ X_(n-1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, RootModel

from streamfuse.calibrate.exchange.found import Found, FoundCamera, lens_of, parts, transform
from streamfuse.errors import UserError
from streamfuse.lens import Floats, Lens
from streamfuse.rig import Rig
from streamfuse.yamlfile import read_yaml, write_yaml

Row4 = tuple[float, float, float, float]
MODELS = ("radtan", "equidistant", "none")


class KalibrCamera(BaseModel, extra="ignore"):
    camera_model: str
    intrinsics: list[float]
    distortion_model: str
    distortion_coeffs: list[float] = []
    resolution: tuple[int, int]
    rostopic: str = ""
    T_cn_cnm1: tuple[Row4, Row4, Row4, Row4] | None = None
    timeshift_cam_imu: float | None = None


class Camchain(RootModel[dict[str, KalibrCamera]]):
    """cam0, cam1, ... as many as there are."""


def read_kalibr(paths: Sequence[Path]) -> Found:
    """The cameras of one camchain. Raises UserError for a model that is neither radtan nor equidistant."""
    if len(paths) != 1:
        raise UserError(f"found {len(paths)} Kalibr files; one camchain holds both cameras: give that one")
    path = paths[0]
    chain = read_yaml(path, Camchain, "Kalibr camchain").root
    names = [f"cam{number}" for number in range(len(chain))]
    if sorted(chain) != sorted(names) or len(names) < 2:
        raise UserError(f"{path}: cam0, cam1 and so on were looked for, found {', '.join(chain)}")
    cameras: list[FoundCamera] = []
    for name in names:
        from_first = _link(path, name, chain[name]) @ cameras[-1].from_first if cameras else np.eye(4)
        camera = chain[name]
        lens = _lens(f"{path}: {name}", camera)
        also = (camera.rostopic,) if camera.rostopic else ()
        cameras.append(FoundCamera(name, lens, from_first, also, camera.timeshift_cam_imu))
    return Found((path,), tuple(cameras))


def write_kalibr(rig: Rig, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """camchain.yaml: cam0 = thermal, cam1 = RGB, so that cam1's T_cn_cnm1 is rgb_from_thermal."""
    thermal, rgb, pose = parts(rig)
    link = transform(pose.rotation_matrix, pose.translation_vector)
    document = {
        "cam0": {**_camera("thermal", thermal), "cam_overlaps": [1]},
        "cam1": {**_camera("rgb", rgb), "cam_overlaps": [0], "T_cn_cnm1": link.tolist()},
    }
    path = folder / "camchain.yaml"
    write_yaml(path, document)
    unsaid = "a camchain does not say working_depth_m and residual_px"
    delay = f", nor thermal_delay_ms ({rig.thermal_delay_ms:g})" if rig.thermal_delay_ms else ""
    return [path], (f"cam0 is the thermal camera; {unsaid}{delay}",)


def _link(path: Path, name: str, camera: KalibrCamera) -> Floats:
    if camera.T_cn_cnm1 is None:
        raise UserError(
            f"{path}: `{name}.T_cn_cnm1` is missing (the previous camera's coordinates to {name}'s); "
            "calibrate both cameras in one run of kalibr_calibrate_cameras"
        )
    return np.array(camera.T_cn_cnm1)


def _lens(where: str, camera: KalibrCamera) -> Lens:
    if camera.camera_model != "pinhole" or len(camera.intrinsics) != 4:
        raise UserError(
            f"{where}.camera_model is {camera.camera_model!r} with {len(camera.intrinsics)} intrinsics; allowed is "
            "pinhole (fx fy cx cy): calibrate again with pinhole-radtan or pinhole-equi"
        )
    if camera.distortion_model not in MODELS:
        raise UserError(
            f"{where}.distortion_model is {camera.distortion_model!r}; allowed are {', '.join(MODELS)}: "
            "calibrate again with pinhole-radtan or pinhole-equi"
        )
    fx, fy, cx, cy = camera.intrinsics
    coefficients = () if camera.distortion_model == "none" else camera.distortion_coeffs
    if camera.distortion_model != "none" and len(coefficients) != 4:
        raise UserError(f"{where}.distortion_coeffs: 4 numbers were expected, found {len(coefficients)}")
    matrix = (fx, 0, cx, 0, fy, cy, 0, 0, 1)
    return lens_of(where, camera.resolution, matrix, coefficients, fisheye=camera.distortion_model == "equidistant")


def _camera(topic: str, lens: Lens) -> dict[str, Any]:
    beyond = lens.distortion[4:]
    if any(beyond):
        raise UserError(
            f"the {topic} lens has the coefficients k3 to k6 ({', '.join(f'{k:.3g}' for k in beyond)}) and Kalibr's "
            "radtan model ends at k1 k2 p1 p2; export it as ros or opencv, or solve it anew with "
            "--model radtan"
        )
    coefficients = (*lens.distortion[:4], *(0.0,) * (4 - len(lens.distortion)))
    return {
        "camera_model": "pinhole",
        "intrinsics": [lens.fx, lens.fy, lens.cx, lens.cy],
        "distortion_model": "equidistant" if lens.model == "fisheye" else "radtan",
        "distortion_coeffs": list(coefficients),
        "resolution": list(lens.size),
        "rostopic": f"/{topic}/image_raw",
    }
