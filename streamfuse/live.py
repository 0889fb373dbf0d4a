"""`streamfuse run`: the pipeline with a line on the terminal that says how it is doing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from streamfuse.clock import now_ns
from streamfuse.config import RunConfig
from streamfuse.frames import FusedFrame
from streamfuse.pipeline import Limits, run
from streamfuse.report import print_report
from streamfuse.terminal import passing_bar

REDRAW_NS = 200_000_000


def run_with_progress(
    config: RunConfig, *, frames: int | None, seconds: float | None, stop: threading.Event, console: Console
) -> dict[str, Any]:
    """Run until the end, a limit or `stop`; the report as a dictionary. Raises UserError before anything flows."""
    with log_lines(console), progress_line(console, frames=frames, seconds=seconds) as watch:
        told = run(config, limits=Limits(frames=frames, seconds=seconds), stop=stop, watch=watch).as_dict()
    print_report(console, told)
    return told


@contextmanager
def log_lines(console: Console) -> Generator[None]:
    """What the log says, a line each with its time of day, on `console`: cameras that go and come back, warnings."""
    handler, log = _Lines(console), logging.getLogger("streamfuse")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Lines(logging.Handler):
    """Through rich, so that a line does not tear the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), markup=False, highlight=False)


@contextmanager
def progress_line(
    console: Console, *, frames: int | None = None, seconds: float | None = None
) -> Generator[Callable[[FusedFrame], None]]:
    """A function to call with every output; it redraws at most five times a second."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with passing_bar(console, *columns) as bar:
        task = bar.add_task("waiting for frames", total=frames or seconds)
        first_ns = drawn_ns = 0

        def watch(frame: FusedFrame) -> None:
            nonlocal first_ns, drawn_ns
            now = now_ns()
            first_ns = first_ns or now
            if now - drawn_ns < REDRAW_NS:
                return
            drawn_ns = now
            done = frame.sequence + 1 if frames else (now - first_ns) / 1e9
            bar.update(task, completed=done, description=_status(frame, now))

        yield watch


def _status(frame: FusedFrame, now: int) -> str:
    skew = "" if frame.skew_ns is None else f", skew {frame.skew_ns / 1e6:+.1f} ms"
    drops = sum(frame.drops.values())
    return (
        f"{frame.sequence + 1} outputs, {frame.state.value}{skew}, "
        f"{(now - frame.capture_ns) / 1e6:.0f} ms old, {drops} dropped"
    )
