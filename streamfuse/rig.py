"""Rig: how the two cameras of one rig see each other, as a calibration measured it; reads and writes rig files.

A full rig has both lenses, `rgb_from_thermal` and a working depth; a planar rig has only a homography (or an affine)
from thermal pixels to RGB pixels. It keeps what a calibration says about itself, and judges nothing. Knows nothing of
frames or maps.

Convention: pixel centres at integers, x right, y down; lengths in metres; sizes are (width, height).
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import (
    BaseModel,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from streamfuse.errors import UserError
from streamfuse.frames import Size, wxh
from streamfuse.lens import Floats, Lens, Matrix3, PixelSize, Pose
from streamfuse.yamlfile import read_yaml, write_yaml

__all__ = ["Calibration", "Lens", "Pose", "Rig"]

REMARKS = {"name", "made_on", "notes", "provisional", "calibration"}
"""Fields that change no output; they do not count for the content hash."""
UNSTATED = (0, 0)
SINGULAR = 1e12  # condition number; a plain pixel-to-pixel matrix stays below 1e8


class Calibration(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a rig was measured and how well: a record for people, which moves no pixel.

    `refused`: the reasons why the rig is provisional. RMS and p95 are pixels of the camera that they name, held-out
    ones RGB pixels; None = not measured.
    """

    target: str = ""
    views: int | None = Field(default=None, ge=0)
    thermal_rms_px: float | None = Field(default=None, ge=0)
    rgb_rms_px: float | None = Field(default=None, ge=0)
    held_out_px: float | None = Field(default=None, ge=0)
    held_out_p95_px: float | None = Field(default=None, ge=0)
    thermal_serial: str = ""
    rgb_serial: str = ""
    delay_error_ms: float | None = Field(default=None, ge=0)
    refused: tuple[str, ...] = ()


class Rig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """One calibrated pair of cameras. `calibration/README.md` explains the file field by field.

    `thermal_size` and `rgb_size` are the images the rig was measured on: taken from the lenses of a full rig, stated
    for a planar one. `residual_px` is the RMS distance, in RGB pixels at the working depth, that the calibration left.
    `provisional`: it was solved, and misses what a rig must reach; `calibration` says by what.
    """

    name: str = Field(min_length=1)
    thermal: Lens | None = None
    rgb: Lens | None = None
    thermal_size: PixelSize = Field(default=UNSTATED, validate_default=True)
    rgb_size: PixelSize = Field(default=UNSTATED, validate_default=True)
    rgb_from_thermal: Pose | None = None
    rgb_from_thermal_homography: Matrix3 | None = None
    working_depth_m: float | None = Field(default=None, gt=0, allow_inf_nan=True)
    thermal_delay_ms: float = 0.0
    residual_px: float | None = Field(default=None, ge=0)
    provisional: bool = False
    calibration: Calibration | None = None
    made_on: date | None = None
    notes: str = ""

    @field_validator("thermal_size", "rgb_size", mode="wrap")
    @classmethod
    def _as_its_lens_says(cls, size: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Size:
        stream = str(info.field_name).removesuffix("_size")
        lens = cast("Lens | None", info.data.get(stream))
        if size == UNSTATED:
            return lens.size if lens else UNSTATED
        stated: Size = validate(size)
        if lens and stated != lens.size:
            raise ValueError(f"{wxh(stated)}, but {stream}.size is {wxh(lens.size)}; leave {info.field_name} out")
        return stated

    @field_validator("rgb_from_thermal_homography", mode="before")
    @classmethod
    def _affine_is_homography(cls, matrix: Any) -> Any:
        rows = list(cast("list[Any]", matrix)) if isinstance(matrix, (list, tuple)) else None
        return [*rows, (0.0, 0.0, 1.0)] if rows is not None and len(rows) == 2 else cast(Any, matrix)

    @model_validator(mode="after")
    def _is_one_kind(self) -> Rig:
        parts = {"thermal": self.thermal, "rgb": self.rgb, "rgb_from_thermal": self.rgb_from_thermal}
        if self.planar:
            self._check_planar([name for name, part in parts.items() if part is not None])
        else:
            missing = [name for name, part in parts.items() if part is None]
            self._check_full([*missing, *(["working_depth_m"] if self.working_depth_m is None else [])])
        return self

    def _check_full(self, missing: list[str]) -> None:
        if missing:
            raise ValueError(
                f"a full rig needs thermal, rgb, rgb_from_thermal and working_depth_m, missing: {', '.join(missing)}; "
                "a rig of which only a pixel-to-pixel matrix is known states rgb_from_thermal_homography instead"
            )

    def _check_planar(self, superfluous: list[str]) -> None:
        if superfluous:
            raise ValueError(
                f"found rgb_from_thermal_homography and {', '.join(superfluous)}: keep the matrix (a planar rig) or "
                "the lenses and their pose (a full rig)"
            )
        unstated = [name for name in ("thermal_size", "rgb_size") if getattr(self, name) == UNSTATED]
        if unstated:
            raise ValueError(f"a planar rig states the image sizes it was measured on, missing: {', '.join(unstated)}")
        matrix = np.array(self.rgb_from_thermal_homography)
        if np.linalg.cond(matrix) > SINGULAR:
            raise ValueError(
                "rgb_from_thermal_homography is singular: it maps the thermal image onto a line or a point"
            )
        width, height = self.thermal_size
        corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]])
        weights = corners @ matrix[2]
        if weights.min() * weights.max() <= 0:
            raise ValueError("the horizon of rgb_from_thermal_homography crosses the thermal image; measure it again")

    @property
    def planar(self) -> bool:
        return self.rgb_from_thermal_homography is not None

    @property
    def homography(self) -> Floats | None:
        """3x3 rgb_from_thermal of a planar rig, pixels to pixels; None for a full rig."""
        return None if self.rgb_from_thermal_homography is None else np.array(self.rgb_from_thermal_homography)

    @property
    def thermal_delay_ns(self) -> int:
        """How much later the thermal camera stamps the same instant; subtract it from thermal capture times."""
        return round(self.thermal_delay_ms * 1_000_000)

    @property
    def content_hash(self) -> str:
        """12 hex digits over everything that changes an output; formatting, key order and remarks do not count."""
        document = self.model_dump(exclude=REMARKS)
        for lens in (document["thermal"], document["rgb"]):
            if lens is not None and lens["model"] == "opencv":  # rig files are older than the other model
                del lens["model"]
        content = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @classmethod
    def load(cls, path: str | Path) -> Rig:
        """The rig of a YAML file. Raises UserError naming file, key, what was found and what is allowed."""
        return read_yaml(Path(path), cls, "rig file")

    def save(self, path: str | Path) -> None:
        """Write a rig file that `load` reads back to an equal rig."""
        derived = set[str]() if self.planar else {"thermal_size", "rgb_size"}
        write_yaml(Path(path), self.model_dump(exclude=derived, exclude_none=True, exclude_defaults=True))

    @classmethod
    def identity(cls, thermal_size: Size, rgb_size: Size, name: str = "identity") -> Rig:
        """A planar rig that stretches the thermal image over the whole RGB image, outer pixel edge on outer pixel edge.

        What registered still images need. Its residual is unknown, so its alignment carries confidence 0.
        """
        stretch = _rows(_stretch(thermal_size, rgb_size))
        return cls(name=name, thermal_size=thermal_size, rgb_size=rgb_size, rgb_from_thermal_homography=stretch)

    def scaled(self, thermal_size: Size, rgb_size: Size) -> Rig:
        """The same rig for streams resampled by a whole factor (up or down). Raises UserError where it is not one."""
        for stream, measured, asked in (("thermal", self.thermal_size, thermal_size), ("RGB", self.rgb_size, rgb_size)):
            if not _whole_factor(measured, asked):
                raise UserError(
                    f"rig {self.name} was measured on {stream} {wxh(measured)} and cannot be scaled to {wxh(asked)}: "
                    "width and height must change by the same whole factor; calibrate at this size"
                )
        residual_px = self.residual_px and self.residual_px * rgb_size[0] / self.rgb_size[0]
        changes = {"thermal_size": thermal_size, "rgb_size": rgb_size, "residual_px": residual_px}
        if self.thermal is not None and self.rgb is not None:
            lenses = {"thermal": self.thermal.scaled(thermal_size), "rgb": self.rgb.scaled(rgb_size)}
            return self.model_copy(update={**changes, **lenses})
        thermal_from_measured = _stretch(self.thermal_size, thermal_size)
        matrix = (
            _stretch(self.rgb_size, rgb_size) @ cast(Floats, self.homography) @ np.linalg.inv(thermal_from_measured)
        )
        return self.model_copy(update={**changes, "rgb_from_thermal_homography": _rows(matrix)})


def _whole_factor(one: Size, other: Size) -> bool:
    small, large = sorted((one, other))
    return large[0] % small[0] == 0 and (large[0] // small[0]) * small[1] == large[1]


def _stretch(source: Size, target: Size) -> Floats:
    """3x3 target_from_source of a resampled image, half-pixel convention."""
    sx, sy = target[0] / source[0], target[1] / source[1]
    return np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]])


def _rows(matrix: Floats) -> Matrix3:
    return cast(Matrix3, tuple(tuple(float(value) for value in row) for row in matrix))
