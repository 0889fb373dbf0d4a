"""One camera's optics and where it stands: pinhole with OpenCV's distortion, both directions, as plain numpy.

Knows nothing of images, files or the second camera.

Convention: pixel centres at integers, x right, y down, z forward; a ray is (X/Z, Y/Z), without unit; points in metres.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, Field, PositiveInt, field_validator, model_validator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
PixelSize = tuple[PositiveInt, PositiveInt]
Row3 = tuple[float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]

ROTATION_TOLERANCE = 1e-5
NEWTON_STEPS = 30
RAY_TOLERANCE = 1e-9  # of a focal length: a millionth of a pixel for any lens in use


class Lens(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Pinhole intrinsics in pixels and distortion in OpenCV's order: k1 k2 p1 p2 [k3 [k4 k5 k6]].

    The model is that of OpenCV's calib3d: radial (rational with 8 coefficients) plus tangential. It is trusted only
    up to its fold, the radius at which moving outwards in the world stops moving outwards in the image: beyond it a
    polynomial fitted to the image's middle would lay a second, mirrored copy of the scene over the first.
    """

    size: PixelSize
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    @field_validator("distortion")
    @classmethod
    def _known_count(cls, distortion: tuple[float, ...]) -> tuple[float, ...]:
        if len(distortion) not in (0, 4, 5, 8):
            raise ValueError(f"0, 4, 5 or 8 coefficients (k1 k2 p1 p2 k3 k4 k5 k6), found {len(distortion)}")
        return distortion

    @property
    def matrix(self) -> Floats:
        """3x3 camera matrix: pixel = matrix @ (ray, 1)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])

    def project(self, points: ArrayLike) -> tuple[Floats, Bools]:
        """Points (... 3, metres or any scale) to pixels (... 2), and where that is valid: in front, within the fold.

        Where it is not valid the pixels are finite but mean nothing.
        """
        points = np.asarray(points, dtype=np.float64)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        in_front = z > 0
        depth = np.where(in_front, z, 1.0)
        x, y = x / depth, y / depth
        valid = in_front & (x * x + y * y < self.fold_radius**2)
        if self.distortion:
            x, y = np.where(valid, x, 0.0), np.where(valid, y, 0.0)
            x, y = self._distort(x, y)
        return np.stack([self.fx * x + self.cx, self.fy * y + self.cy], axis=-1), valid

    def rays(self, pixels: ArrayLike) -> tuple[Floats, Bools]:
        """Pixels (... 2) to undistorted rays (... 2), and where one exists; elsewhere the rays are zero.

        Newton's method on the distortion, iterated until it has converged everywhere it can: the usual fixed-point
        iteration stops short of, or diverges for, strong barrel distortion.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        seen_x, seen_y = (pixels[..., 0] - self.cx) / self.fx, (pixels[..., 1] - self.cy) / self.fy
        if not self.distortion:
            return np.stack([seen_x, seen_y], axis=-1), np.ones(seen_x.shape, dtype=np.bool_)
        x, y = self._inside_fold(seen_x, seen_y)
        for _ in range(NEWTON_STEPS):
            step_x, step_y = self._newton_step(x, y, seen_x, seen_y)
            x, y = self._inside_fold(x - step_x, y - step_y)
            if max(np.abs(step_x).max(initial=0), np.abs(step_y).max(initial=0)) < RAY_TOLERANCE:
                break
        again_x, again_y = self._distort(x, y)
        valid = (np.abs(again_x - seen_x) < RAY_TOLERANCE) & (np.abs(again_y - seen_y) < RAY_TOLERANCE)
        return np.where(valid[..., None], np.stack([x, y], axis=-1), 0.0), valid

    def scaled(self, size: tuple[int, int]) -> Lens:
        """The same lens on an image resampled to `size` (half-pixel convention, as cv2.resize does)."""
        sx, sy = size[0] / self.size[0], size[1] / self.size[1]
        moved = {"cx": (self.cx + 0.5) * sx - 0.5, "cy": (self.cy + 0.5) * sy - 0.5}
        return self.model_copy(update={"size": size, "fx": self.fx * sx, "fy": self.fy * sy, **moved})

    @property
    def fold_radius(self) -> float:
        """Ray length at which the radial model turns back or has a pole; infinite where it never does."""
        numerator, denominator = self._radial()
        s = np.polynomial.Polynomial([0, 1])
        slope: Any = (numerator + 2 * s * numerator.deriv()) * denominator - 2 * s * numerator * denominator.deriv()
        roots: NDArray[np.complex128] = np.concatenate([slope.roots(), denominator.roots()]).astype(np.complex128)
        turning = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
        return float(np.sqrt(turning.min())) if len(turning) else float("inf")

    def _radial(self) -> tuple[np.polynomial.Polynomial, np.polynomial.Polynomial]:
        """Numerator and denominator of the radial factor, in s = squared ray length."""
        k1, k2, _, _, k3, k4, k5, k6 = self._coefficients()
        return np.polynomial.Polynomial([1, k1, k2, k3]), np.polynomial.Polynomial([1, k4, k5, k6])

    def _coefficients(self) -> tuple[float, ...]:
        return (*self.distortion, *(0.0,) * (8 - len(self.distortion)))

    def _distort(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        k1, k2, p1, p2, k3, k4, k5, k6 = self._coefficients()
        s = x * x + y * y
        radial = 1 + s * (k1 + s * (k2 + s * k3))
        if k4 or k5 or k6:
            radial = radial / (1 + s * (k4 + s * (k5 + s * k6)))
        xy = x * y
        return x * radial + 2 * p1 * xy + p2 * (s + 2 * x * x), y * radial + p1 * (s + 2 * y * y) + 2 * p2 * xy

    def _newton_step(self, x: Floats, y: Floats, seen_x: Floats, seen_y: Floats) -> tuple[Floats, Floats]:
        k1, k2, p1, p2, k3, k4, k5, k6 = self._coefficients()
        s = x * x + y * y
        top, bottom = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
        slope_top, slope_bottom = k1 + s * (2 * k2 + s * 3 * k3), k4 + s * (2 * k5 + s * 3 * k6)
        radial = top / bottom
        slope = 2 * (slope_top - radial * slope_bottom) / bottom
        cross = slope * x * y + 2 * (p1 * x + p2 * y)
        along_x = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
        along_y = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
        here_x, here_y = self._distort(x, y)
        off_x, off_y = here_x - seen_x, here_y - seen_y
        determinant = along_x * along_y - cross * cross
        determinant = np.where(np.abs(determinant) > 1e-12, determinant, 1e-12)
        return (along_y * off_x - cross * off_y) / determinant, (along_x * off_y - cross * off_x) / determinant

    def _inside_fold(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pull rays beyond the fold back onto it, so that an iteration cannot wander into the mirrored copy."""
        radius = np.sqrt(x * x + y * y)
        shrink = np.minimum(1.0, self.fold_radius * (1 - 1e-6) / np.maximum(radius, 1e-12))
        return x * shrink, y * shrink


class Pose(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """X_target = rotation @ X_source + translation, in metres."""

    rotation: Matrix3
    translation: Annotated[Row3, Field(description="metres")]

    @model_validator(mode="after")
    def _is_rotation(self) -> Pose:
        rotation = np.array(self.rotation)
        off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        if off > ROTATION_TOLERANCE:
            raise ValueError(
                f"rotation is not a rotation matrix: rotation x transposed differs from identity by {off:.2g}; "
                f"allowed is {ROTATION_TOLERANCE:g} (write at least 6 decimals)"
            )
        if np.linalg.det(rotation) < 0:
            raise ValueError("rotation mirrors (its determinant is -1); an axis has the wrong sign")
        return self

    @property
    def rotation_matrix(self) -> Floats:
        return np.array(self.rotation)

    @property
    def translation_vector(self) -> Floats:
        return np.array(self.translation)
