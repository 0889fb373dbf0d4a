"""`streamfuse calibrate delay`: how much later the thermal camera stamps the same instant."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamfuse.calibrate.commands.stopping import asked_to_stop
from streamfuse.terminal import Json, console, finish

if TYPE_CHECKING:
    from streamfuse.calibrate.delay_record import Measured, Watched
    from streamfuse.calibrate.delay_watch import Region
    from streamfuse.config import RunConfig


class By(str, Enum):
    auto = "auto"
    blink = "blink"
    energy = "energy"
    shift = "shift"


def delay(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN | THERMAL VISIBLE", help="Run file, or two recordings with their times."),
    ],
    seconds: Annotated[float, typer.Option(min=12, help="How much to look at.")] = 60.0,
    by: Annotated[
        By, typer.Option(help="blink: brightness; energy: how much moves; shift: where the whole image moves to.")
    ] = By.auto,
    within: Annotated[float, typer.Option(min=20, max=5000, help="The delay is looked for up to so many ms.")] = 500.0,
    opposite: Annotated[bool, typer.Option("--opposite", help="What is bright for one is dark for the other.")] = False,
    thermal_region: Annotated[str | None, typer.Option(help="Only this part: x,y,width,height.")] = None,
    rgb_region: Annotated[str | None, typer.Option(help="Only this part: x,y,width,height.")] = None,
    into: Annotated[Path | None, typer.Option(help="Rig file to write the delay into (its comments are lost).")] = None,
    as_json: Json = False,
) -> None:
    """Measure the constant delay between the two cameras from what both see change.

    Let a lamp blink or a warm plate be covered and uncovered at irregular intervals, or move the rig by hand, for a
    minute. The answer is the thermal stamp minus the RGB stamp of one instant: `thermal_delay_ms` of a rig file.
    """
    from streamfuse.calibrate.delay_record import measure, run_of, written
    from streamfuse.rig import Rig

    rig = Rig.load(into) if into else None
    regions = (_region(thermal_region, "--thermal-region"), _region(rgb_region, "--rgb-region"))
    watched = _watch(run_of(inputs), seconds, regions)
    found = measure(watched, by=by.value, within_s=within / 1e3, opposite=opposite)
    for note in watched.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    _tell(found)
    error = f"no delay is told: {found.delay.refused}" if found.delay.refused else None
    if rig and into and not error:
        written(rig, found.delay).save(into)
        console.print(f"{into}: thermal_delay_ms = {found.delay.delay_ms:.3f}", markup=False, highlight=False)
    report: dict[str, Any] = {
        "by": found.by,
        **asdict(found.delay),
        "all": {k: asdict(d) for k, d in found.all.items()},
    }
    finish({**report, "written": str(into) if into and not error else None, "error": error}, as_json)


def _watch(config: RunConfig, seconds: float, regions: tuple[Region | None, Region | None]) -> Watched:
    """Until enough was seen, or Ctrl-C: what was seen by then counts."""
    from streamfuse.calibrate.delay_record import watch_run

    with asked_to_stop() as stopped, console.status("looking") as status:

        def told(seen_s: float) -> None:
            status.update(f"looking: {seen_s:.0f} of {seconds:.0f} s")

        return watch_run(config, seconds, regions=regions, told=told, stopped=stopped)


def _tell(found: Measured) -> None:
    from streamfuse.calibrate.delay_record import drifts

    for kind, one in found.all.items():
        console.print(
            f"{kind:7}{one.delay_ms:9.2f} ms +- {one.error_ms:.2f}  "
            f"drift {one.drift_ppm:+.0f} +- {one.drift_error_ppm:.0f} ppm  "
            f"peak {one.peak:.2f}, second {one.ratio:.2f} of it{'  refused: ' + one.refused if one.refused else ''}",
            markup=False,
            highlight=False,
        )
    best = found.delay
    if best.refused:
        return
    console.print(
        f"by {found.by}: the thermal camera stamps the same instant {abs(best.delay_ms):.2f} ms "
        f"{'later' if best.delay_ms >= 0 else 'earlier'} (+- {best.error_ms:.2f} ms)",
        markup=False,
        highlight=False,
    )
    if drifts(best):
        console.print(
            f"the clocks run apart by {best.drift_ppm:.0f} ppm ({best.drift_ppm * 0.06:.1f} ms a minute): the delay is "
            "that of the middle of the record. Live cameras with stamps of their own are followed at run time "
            "(streamfuse/drift.py); a recording is not, and one number serves it for a short time only",
            markup=False,
            highlight=False,
        )


def _region(text: str | None, option: str) -> Region | None:
    from streamfuse.errors import UserError

    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"{option} {text!r} is no region; write x,y,width,height in pixels, e.g. 100,80,40,40")
    x, y, width, height = (int(part) for part in parts)
    if width < 4 or height < 4:
        raise UserError(f"{option} {text!r} is too small; at least 4x4 pixels are needed")
    return x, y, width, height
