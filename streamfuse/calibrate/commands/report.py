"""`streamfuse calibrate report`: what a rig file is worth, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streamfuse.terminal import Json, console, finish


def report(
    rig: Annotated[Path, typer.Argument(metavar="RIG", help="The rig file.")],
    solution: Annotated[
        Path | None,
        typer.Argument(metavar="[SOLUTION.json]", help="What solving wrote beside it: residuals, intervals, coverage."),
    ] = None,
    pairs: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="THERMAL VISIBLE", help="Two images or two folders, for overlays before and after."),
    ] = None,
    depth: Annotated[
        float | None, typer.Option(min=0.01, help="Depth of the overlays, metres; else the rig's working depth.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Tell the parallax in pixels of this output size too.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("out/report.html"),
    png: Annotated[Path | None, typer.Option(help="The same as one picture.")] = None,
    as_json: Json = False,
) -> None:
    """What a rig file is worth, on one page: verdict, residuals, coverage, overlays, and how far off objects at other
    depths are. Works with the rig file alone; needs matplotlib."""
    from streamfuse.calibrate.report.write import write_report

    told: dict[str, Any] = write_report(
        rig, solution, pairs=pairs, depth_m=depth, size=size, out=out, png=png, console=console
    )
    finish(told, as_json)
