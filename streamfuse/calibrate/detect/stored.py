"""Sightings on disk: what detection saw, with the target it looked for, as one versioned JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Sighting, View
from streamfuse.errors import UserError

VERSION = 1


@dataclass(frozen=True, slots=True)
class Stored:
    target: Target
    views: list[View]


def save(path: Path, target: Target, views: list[View]) -> None:
    """Write the views; a reader never sees half a file. Pixels keep four decimals."""
    document = {
        "format": "streamfuse-sightings",
        "version": VERSION,
        "target": asdict(target),
        "views": [{"name": view.name, "thermal": _written(view.thermal), "rgb": _written(view.rgb)} for view in views],
    }
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(json.dumps(document), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another folder or free it") from error


def load(path: Path) -> Stored:
    """The views and their target. Raises UserError: unreadable, another format or version, damaged."""
    try:
        read: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; `streamfuse calibrate detect` writes it") from error
    except ValueError as error:
        raise UserError(f"{path}: not a sightings file; `streamfuse calibrate detect` writes one") from error
    document = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    if document.get("format") != "streamfuse-sightings":
        raise UserError(f"{path}: JSON, but not a sightings file; `streamfuse calibrate detect` writes one")
    if document.get("version") != VERSION:
        raise UserError(
            f"{path}: sightings of version {document.get('version')}, readable is {VERSION}; detect the images again"
        )
    try:
        views = [View(one["name"], _read(one["thermal"]), _read(one["rgb"])) for one in document["views"]]
        return Stored(Target(**document["target"]), views)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the sightings are damaged ({error!r}); detect the images again") from error


def _written(sighting: Sighting | None) -> dict[str, Any] | None:
    return sighting and {
        "size": list(sighting.size),
        "shown_by": sighting.shown_by,
        "indices": sighting.indices.tolist(),
        "pixels": np.round(sighting.pixels, 4).tolist(),
        "quality": np.round(sighting.quality, 3).tolist(),
    }


def _read(written: dict[str, Any] | None) -> Sighting | None:
    if written is None:
        return None
    indices = np.array(written["indices"], np.intp)
    pixels = np.array(written["pixels"], np.float64).reshape(-1, 2)
    quality = np.array(written["quality"], np.float64)
    if not len(indices) == len(pixels) == len(quality):
        raise ValueError(f"{len(indices)} indices, {len(pixels)} pixels, {len(quality)} qualities")
    width, height = written["size"]
    return Sighting(indices, pixels, quality, (int(width), int(height)), written["shown_by"])
