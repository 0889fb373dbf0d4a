"""The run of an ablation: cell after cell until all are done, time is up, or someone stops it; then the tables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from streamfuse.terminal import make_folder, note
from streamfuse.training.ablation.comparison import Line, compare
from streamfuse.training.ablation.results import Result, finished, run_cell
from streamfuse.training.ablation.settings import AblateConfig, Cell, cells
from streamfuse.training.ablation.tables import write_tables
from streamfuse.training.failures import TrainingFailed
from streamfuse.training.pairs import Pair, load_test
from streamfuse.training.train import Stop


class Deadline:
    """Set once `minutes` have passed, or once `stop` is."""

    def __init__(self, stop: Stop, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop, self._clock = stop, clock
        self._end = None if minutes is None else clock() + 60 * minutes

    def is_set(self) -> bool:
        return self._stop.is_set() or (self._end is not None and self._clock() >= self._end)


def ablate(config: AblateConfig, out: Path, *, stop: Stop, console: Console, minutes: float | None) -> dict[str, Any]:
    """Train and judge what is not finished yet; what came of it.

    `out` gets cells/ (a folder of its training and a JSON file per cell), table.csv, table.md and a plot per test.
    Run it again to go on: finished cells are read, an interrupted one resumes from its checkpoint. A cell whose
    training fails is named in the end and does not hold up the others. Raises UserError for data or settings of no use.
    """
    todo = cells(config)
    root = todo[0].training.root
    tests = {test.folder: load_test(root, test, config.images) for test in config.tests}
    make_folder(out / "cells")
    results, failed = _run_all(todo, tests, out, Deadline(stop, minutes), console)
    told: dict[str, Any] = {"cells": len(todo), "finished": len(results), "out": str(out)}
    if failed:
        told["error"] = f"{len(failed)} of {len(todo)} cells failed: {'; '.join(failed)}"
    elif len(results) < len(todo):
        console.print(f"stopped after {len(results)} of {len(todo)} cells; run the same command to go on")
    references = {row.label: next(iter(row.losses)) for row in config.rows}
    lines = compare(in_order(results, config), references)
    if lines:
        write_tables(out, lines)
        told["plots"] = _plots(out, results, config, console)
        console.print(str(out / "table.md"), markup=False)
    return {**told, "lines": [_told(line) for line in lines]}


def in_order(results: Sequence[Result], config: AblateConfig) -> list[Result]:
    """By row, loss and seed as the file names them: of each row the reference first, even if it came last."""
    order = [(row.label, loss, seed) for row in config.rows for loss in row.losses for seed in config.seeds]
    return sorted(results, key=lambda result: order.index((result.row, result.loss, result.seed)))


def _run_all(
    todo: Sequence[Cell], tests: dict[str, list[Pair]], out: Path, stop: Stop, console: Console
) -> tuple[list[Result], list[str]]:
    results: list[Result] = []
    failed: list[str] = []
    for index, cell in enumerate(todo, 1):
        result = finished(cell, out)
        if result is None and not stop.is_set():
            console.print(f"cell {index} of {len(todo)}: {cell.row}, {cell.loss}, seed {cell.seed}", markup=False)
            try:
                result = run_cell(cell, tests, out, stop, console)
            except TrainingFailed as error:
                failed.append(f"{cell.name}: {error}")
                console.print(f"failed: {cell.name}", style="red", markup=False, highlight=False)
        if result is not None:
            results.append(result)
    return results, failed


def _plots(out: Path, results: Sequence[Result], config: AblateConfig, console: Console) -> list[str]:
    """A picture per test, where there is matplotlib."""
    try:
        from streamfuse.evaluation.strips import plot_strips
    except ModuleNotFoundError as error:
        note(console, f"no plot: {error}; pip install 'streamfuse[evaluate]'")
        return []
    lines: list[str] = []
    for test in dict.fromkeys(test for result in results for test in result.tests):
        path = out / f"plot-{test.replace('/', '-')}.png"
        plot_strips(path, _strips(in_order(results, config), test), title=test)
        lines.append(str(path))
    return lines


def _strips(results: Sequence[Result], test: str) -> dict[str, dict[str, list[float]]]:
    """metric -> "row, loss" -> a mean over images for every seed."""
    strips: dict[str, dict[str, list[float]]] = {}
    for line in (line for result in results for line in compare([result], {}) if line.test == test):
        strips.setdefault(line.metric, {}).setdefault(_label(line), []).append(line.mean)
    return strips


def _label(line: Line) -> str:
    return f"{line.row}, {line.loss}"


def _told(line: Line) -> dict[str, Any]:
    """As JSON may say it: no nan."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(line).items()
    }
