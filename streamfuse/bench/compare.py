"""`streamfuse compare A.json B.json`: what changed from A to B beyond the noise of both.

A figure changed where B's median lies outside A's noise and A's median outside B's. Noise is the range of three
repeats or more; with fewer, what a bootstrap over the frames of a run says, which knows nothing of other runs.
Runs of different machines or protocols are refused unless asked for, and then said to be that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamfuse.bench.machine import HARDWARE
from streamfuse.bench.metrics import METRICS
from streamfuse.bench.report import number
from streamfuse.bench.run import SCHEMA
from streamfuse.errors import UserError

COLOURS = {"better": "green", "worse": "red"}
SOFTWARE = ("system", "distribution", "python", "packages", "commit", "governor")
LIMITS = {"minutes"}
"""Keys of the protocol that decide how much is measured, not how."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one cell in both runs. `verdict`: better, worse, within noise, or noise unknown."""

    cell: str
    metric: str
    before: float
    after: float
    percent: float | None
    verdict: str


def compare_files(a: Path, b: Path, *, anyway: bool, console: Console) -> dict[str, Any]:
    """Print and return what changed. Raises UserError for files that are no results and runs that do not compare."""
    before, after = _read(a), _read(b)
    differing = differences(before, after)
    if differing and not anyway:
        raise UserError(
            f"{a} and {b} do not compare: {'; '.join(differing)}; measure both in the same way on the same machine, "
            "or look at them all the same with --anyway"
        )
    told = compare(before, after)
    for line in differing:
        console.print(f"[yellow]not the same:[/] {escape(line)}")
    _print(console, told)
    return {"a": str(a), "b": str(b), "not_the_same": differing, **told}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What makes two runs incomparable: hardware and protocol."""
    found = [
        f"{name} is {before['machine'].get(name)!r} and {after['machine'].get(name)!r}"
        for name in HARDWARE
        if before["machine"].get(name) != after["machine"].get(name)
    ]
    keys = sorted({*before["protocol"], *after["protocol"]} - LIMITS)
    return found + [
        f"protocol.{key} is {before['protocol'].get(key)!r} and {after['protocol'].get(key)!r}"
        for key in keys
        if before["protocol"].get(key) != after["protocol"].get(key)
    ]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Every figure of every cell that both runs measured; cells that only one has, and other software, by name."""
    cells = [{cell["key"]: cell for cell in one["cells"] if cell["status"] == "measured"} for one in (before, after)]
    changes = [
        change
        for key in cells[0]
        if key in cells[1]
        for change in cell_changes(key, cells[0][key]["summary"], cells[1][key]["summary"])
    ]
    software = {
        name: [before["machine"].get(name), after["machine"].get(name)]
        for name in SOFTWARE
        if before["machine"].get(name) != after["machine"].get(name)
    }
    return {
        "changes": [asdict(change) for change in changes],
        "better": sum(change.verdict == "better" for change in changes),
        "worse": sum(change.verdict == "worse" for change in changes),
        "only_in_a": [key for key in cells[0] if key not in cells[1]],
        "only_in_b": [key for key in cells[1] if key not in cells[0]],
        "software": software,
    }


def cell_changes(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Each metric that both summaries know."""
    return [
        Change(
            key,
            name,
            before[name]["median"],
            after[name]["median"],
            _percent(before[name]["median"], after[name]["median"]),
            verdict(before[name], after[name], less_is_better=metric.less_is_better),
        )
        for name, metric in METRICS.items()
        if name in before and name in after
    ]


def verdict(before: Mapping[str, Any], after: Mapping[str, Any], *, less_is_better: bool) -> str:
    """Whether the figure changed beyond the noise of both runs, and which way."""
    if before["low"] is None or after["low"] is None:
        return "noise unknown"
    outside = not before["low"] <= after["median"] <= before["high"]
    if not (outside and not after["low"] <= before["median"] <= after["high"]):
        return "within noise"
    return "better" if (after["median"] < before["median"]) == less_is_better else "worse"


def _percent(before: float, after: float) -> float | None:
    return round(100 * (after - before) / before, 1) if before else None


def _read(path: Path) -> dict[str, Any]:
    told: Any
    try:
        told = json.loads(path.read_text(encoding="utf-8").strip().splitlines()[-1])
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; name a result.json of streamfuse bench") from error
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: its last line is not JSON; name a result.json of streamfuse bench") from error
    if not isinstance(told, dict) or told.get("kind") != "streamfuse-bench":
        raise UserError(f"{path}: this is no result of streamfuse bench")
    if told.get("schema") != SCHEMA:
        raise UserError(f"{path}: its schema is {told.get('schema')!r}, this streamfuse reads {SCHEMA}; measure again")
    return cast("dict[str, Any]", told)


def _print(console: Console, told: Mapping[str, Any]) -> None:
    changed = [change for change in told["changes"] if change["verdict"] in COLOURS]
    table = Table("cell", "figure", "A", "B", "change", "", title="changed beyond the noise", title_justify="left")
    for change in changed:
        figures = [number(change["before"]), number(change["after"])]
        percent = "" if change["percent"] is None else f"{change['percent']:+.1f} %"
        said = f"[{COLOURS[change['verdict']]}]{change['verdict']}[/]"
        unit = METRICS[change["metric"]].unit
        table.add_row(escape(change["cell"]), f"{change['metric']} {unit}", *figures, percent, said)
    console.print(table if changed else "nothing changed beyond the noise")
    unsure = [change for change in told["changes"] if change["verdict"] == "noise unknown"]
    if unsure:
        console.print(f"{len(unsure)} figures have no known noise: measure with 3 repeats or more to compare them")
    for name, (was, now) in told["software"].items():
        console.print(f"{name}: {was} -> {now}", markup=False, highlight=False)
    for side in ("a", "b"):
        for key in told[f"only_in_{side}"]:
            console.print(f"only in {side.upper()}: {key}", markup=False, highlight=False)
