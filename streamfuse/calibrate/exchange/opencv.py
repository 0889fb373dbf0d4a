"""OpenCV's FileStorage, as the stereo calibration sample writes it: M1 D1 M2 D2 R T.

R and T take coordinates of camera 1 to camera 2: X_2 = R @ X_1 + T. The first line (%YAML:1.0) and the tag
!!opencv-matrix stop ordinary YAML readers, so OpenCV reads and writes it. The sample writes M and D into one file, R
and T into another; both may be given. T is in whatever unit the board's squares were told in.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from streamfuse.calibrate.exchange.found import Found, FoundCamera, lens_of, parts, transform
from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.lens import Floats, Lens
from streamfuse.rig import Rig

SIZES = (("image_width{}", "image_height{}"), ("image_width", "image_height"))


def read_opencv(paths: Sequence[Path], sizes: Sequence[Size | None] = (None, None)) -> Found:
    """Cameras 1 and 2; their sizes from the files where those say them, else as given."""
    nodes = _Nodes(paths)
    notes: list[str] = []
    cameras: list[FoundCamera] = []
    for number, size, from_first in (
        (1, sizes[0], np.eye(4)),
        (2, sizes[1], transform(nodes.matrix("R", 9).reshape(3, 3), nodes.matrix("T", 3))),
    ):
        lens = _lens(nodes, number, _size(nodes, number, size), notes)
        name = nodes.text(f"camera_name{number}")
        cameras.append(FoundCamera(str(number), lens, from_first, (f"M{number}", *((name,) if name else ()))))
    depth, delay = nodes.number("working_depth_m"), nodes.number("thermal_delay_ms")
    return Found(tuple(paths), tuple(cameras), depth, delay, tuple(notes))


def write_opencv(rig: Rig, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """stereo.yml: camera 1 = thermal, camera 2 = RGB, so that R and T are rgb_from_thermal (metres)."""
    thermal, rgb, pose = parts(rig)
    path = folder / "stereo.yml"
    storage = _opened(path, cv2.FILE_STORAGE_WRITE)
    for number, name, lens in ((1, "thermal", thermal), (2, "rgb", rgb)):
        storage.write(f"camera_name{number}", name)
        storage.write(f"image_width{number}", lens.size[0])
        storage.write(f"image_height{number}", lens.size[1])
        storage.write(f"fisheye_model{number}", int(lens.model == "fisheye"))
        storage.write(f"M{number}", lens.matrix)
        storage.write(f"D{number}", np.array([lens.distortion or (0.0,) * 5]))
    storage.write("R", pose.rotation_matrix)
    storage.write("T", pose.translation_vector[:, None])
    storage.write("working_depth_m", float(rig.working_depth_m or np.inf))
    storage.write("thermal_delay_ms", rig.thermal_delay_ms)
    storage.release()
    return [path], ("camera 1 is the thermal camera, T is in metres; the file does not say residual_px",)


class _Nodes:
    """The nodes of several files as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._storages = [_opened(path, cv2.FILE_STORAGE_READ) for path in paths]
        self.source = ", ".join(map(str, paths))

    def has(self, name: str) -> bool:
        return self._node(name) is not None

    def matrix(self, name: str, count: int | None = None) -> Floats:
        """All numbers of a matrix, flat. Raises UserError where it is missing or has another number of them."""
        node = self._node(name)
        if node is None:
            raise UserError(
                f"{self.source}: `{name}` is missing; a stereo calibration has M1 D1 M2 D2 R T (the sample of OpenCV "
                "writes them into intrinsics.yml and extrinsics.yml: give both)"
            )
        with _told(self.source):
            values = np.asarray(node.mat(), dtype=np.float64).ravel()
        if count is not None and len(values) != count:
            raise UserError(f"{self.source}: `{name}`: {count} numbers were expected, found {len(values)}")
        if not np.isfinite(values).all():
            raise UserError(f"{self.source}: `{name}` holds numbers that are not finite; the calibration failed")
        return values

    def number(self, name: str) -> float | None:
        node = self._node(name)
        return node.real() if node is not None else None

    def text(self, name: str) -> str:
        node = self._node(name)
        return node.string() if node is not None else ""

    def _node(self, name: str) -> cv2.FileNode | None:
        nodes = (storage.getNode(name) for storage in self._storages)
        return next((node for node in nodes if not node.empty()), None)


def _lens(nodes: _Nodes, number: int, size: Size, notes: list[str]) -> Lens:
    where = f"{nodes.source}: camera {number}"
    coefficients = nodes.matrix(f"D{number}").tolist()
    told = next((name for name in (f"fisheye_model{number}", "fisheye_model") if nodes.has(name)), None)
    fisheye = told is not None and bool(nodes.number(told))
    if len(coefficients) == 4 and told is None:
        notes.append(
            f"camera {number}: 4 coefficients are taken for k1 k2 p1 p2; add `fisheye_model: 1` to the file where they "
            "are k1 k2 k3 k4 of cv2.fisheye"
        )
    return lens_of(where, size, nodes.matrix(f"M{number}", 9).tolist(), coefficients, fisheye=fisheye)


def _size(nodes: _Nodes, number: int, asked: Size | None) -> Size:
    for keys in SIZES:
        width, height = (nodes.number(key.format(number)) for key in keys)
        if width and height:
            return int(width), int(height)
    if asked is None:
        raise UserError(
            f"{nodes.source}: the image size of camera {number} is not in the file; "
            "say both: --thermal-size 640x512 --rgb-size 1920x1080"
        )
    return asked


def _opened(path: Path, mode: int) -> cv2.FileStorage:
    with _told(str(path)):
        storage = cv2.FileStorage(str(path), mode)
    if not storage.isOpened():
        raise UserError(f"{path}: OpenCV cannot open it; see whether the folder exists and the file is complete")
    return storage


@contextmanager
def _told(source: str) -> Generator[None]:
    try:
        yield
    except (cv2.error, SystemError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{source}: OpenCV cannot read it ({reason}); see whether the file is complete") from error
