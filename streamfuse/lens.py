"""One camera's optics and where it stands: pixels to rays, points to pixels, as plain numpy.

Knows nothing of images, files or the second camera.

Convention: pixel centres at integers, x right, y down, z forward; a ray is (X/Z, Y/Z), without unit; points in metres.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, Field, PositiveInt, ValidationInfo, field_validator

from streamfuse import distortion as opencv
from streamfuse import fisheye
from streamfuse.distortion import Bools, Coefficients, Floats

PixelSize = tuple[PositiveInt, PositiveInt]
Row3 = tuple[float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]

ROTATION_TOLERANCE = 1e-5


class Lens(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Intrinsics in pixels, and distortion.

    model "opencv": pinhole, distortion in OpenCV's order: k1 k2 p1 p2 [k3 [k4 k5 k6]]. "fisheye": equidistant after
    Kannala and Brandt, k1 k2 k3 k4 as in OpenCV's fisheye module; it sees at most the half space in front of it.
    """

    size: PixelSize
    model: Literal["opencv", "fisheye"] = "opencv"
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float
    distortion: tuple[float, ...] = Field(default=(), validate_default=True)

    @field_validator("distortion")
    @classmethod
    def _known_count(cls, distortion: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        found = len(distortion)
        if info.data.get("model") == "fisheye" and found != 4:
            raise ValueError(f"4 coefficients of a fisheye lens (k1 k2 k3 k4), found {found}")
        if info.data.get("model") == "opencv" and found not in (0, 4, 5, 8):
            raise ValueError(f"0, 4, 5 or 8 coefficients (k1 k2 p1 p2 k3 k4 k5 k6), found {found}")
        return distortion

    @property
    def matrix(self) -> Floats:
        """3x3 camera matrix: pixel = matrix @ (ray, 1)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])

    @property
    def fold_radius(self) -> float:
        """Ray length up to which the radial distortion can be trusted (see `distortion`, `fisheye`)."""
        return self._model.fold_radius(self._coefficients)

    def project(self, points: ArrayLike) -> tuple[Floats, Bools]:
        """Points (... 3, in metres or any other scale) to pixels (... 2), and where that is valid.

        Valid: in front of the camera and not beyond the distortion's fold. Elsewhere the pixels are finite but mean
        nothing; whether a pixel lies on the image is not looked at.
        """
        points = np.asarray(points, dtype=np.float64)
        in_front = points[..., 2] > 0
        depth = np.where(in_front, points[..., 2], 1.0)
        rays = np.stack([points[..., 0] / depth, points[..., 1] / depth])
        if self._undistorted:
            return self._pixels(rays), in_front
        valid = in_front & self._model.unfolded(self._coefficients, rays)
        return self._pixels(self._model.distort(self._coefficients, np.where(valid, rays, 0.0))), valid

    def rays(self, pixels: ArrayLike) -> tuple[Floats, Bools]:
        """Pixels (... 2) to undistorted rays (... 2), and where one exists; elsewhere the rays are zero."""
        pixels = np.asarray(pixels, dtype=np.float64)
        seen = np.stack([(pixels[..., 0] - self.cx) / self.fx, (pixels[..., 1] - self.cy) / self.fy])
        if self._undistorted:
            return np.moveaxis(seen, 0, -1), np.ones(seen.shape[1:], dtype=np.bool_)
        rays, found = self._model.undistort(self._coefficients, seen)
        return np.moveaxis(rays, 0, -1), found

    def scaled(self, size: tuple[int, int]) -> Lens:
        """The same lens on an image resampled to `size` (half-pixel convention, as cv2.resize does)."""
        sx, sy = size[0] / self.size[0], size[1] / self.size[1]
        moved = {"cx": (self.cx + 0.5) * sx - 0.5, "cy": (self.cy + 0.5) * sy - 0.5}
        return self.model_copy(update={"size": size, "fx": self.fx * sx, "fy": self.fy * sy, **moved})

    def _pixels(self, rays: Floats) -> Floats:
        return np.stack([self.fx * rays[0] + self.cx, self.fy * rays[1] + self.cy], axis=-1)

    @property
    def _model(self) -> ModuleType:
        return fisheye if self.model == "fisheye" else opencv

    @property
    def _undistorted(self) -> bool:
        return self.model == "opencv" and not any(self.distortion)

    @property
    def _coefficients(self) -> Coefficients:
        count = 4 if self.model == "fisheye" else 8
        return (*self.distortion, *(0.0,) * (count - len(self.distortion)))


class Pose(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """X_target = rotation @ X_source + translation, in metres."""

    rotation: Matrix3
    translation: Row3

    @field_validator("rotation")
    @classmethod
    def _is_rotation(cls, rotation: Matrix3) -> Matrix3:
        matrix: Floats = np.array(rotation, dtype=np.float64)
        off = float(np.abs(matrix @ np.transpose(matrix) - np.eye(3)).max())
        if off > ROTATION_TOLERANCE:
            raise ValueError(
                f"not a rotation: matrix x transposed differs from identity by {off:.2g}, allowed is "
                f"{ROTATION_TOLERANCE:g}; write at least 6 decimals"
            )
        if np.linalg.det(matrix) < 0:
            raise ValueError("not a rotation: it mirrors (determinant -1); an axis has the wrong sign")
        return rotation

    @property
    def rotation_matrix(self) -> Floats:
        return np.array(self.rotation)

    @property
    def translation_vector(self) -> Floats:
        return np.array(self.translation)
