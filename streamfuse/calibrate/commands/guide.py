"""`streamfuse calibrate guide`: poses of the target, collected before the cameras with advice on the next one."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamfuse.calibrate.commands.seeing import TARGET_HELP
from streamfuse.calibrate.commands.stopping import asked_to_stop
from streamfuse.terminal import Json, console, counted, finish

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from streamfuse.calibrate.guide import Advice, Guide
    from streamfuse.calibrate.guide_live import Session

COLOURS = {"accepted": "green", "finished": "green", "known": "cyan", "moving": "yellow"}


def guide(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="RUN | THERMAL VISIBLE", help="Run file with both cameras, or recordings.")
    ],
    target: Annotated[str, typer.Option(help=TARGET_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for the accepted pairs: thermal/ and rgb/.")] = Path("out/guide"),
    as_json: Json = False,
) -> None:
    """Say where to hold the target next, and save each good pose, until there are enough (or Ctrl-C).

    A pose is taken when both cameras see the target sharply, it stands still, and no earlier pose is like it; the
    terminal's bell rings then. Complete: 15 poses, every corner of the shared image, tilts that spread by 10 degrees.
    """
    from rich.live import Live

    from streamfuse.calibrate.delay_record import run_of
    from streamfuse.calibrate.guide_live import guide_run
    from streamfuse.calibrate.target import parse_target

    asked = parse_target(target)
    config = run_of(inputs)
    with asked_to_stop() as stopped, Live(console=console, auto_refresh=False) as live:

        def told(state: Guide, advice: Advice) -> None:
            live.update(panel(state, advice), refresh=console.is_terminal)
            if advice.accepted:
                console.bell()

        session = guide_run(config, asked, out, told=told, stopped=stopped)
    if session.looked and not console.is_terminal:
        console.line()  # there `Live` prints its last picture when it is over, without an end of line
    told_at_end = _summary(session, target, out)
    console.print(told_at_end["next"], markup=False, highlight=False)
    finish(told_at_end, as_json)


def panel(state: Guide, advice: Advice) -> RenderableType:
    """Coverage of both images, what there is and what is asked, and what to do now."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from streamfuse.calibrate.accept import POSES, TILT_DEGREES
    from streamfuse.calibrate.guide import CAMERAS

    maps = Table(*CAMERAS, box=None, padding=(0, 3))
    maps.add_row(*(_map(state, camera) for camera in CAMERAS))
    maps.add_row(*map(_measures, advice.quality, advice.moved_px))
    tilt = f"tilt {state.tilt_degrees:.0f} of {TILT_DEGREES:g} degrees"
    counts = Text(f"{state.poses} of {POSES} poses, {tilt}")
    style = f"bold {COLOURS.get(advice.state, 'red')}"
    said = Text(advice.say, style=style, no_wrap=False, overflow="fold")  # `console` by itself leaves wrapping out
    return Panel(Group(maps, counts, said), title="calibrate guide", expand=False)


def _measures(sharp: float, moved: float) -> str:
    if isnan(sharp):
        return "not seen"
    return f"sharp {sharp:.2f}" + ("" if isnan(moved) else f", moved {moved:.1f} px")


def _map(state: Guide, camera: str) -> Text:
    """Covered cells, and brackets around those in which the target is now."""
    from rich.text import Text

    covered, now = state.cells(camera) > 0, state.now_in(camera) > 0
    rows = zip(covered.tolist(), now.tolist(), strict=True)
    return Text("\n".join("".join(_cell(*cell) for cell in zip(*row, strict=True)) for row in rows))


def _cell(covered: bool, now: bool) -> str:
    inside = "█" if covered else "·"
    return f"[{inside}]" if now else f" {inside} "


def _summary(session: Session, target: str, out: Path) -> dict[str, Any]:
    state = session.guide
    if not session.saved:
        nothing = f"no pose was saved of {counted(session.looked, 'pair')} looked at: {session.frozen or state.wanted}"
        error = session.failed or nothing
        return {"poses": 0, "looked": session.looked, "finished": False, "next": state.wanted, "error": error}
    solve = f"streamfuse calibrate detect {out} --target {target} --out {out / 'detect'}"
    return {
        "poses": session.saved,
        "looked": session.looked,
        "finished": state.finished,
        "bare_corners": state.bare,
        "tilt_degrees": round(state.tilt_degrees, 1),
        "cells_covered": {camera: int((state.cells(camera) > 0).sum()) for camera in state.bare},
        "folder": str(out),
        "next": solve if state.finished else f"not complete ({state.wanted}); what is there: {solve}",
        "error": session.failed or None,
    }
