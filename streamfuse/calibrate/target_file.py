"""Target files: Kalibr's target YAML, and our own with the same word for what Kalibr does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from streamfuse.calibrate.target import Kind, Target
from streamfuse.errors import UserError
from streamfuse.yamlfile import read_yaml, write_yaml

Metres = Field(default=None, gt=0, lt=100)
Count = Field(default=None, ge=1, le=200)


class TargetFile(BaseModel):
    """Keys of Kalibr (`target_type` checkerboard, circlegrid, aprilgrid); the last four are ours, for marker boards."""

    model_config = ConfigDict(extra="forbid")

    target_type: Literal["checkerboard", "circlegrid", "aprilgrid", "charuco", "aruco"]
    targetCols: int | None = Count  # noqa: N815  (Kalibr's spelling)
    targetRows: int | None = Count  # noqa: N815
    colSpacingMeters: float | None = Metres  # noqa: N815
    rowSpacingMeters: float | None = Metres  # noqa: N815
    spacingMeters: float | None = Metres  # noqa: N815
    asymmetricGrid: bool | None = None  # noqa: N815
    tagCols: int | None = Count  # noqa: N815
    tagRows: int | None = Count  # noqa: N815
    tagSize: float | None = Metres  # noqa: N815
    tagSpacing: float | None = Metres  # noqa: N815
    markerMeters: float | None = Metres  # noqa: N815
    dictionary: str | None = None
    firstId: int = 0  # noqa: N815
    scaleKnown: bool = True  # noqa: N815


def read_target(path: Path) -> Target:
    """The target that the file at `path` describes. Raises UserError naming the file and the key."""
    found = read_yaml(path, TargetFile, "target file")
    try:
        return _target_of(found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def write_target(path: Path, target: Target) -> None:
    write_yaml(path, {key: value for key, value in _document(target).items() if value is not None})


def _target_of(found: TargetFile) -> Target:
    if found.target_type == "aprilgrid":
        columns, rows, size, gap = _need(found, "tagCols", "tagRows", "tagSize", "tagSpacing")
        spacing = size * (1 + gap)
        return Target("aprilgrid", columns, rows, spacing, marker_m=size, dictionary=found.dictionary)
    if found.target_type == "circlegrid":
        columns, rows, spacing = _need(found, "targetCols", "targetRows", "spacingMeters")
        if not found.asymmetricGrid:
            raise UserError("`asymmetricGrid` must be true: a symmetric grid looks the same upside down; use another")
        return Target("circles", columns, rows, spacing, scale_known=found.scaleKnown)
    columns, rows, spacing = _need(found, "targetCols", "targetRows", "colSpacingMeters")
    return Target(
        cast(Kind, found.target_type),
        columns,
        rows,
        spacing,
        marker_m=found.markerMeters,
        dictionary=found.dictionary,
        row_spacing_m=None if found.rowSpacingMeters in (None, spacing) else found.rowSpacingMeters,
        first_id=found.firstId,
        scale_known=found.scaleKnown,
    )


def _need(found: TargetFile, *keys: str) -> list[Any]:
    missing = [key for key in keys if getattr(found, key) is None]
    if missing:
        raise UserError(f"a target of type {found.target_type} needs {', '.join(keys)}; missing: {', '.join(missing)}")
    return [getattr(found, key) for key in keys]


def _document(target: Target) -> dict[str, Any]:
    if target.kind == "aprilgrid":
        size = cast(float, target.marker_m)
        gap = round(target.spacing_m / size - 1, 9)
        return {
            "target_type": "aprilgrid",
            "tagCols": target.columns,
            "tagRows": target.rows,
            "tagSize": size,
            "tagSpacing": gap,
        }
    known = None if target.scale_known else False
    sizes = {"targetCols": target.columns, "targetRows": target.rows}
    if target.kind == "circles":
        spacing = {"spacingMeters": target.spacing_m, "asymmetricGrid": True}
        return {"target_type": "circlegrid", **sizes, **spacing, "scaleKnown": known}
    return {
        "target_type": target.kind,
        **sizes,
        "colSpacingMeters": target.pitch_m[0],
        "rowSpacingMeters": target.pitch_m[1],
        "markerMeters": target.marker_m,
        "dictionary": target.dictionary,
        "firstId": target.first_id or None,
        "scaleKnown": known,
    }
