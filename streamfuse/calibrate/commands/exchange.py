"""`streamfuse calibrate import` and `export`: rigs from and to the files of ROS, Kalibr and OpenCV."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamfuse.terminal import Json, console, finish

if TYPE_CHECKING:
    from streamfuse.calibrate.exchange import Found
    from streamfuse.calibrate.exchange.found import Imported
    from streamfuse.frames import Size
    from streamfuse.rig import Rig


class Format(str, Enum):
    ros = "ros"
    kalibr = "kalibr"
    opencv = "opencv"


class LengthUnit(str, Enum):
    m = "m"
    cm = "cm"
    mm = "mm"


METRES = {LengthUnit.m: 1.0, LengthUnit.cm: 0.01, LengthUnit.mm: 0.001}


def import_rig(
    files: Annotated[
        list[Path], typer.Argument(help="Kalibr camchain; two ROS camera_info and their transform; OpenCV file(s).")
    ],
    out: Annotated[Path, typer.Option(help="The rig file to write.")],
    thermal: Annotated[
        str | None,
        typer.Option(help="The thermal camera: cam0 or cam1 (Kalibr), 1 or 2 (OpenCV), a name or file (ROS)."),
    ] = None,
    rgb: Annotated[str | None, typer.Option(help="The RGB camera, where there are more than two.")] = None,
    name: Annotated[str | None, typer.Option(help="The rig's name; else that of --out.")] = None,
    depth: Annotated[
        float | None, typer.Option(min=0.01, help="Working depth in metres; else as the file says, else infinity.")
    ] = None,
    unit: Annotated[LengthUnit | None, typer.Option(help="Of the file's lengths, where they are not metres.")] = None,
    thermal_size: Annotated[str | None, typer.Option(help="Its images, e.g. 640x512; OpenCV files need it.")] = None,
    rgb_size: Annotated[str | None, typer.Option(help="Its images, e.g. 1920x1080; OpenCV files need it.")] = None,
    check: Annotated[
        tuple[Path, Path] | None, typer.Option(help="A thermal and an RGB picture of one moment: is the pose inverted?")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a rig file from the calibration of another tool.

    Directions: a rig says rgb_from_thermal, X_rgb = R X_thermal + t, so that t is the thermal camera's place seen from
    the RGB camera (x right, y down, z forward, metres). Kalibr's T_cn_cnm1 takes the previous camera's coordinates to
    this camera's; OpenCV's R and T take camera 1's to camera 2's; a ROS transform takes the child frame's to the
    header frame's. The command says in words where the thermal camera then sits: look at the rig and see whether that
    is so. With --check it compares two pictures under the pose and under its inverse.
    """
    from streamfuse.calibrate.exchange import read_files
    from streamfuse.calibrate.exchange.found import parts
    from streamfuse.calibrate.exchange.seat import seat_in_words

    sizes = _size(thermal_size, "--thermal-size"), _size(rgb_size, "--rgb-size")
    found = read_files(files, sizes if thermal not in ("2", "M2") else sizes[::-1])
    asked = {"name": name or out.stem, "rgb": rgb, "working_depth_m": depth, "metres": METRES[unit] if unit else None}
    imported = _rig_of(found, thermal, asked)
    _check_sizes(imported, sizes)
    rig, seat = imported.rig, seat_in_words(parts(imported.rig)[2])
    notes, verdict = list(imported.notes), None
    if check:
        rig, verdict, said = _checked(rig, check)
        notes.append(said)
    notes.append("the files say no residual: every frame says confidence 0 until residual_px is known")
    rig.save(out)
    _say(notes, f"{out}: {seat}")
    told = {"rig": str(out), "calibration": rig.content_hash, "seat": seat, "notes": notes}
    finish({**told, "fit": verdict, "provisional": rig.provisional}, as_json)


def export_rig(
    rig: Annotated[Path, typer.Argument(help="A full rig file.")],
    form: Annotated[Format, typer.Option("--format", help="Which tool's files.")],
    out: Annotated[Path, typer.Option(help="Folder for the files; made if missing.")],
    as_json: Json = False,
) -> None:
    """Write a rig's lenses and pose for another tool.

    ros: two camera_info files and the transform between their optical frames. kalibr: camchain.yaml, cam0 = thermal,
    cam1 = RGB. opencv: stereo.yml, camera 1 = thermal, camera 2 = RGB.
    """
    from streamfuse.calibrate.exchange import write_files
    from streamfuse.rig import Rig

    loaded = Rig.load(rig)
    paths, notes = write_files(loaded, form.value, out)
    if loaded.provisional:
        notes = (*notes, f"{rig} is provisional, and the files do not say so")
    _say(notes, f"written: {', '.join(map(str, paths))}")
    finish({"files": [str(path) for path in paths], "notes": list(notes)}, as_json)


def _checked(rig: Rig, pictures: tuple[Path, Path]) -> tuple[Rig, str, str]:
    """The rig, marked where the pictures speak against it; their verdict, and that in words."""
    from streamfuse.calibrate.exchange.fit import fit_to, marked, read_pair

    fit = fit_to(rig, *read_pair(rig, *pictures))
    return marked(rig, fit), fit.verdict, fit.in_words()


def _say(notes: Sequence[str], last: str) -> None:
    for line in (*(f"note: {note}" for note in notes), last):
        console.print(line, markup=False, highlight=False)


def _size(text: str | None, option: str) -> Size | None:
    from streamfuse.fuse.ahead import size_of

    return size_of(text, option) if text else None


def _rig_of(found: Found, thermal: str | None, asked: dict[str, Any]) -> Imported:
    """A person at a terminal is asked which camera is the thermal one; a script is refused."""
    from streamfuse.calibrate.exchange import Untold, rig_of

    try:
        return rig_of(found, thermal=thermal, **asked)
    except Untold as untold:
        if not sys.stdin.isatty():
            raise
        console.print(str(untold), markup=False, highlight=False)
        answer: str = typer.prompt(f"The thermal camera ({', '.join(untold.choices)})", err=True)
        return rig_of(found, thermal=answer.strip(), **asked)


def _check_sizes(imported: Imported, sizes: tuple[Size | None, Size | None]) -> None:
    from streamfuse.errors import UserError

    rig = imported.rig
    for option, asked, found in (
        ("--thermal-size", sizes[0], rig.thermal_size),
        ("--rgb-size", sizes[1], rig.rgb_size),
    ):
        if asked and asked != found:
            raise UserError(
                f"{option} {asked[0]}x{asked[1]}: the files were measured on {found[0]}x{found[1]}; calibrate at the "
                "size that the camera delivers, or leave the option out"
            )
