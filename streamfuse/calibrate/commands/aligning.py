"""`streamfuse calibrate align`: a usable rig file for two cameras that nobody has calibrated, or a clear "not sure"."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamfuse.terminal import Json, console, finish


def align(
    thermal: Annotated[Path, typer.Argument(help="Thermal image, folder of images, or video.")],
    visible: Annotated[Path, typer.Argument(help="Visible image, folder or video of the same instants.")],
    out: Annotated[Path, typer.Option(help="The rig file; a picture of the result lies beside it.")],
    pairs: Annotated[int, typer.Option(min=1, help="At most so many pairs, spread over the recording.")] = 8,
    accept_unsure: Annotated[
        bool, typer.Option("--accept-unsure", help="Write the rig file even when the answer is not sure.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Right at the depth of what this box shows: left, top, width, height in pixels of the visible image, "
            "of a folder or video the first one.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find scale, rotation and shift between two uncalibrated cameras from a handful of pairs, say how sure that is,
    and write a provisional rig file. It is right at one depth: that of most of the image, or of a box around what
    matters (--at). Not sure: exit code 1 and no rig file."""
    from streamfuse.calibrate.align_at import Box
    from streamfuse.calibrate.align_files import align_files

    box = None if at is None else Box.parse(at)
    told = align_files(thermal, visible, out, most=pairs, accept_unsure=accept_unsure, at=box, console=console)
    finish(told, as_json)


def align_benchmark(
    data: Annotated[Path, typer.Argument(help="Folder with warped_gt, roadscene_multires and registered pairs.")],
    out: Annotated[Path, typer.Option(help="Folder for the cases; those in it are not computed again.")] = Path(
        "out/align"
    ),
    warps: Annotated[int, typer.Option(min=0, help="Random warps of registered pairs.")] = 200,
    handfuls: Annotated[int, typer.Option(min=0, help="Handfuls of pairs of one rig: one of them against all.")] = 20,
    as_json: Json = False,
) -> None:
    """Score `calibrate align` on pairs with a known answer, beside OpenCV's methods: errors, and sure but wrong."""
    from streamfuse.calibrate.align_benchmark import run_benchmark

    finish(run_benchmark(data, out, warps=warps, handful=handfuls, console=console), as_json)
