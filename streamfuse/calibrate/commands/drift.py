"""`streamfuse calibrate drift`: how well a run would follow the drift of an alignment, on a recording of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamfuse.errors import UserError
from streamfuse.terminal import Json, console, finish, make_folder

if TYPE_CHECKING:
    from streamfuse.calibrate.drift_trial import Moment


def drift(
    thermal: Annotated[Path, typer.Argument(help="Thermal folder or video.")],
    visible: Annotated[Path, typer.Argument(help="Visible folder or video.")],
    inject: Annotated[
        str,
        typer.Option(help="slow (0.5 px/s), roll (0.3 degrees), zoom (0.5 %), each within 20 s; knock (8 px); none."),
    ] = "knock",
    rig: Annotated[Path | None, typer.Option(help="Rig file; without one the pairs count as registered.")] = None,
    seconds: Annotated[float, typer.Option(min=50, max=3600, help="Length of the trial.")] = 100.0,
    most: Annotated[int, typer.Option(min=2, max=1000, help="Pairs to take, evenly spread.")] = 120,
    hold: Annotated[float, typer.Option(min=0.5, help="Seconds for which each pair is shown.")] = 0.5,
    plot: Annotated[Path | None, typer.Option(help="Write the error over time as PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Shift or turn the thermal images by a known amount and see how far the drift correction follows."""
    from streamfuse.calibrate.align_files import read_pairs
    from streamfuse.calibrate.drift_trial import summary, try_drift
    from streamfuse.rig import Rig

    if plot:
        make_folder(plot.parent, "--plot")
    chosen = read_pairs(thermal, visible, most)
    moments = try_drift(chosen.pairs, Rig.load(rig) if rig else None, inject, seconds, hold_s=hold)
    told: dict[str, Any] = {"inject": inject, "pairs": len(chosen.pairs), **summary(moments)}
    for moment in moments[:: max(1, len(moments) // 24)]:
        _say(moment)
    console.print(", ".join(f"{key} {value}" for key, value in told.items()), highlight=False)
    if plot:
        _draw(moments, plot)
        told["plot"] = str(plot)
    finish(told, as_json)


def _say(moment: Moment) -> None:
    from streamfuse.correction import in_words

    console.print(
        f"{moment.at_s:6.1f} s  injected {moment.injected_px:5.2f}  error {moment.error_px:5.2f} px  "
        f"{in_words(moment.alignment)}",
        highlight=False,
    )


def _draw(moments: Sequence[Moment], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs matplotlib: pip install 'streamfuse[evaluate]'") from error
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes: Any = figure.add_subplot()
    times = [moment.at_s for moment in moments]
    axes.plot(times, [moment.injected_px for moment in moments], ":", label="injected")
    axes.plot(times, [moment.error_px for moment in moments], label="left after correction")
    axes.axhline(1, color="grey", linewidth=0.5)
    axes.set(xlabel="seconds", ylabel="output pixels")
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UserError(f"--plot {path}: cannot be written: {error}; name a PNG file") from error
