"""The lines of an ablation as files: table.csv for machines, table.md for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from streamfuse.errors import UserError
from streamfuse.training.ablation.comparison import Line

CERTAIN = 0.05
NOTE = """Mean over images, then mean ± standard deviation over seeds. Second line: change of the mean against the first
loss in per cent; in how many seeds it rose; * where a paired sign-flip test over images (averaged over seeds) gives
p < 0.05, not corrected for the number of metrics. More is better but in inverted, flat, overshoot and rim.
"""


def write_tables(out: Path, lines: Sequence[Line]) -> None:
    """Write both. Raises UserError where that cannot be done."""
    try:
        (out / "table.csv").write_text(as_csv(lines), encoding="utf-8")
        (out / "table.md").write_text(as_markdown(lines), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out}: the tables cannot be written: {error.strerror}; make room and run again") from error


def as_csv(lines: Sequence[Line]) -> str:
    """A row per metric, loss and test."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Line)], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        told = asdict(line).items()
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in told})
    return text.getvalue()


def as_markdown(lines: Sequence[Line]) -> str:
    """A table per row and test, a column per metric."""
    parts = [NOTE]
    for row, test in dict.fromkeys((line.row, line.test) for line in lines):
        chosen = [line for line in lines if (line.row, line.test) == (row, test)]
        metrics = list(dict.fromkeys(line.metric for line in chosen))
        parts.append(f"## {row}, {test} ({chosen[0].images} images)\n")
        parts.append("| loss | seeds |" + "".join(f" {metric} |" for metric in metrics))
        parts.append("|---|---|" + "---|" * len(metrics))
        for loss in dict.fromkeys(line.loss for line in chosen):
            parts += _rows([line for line in chosen if line.loss == loss])
        parts.append("")
    return "\n".join(parts)


def _rows(lines: Sequence[Line]) -> list[str]:
    first = lines[0]
    values = "".join(f" {_digits(line.mean)}{_deviation(line)} |" for line in lines)
    rows = [f"| {first.loss} | {first.seeds} |{values}"]
    if first.shared:
        rows.append(f"| | {first.shared} |" + "".join(f" {_change(line)} |" for line in lines))
    return rows


def _change(line: Line) -> str:
    said = "-" if math.isnan(line.change) else f"{line.change:+.1f} %"
    return f"{said} {line.rose}/{line.shared}{'*' if line.p < CERTAIN else ''}"


def _deviation(line: Line) -> str:
    return "" if math.isnan(line.deviation) else f" ± {_digits(line.deviation)}"


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
