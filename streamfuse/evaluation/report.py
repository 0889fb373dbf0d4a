"""Tables: means for a person on stderr and as CSV, every image's figures as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamfuse.errors import UserError
from streamfuse.evaluation.peers import Peers
from streamfuse.terminal import counted, note, print_wide

if TYPE_CHECKING:
    from streamfuse.evaluation.evaluate import Evaluation

FIRST_TABLE = 11
"""So many columns fit beside each other; what the peers lack comes after them."""

Results = Mapping[str, "Evaluation"]


def print_means(console: Console, results: Results, columns: Sequence[str], known: Peers | None) -> None:
    """One line each; the peers' below, as far as they were measured."""
    pairs = len(next(iter(results.values())).rows)
    rows = _beside_peers(results, known)
    for some in (columns[:FIRST_TABLE], columns[FIRST_TABLE:]):
        table = Table(box=None, padding=(0, 1, 0, 0))
        table.add_column("mean", no_wrap=True)
        for column in some:
            table.add_column(column, justify="right", no_wrap=True)
        for label, row in rows.items():
            if any(column in row for column in some):
                cells = [_cell(row[column]) if column in row else "" for column in some]
                table.add_row(escape(label), *cells, style="bold" if label in results else None)
        if some:
            print_wide(console, table)
    if known:
        console.print(f"peers: {known.pairs} public pairs of {known.set_name}; * stretches every image")
    if known and pairs != known.pairs:
        note(console, f"judged: {counted(pairs, 'image')}, so the peers' figures are not of the same ones")


def write_rows(out: Path, results: Results, columns: Sequence[str]) -> dict[str, str]:
    """`scores.csv`: a line for each image and method."""
    lines = (
        [label, name, *(_exact(row[column]) for column in columns)]
        for label, one in results.items()
        for name, row in zip(one.names, one.rows, strict=True)
    )
    return {"scores": _write(out / "scores.csv", ["method", "image", *columns], lines)}


def write_means(out: Path, results: Results, columns: Sequence[str], known: Peers | None) -> dict[str, str]:
    """`means.csv`: a line for each method, the peers' below."""
    rows = _beside_peers(results, known)
    lines = ([label, *(_exact(row[name]) if name in row else "" for name in columns)] for label, row in rows.items())
    return {"means": _write(out / "means.csv", ["method", *columns], lines)}


def _beside_peers(results: Results, known: Peers | None) -> dict[str, dict[str, float]]:
    """Means by method; a peer that was judged here too is shown as judged here."""
    others = {method: row for method, row in (known.rows if known else {}).items() if method not in results}
    return {label: one.means for label, one in results.items()} | others


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(lines)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return str(path)


def _cell(value: float) -> str:
    """Four digits, as the field prints; a dash where no image has the figure."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _exact(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
