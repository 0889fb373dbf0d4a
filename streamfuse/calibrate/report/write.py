"""From a rig file to the report's files; what was told, as a dictionary."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from streamfuse.calibrate.parallax import Parallax, parallax_of
from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.rig import Rig
from streamfuse.triptych import write_image

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")


def write_report(
    rig: Path,
    solution: Path | None = None,
    *,
    pairs: tuple[Path, Path] | None = None,
    depth_m: float | None = None,
    size: str | None = None,
    out: Path,
    png: Path | None = None,
    console: Console,
) -> dict[str, Any]:
    """Write the page (and the picture). Raises UserError for bad input and where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("the report needs matplotlib: pip install 'streamfuse[evaluate]'") from error
    del matplotlib
    from streamfuse.calibrate.report.contents import gather
    from streamfuse.calibrate.report.overlays import read_pairs
    from streamfuse.calibrate.report.page import html_page
    from streamfuse.calibrate.report.sheet import picture

    if png is not None and png.suffix.lower() not in PICTURE_ENDINGS:
        raise UserError(f"--png {png}: a picture's name ends in {', '.join(PICTURE_ENDINGS)}")
    wanted = _size(size)
    given = read_pairs(*pairs) if pairs else ()
    contents = gather(rig, solution, given, depth_m=depth_m, size=wanted)
    _write_text(out, html_page(contents))
    if png is not None:
        write_image(png, picture(contents))
    console.print(f"{contents.verdict.word}: {escape(contents.verdict.sentence)} {escape(str(out))}", highlight=False)
    for reason in contents.verdict.reasons:
        console.print(f"  - {escape(reason)}", highlight=False)
    return {
        "rig": contents.rig.name,
        "calibration": contents.rig.content_hash,
        "verdict": contents.verdict.word,
        "reasons": list(contents.verdict.reasons),
        "residual_px": contents.rig.residual_px,
        "parallax": None if contents.rig.planar else _ranges(contents.rig, wanted),
        "out": str(out),
        **({"png": str(png)} if png else {}),
    }


def _ranges(rig: Rig, size: Size | None) -> dict[str, Any]:
    """Depths between which the error is under 1 and 2 px, JSON's way: infinity is null."""
    from streamfuse.warp import output_grid

    grids = {"rgb": output_grid(rig.rgb_size)} | ({"output": output_grid(rig.rgb_size, size)} if size else {})
    return {name: _held(parallax_of(rig, grid)) for name, grid in grids.items()}


def _held(parallax: Parallax) -> dict[str, list[float | None]]:
    held = {f"under_{limit}_px_m": parallax.holds(limit) for limit in (1, 2)}
    return {
        name: [round(one.near_m, 3), None if one.far_m == float("inf") else round(one.far_m, 3)]
        for name, one in held.items()
    }


def _size(text: str | None) -> Size | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    if not found or not int(found[1]) * int(found[2]):
        raise UserError(f"--size {text!r}: WIDTHxHEIGHT in pixels was asked for, as 640x512")
    return int(found[1]), int(found[2])


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
