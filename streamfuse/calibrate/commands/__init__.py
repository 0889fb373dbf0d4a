"""`streamfuse calibrate ...`: the commands, in the order in which they are needed."""

from __future__ import annotations

import typer

from streamfuse.calibrate.commands import aligning, delay, drift, exchange, guide, seeing, solving
from streamfuse.calibrate.commands.report import report

app = typer.Typer(
    help="From two cameras to a rig file: targets, detection, lenses and rig, clock delay, first alignment.",
    no_args_is_help=True,
)
app.command()(seeing.target)
app.command()(guide.guide)
app.command()(seeing.detect)
app.command()(solving.rig)
app.command()(solving.points)
app.command()(report)
app.command()(delay.delay)
app.command("import")(exchange.import_rig)
app.command("export")(exchange.export_rig)
app.command()(aligning.align)
app.command()(aligning.align_benchmark)
app.command()(drift.drift)
