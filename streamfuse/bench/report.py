"""The benchmark as rows of text, and as a person reads it on a terminal: cells, peers, sweep, what was left out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN = {
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "p99.9": "p99.9",
    "rate": "Hz",
    "not fused": "lost %",
    "CPU": "CPU",
    "CPU graph": "graph",
    "CPU overhead": "own",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as text. `about` explains its columns."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    about: str = ""


def print_bench(console: Console, told: Mapping[str, Any]) -> None:
    """Every table of the report, on `console` (stderr)."""
    console.print(machine_line(told["machine"]), markup=False, highlight=False)
    for grid in grids(told):
        console.print(f"\n{grid.title}", style="bold", markup=False, highlight=False)
        console.print(_table(grid))
        if grid.about:
            console.print(grid.about, markup=False, highlight=False)
    for line in notes(told):
        console.print(line, markup=False, highlight=False)


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    parts = [machine["board"], machine["cpu"], f"{machine['usable_cores']} cores", machine["gpu"]]
    parts += [f"{name} {version}" for name, version in machine["packages"].items() if name in ("torch", "openvino")]
    return ", ".join(str(part) for part in (*parts, machine["commit"]) if part)


def grids(told: Mapping[str, Any]) -> list[Grid]:
    """What there is to show, in order; whatever was not measured stands in the last one with its reason."""
    found = [_cells(told["cells"])]
    inside = _inside(told["cells"])
    if inside.rows:
        found.append(inside)
    if any(peer["status"] == "measured" for peer in told["peers"]):
        found.append(_peers(told))
    if told["sweep"]:
        found.append(_sweep(told["sweep"]))
    missing = _missing(told)
    return [*found, missing] if missing.rows else found


def notes(told: Mapping[str, Any]) -> list[str]:
    """What a reader has to know before quoting a figure."""
    lines = [
        f"not to be trusted: {cell['label']}: {fault}" for cell in told["cells"] for fault in cell.get("faults", ())
    ]
    lines += [f"THROTTLED: {cell['label']}: {why}" for cell in told["cells"] if (why := _throttled(cell))]
    if told["stopped"]:
        lines.append("interrupted: what was measured until then is above")
    blind = {repeat["gpu_note"] for cell in told["cells"] for repeat in cell.get("repeats", ()) if not repeat["gpu"]}
    return lines + [f"no GPU, clock, temperature or power figures: {why}" for why in sorted(blind)]


def _throttled(cell: Mapping[str, Any]) -> str:
    found: set[str] = set()
    for repeat in cell.get("repeats", ()):
        found.update((repeat["gpu"] or {"throttled": ()})["throttled"])
    return ", ".join(sorted(found))


def number(value: float | None) -> str:
    """Three digits; - is withheld or unknown."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _cells(cells: Sequence[Mapping[str, Any]]) -> Grid:
    heads = ["cell", *SHOWN.values(), "p50 noise"]
    rows = [_cell_row(cell) for cell in cells if cell["status"] == "measured"]
    known = [at for at in range(len(heads)) if not rows or any(row[at] != "-" for row in rows)]
    about = (
        "ms from the scheduled capture time to the subscriber (to the socket without one), open loop; lost: frames not "
        "fused; CPU: ms a frame, of which graph, and own: all but capture and graph; too few frames for a percentile: "
        "it is left out"
    )
    return Grid("cells", [heads[at] for at in known], [[row[at] for at in known] for row in rows], about)


def _cell_row(cell: Mapping[str, Any]) -> list[str]:
    summary = cell["summary"]
    figures = [number(summary[name]["median"]) if name in summary else "-" for name in SHOWN]
    noise = summary.get("p50", {"low": None})
    bounds = "-" if noise["low"] is None else f"{number(noise['low'])}-{number(noise['high'])}"
    name = f"{cell['label']} ({cell['repeats'][-1]['engine']}, {len(cell['repeats'])} runs)"
    return [name, *figures, bounds]


def _inside(cells: Sequence[Mapping[str, Any]]) -> Grid:
    """One row for each cell whose engine says what it did: p50 of every part, the median over repeats."""
    rows: list[list[str]] = []
    for cell in cells:
        told = [repeat["inside_ms"] for repeat in cell.get("repeats", ()) if repeat.get("inside_ms")]
        p50s = {name: [one[name]["p50"] for one in told] for name in (told[0] if told else ())}
        known = [f"{name} {number(statistics.median(p50))}" for name, p50 in p50s.items() if None not in p50]
        if known:
            rows.append([f"{cell['label']} ({cell['repeats'][-1]['engine']})", ", ".join(known)])
    about = (
        "p50 in ms. GPU engines, by the device's own clock: upload, compute, download. openvino: fill (inputs), graph "
        "(tone curve, warp and network, compiled as one), merge. eager: warp (with tone curve), network, colour"
    )
    return Grid("inside the stage `computed`", ["cell", "what"], rows, about)


def _peers(told: Mapping[str, Any]) -> Grid:
    heads = ["peer", "p50", "p95", "p99", "lost %", "CPU", "to ours", "latency until"]
    rows: list[list[str]] = []
    for peer in told["peers"]:
        if peer["status"] == "measured":
            latency = [number(peer["latency_ms"][name]) for name in ("p50", "p95", "p99")]
            spent = [number(peer.get("not_fused_percent")), number(peer["cpu_ms_per_frame"])]
            ratio = told["ratios"].get(peer["name"])
            rows.append([peer["label"], *latency, *spent, f"{ratio:g}x" if ratio else "-", peer["latency_ends"]])
    return Grid("peers, on the pictures and schedule of the first cell", heads, rows)


def _sweep(sweep: Mapping[str, Any]) -> Grid:
    columns = ("rate_hz", "p50_ms", "p95_ms", "not_fused_percent")
    rows = [[number(point[name]) for name in columns] for point in sweep["points"]]
    held = f"holds up to {sweep['knee_hz']:g} Hz" if sweep["knee_hz"] else "no rate holds"
    about = "holds: at most 1 % of the frames lost, and p95 at most twice that of the lowest rate"
    return Grid(f"sweep of {sweep['cell']}: {held}", ["Hz", "p50", "p95", "lost %"], rows, about)


def _missing(told: Mapping[str, Any]) -> Grid:
    """One row for each reason: what it kept from being measured."""
    named: dict[str, list[str]] = {}
    for one in (*told["cells"], *told["peers"]):
        if one["status"] != "measured":
            named.setdefault(f"{one['status']}: {one['reason']}", []).append(one.get("label", one.get("name")))
    skipped: Mapping[str, str] = told["sweep"]["skipped"] if told["sweep"] else {}
    for rate, why in skipped.items():
        named.setdefault(f"skipped: {why}", []).append(f"sweep at {rate} Hz")
    rows = [["; ".join(names), why] for why, names in named.items()]
    return Grid("not measured", ["what", "why"], rows)


def _table(grid: Grid) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for head in grid.heads:
        text = head in ("cell", "peer", "what", "why", "latency until")
        table.add_column(head, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in grid.rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
