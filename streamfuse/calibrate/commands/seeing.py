"""`streamfuse calibrate target`, `detect` and `guide`: from a printed target to sightings that can be solved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamfuse.terminal import Json, console, finish

TARGET_HELP = (
    "kind:COLUMNSxROWS:spacing_mm[:marker_mm[:dictionary[:first_id]]], e.g. checkerboard:9x6:40 (inner corners), "
    "circles:4x11:20, charuco:7x5:60, aprilgrid:6x6:50; or a YAML file, Kalibr's too."
)


def detect(
    folders: Annotated[list[Path], typer.Argument(help="Thermal folder and visible folder, or one that holds both.")],
    target: Annotated[str, typer.Option(help=TARGET_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for sightings.json and overlays/.")] = Path("out/detect"),
    as_json: Json = False,
) -> None:
    """Find the target in every recorded pair, say what showed it, and write the sightings for `calibrate rig`."""
    from streamfuse.calibrate.detect.folders import detect_folders
    from streamfuse.calibrate.target import parse_target

    finish(detect_folders(folders, parse_target(target), out, console), as_json)
