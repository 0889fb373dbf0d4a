"""`streamfuse calibrate target`, `detect` and `guide`: from a printed target to sightings that can be solved."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from streamfuse.terminal import Json, console, finish

TARGET_HELP = (
    "kind:COLUMNSxROWS:spacing_mm[:marker_mm[:dictionary[:first_id]]], e.g. checkerboard:9x6:40 (inner corners), "
    "circles:4x11:20, charuco:7x5:60, aprilgrid:6x6:50; or a YAML file, Kalibr's too."
)


class Kind(str, Enum):
    circles = "circles"
    checkerboard = "checkerboard"
    charuco = "charuco"
    aprilgrid = "aprilgrid"
    aruco = "aruco"


def target(
    kind: Annotated[Kind, typer.Option(help="circles, cut out of a plate, show best in both spectra.")],
    columns: Annotated[int, typer.Option(help="Inner corners, circles in a row, squares (ChArUco) or tags.")],
    rows: Annotated[int, typer.Option(help="Rows of the same.")],
    spacing_mm: Annotated[float, typer.Option(help="Side of a square; half the distance of circles in a row.")],
    out: Annotated[Path, typer.Option(help="The page: .svg or .pdf; a target file (.yaml) lies beside it.")],
    marker_mm: Annotated[float | None, typer.Option(help="Side of a tag; else a usual share of the spacing.")] = None,
    dictionary: Annotated[str | None, typer.Option(help="OpenCV's marker dictionary, e.g. DICT_4X4_50.")] = None,
    paper: Annotated[str, typer.Option(help="A4, A3, A2, A1, A0 or letter.")] = "A4",
    cut_out: Annotated[bool, typer.Option("--cut-out", help="Circles as outlines to cut out of a plate.")] = False,
    as_json: Json = False,
) -> None:
    """Draw a calibration target at true scale, with a ruler, and write the target file that `detect` takes."""
    from streamfuse.calibrate.printing import lay_out, spelled, write_page
    from streamfuse.calibrate.target import Target
    from streamfuse.calibrate.target_file import write_target

    marker_m = None if marker_mm is None else marker_mm / 1000
    asked = Target(kind.value, columns, rows, spacing_mm / 1000, marker_m=marker_m, dictionary=dictionary)
    write_page(out, lay_out(asked, paper, cut_out=cut_out))
    file = out.with_suffix(".yaml")
    write_target(file, asked)
    console.print(
        f"{out} ({paper}); detect with --target {file} or --target {spelled(asked)}", markup=False, highlight=False
    )
    finish({"page": str(out), "target": str(file), "name": asked.name, "spelled": spelled(asked)}, as_json)


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
