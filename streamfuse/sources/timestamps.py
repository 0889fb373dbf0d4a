"""Recorded times: sidecar files (CSV or JSONL, integer ns) and evenly spaced times. Knows nothing of pictures.

A sidecar has one row per frame: `frame` (image name without its ending, or index from 0) and `time_ns` (integer);
further columns are ignored. CSV has a header line, JSONL one object per line.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from streamfuse.errors import UserError

ENDINGS = (".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The times of all frames of one stream, in their order; `unused` counts rows that name no frame."""

    times_ns: tuple[int, ...]
    unused: int


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    frame: str
    time_ns: int


def find_sidecar(recording: Path) -> Path | None:
    """`<stem>.times.csv|.jsonl` beside a recording, or `times.csv|.jsonl` inside a folder; None where there is none."""
    places = [recording.with_name(f"{recording.stem}.times{ending}") for ending in ENDINGS]
    if recording.is_dir():
        places = [recording / f"times{ending}" for ending in ENDINGS] + places
    return next((place for place in places if place.is_file()), None)


def read_sidecar(path: Path, names: Sequence[str]) -> Sidecar:
    """Times of the frames called `names`, looked up by name where any name occurs, else by index.

    Raises UserError (naming the line) for a row that cannot be read, a frame without a row, or times that do not rise.
    """
    rows = _unique(path, _rows(path))
    keys: Sequence[str] = names if any(name in rows for name in names) else [str(index) for index in range(len(names))]
    if not any(key in rows for key in keys):
        rows = {_as_index(frame): row for frame, row in rows.items()}
    missing = [name for name, key in zip(names, keys, strict=True) if key not in rows]
    if missing:
        raise UserError(
            f"{path}: {len(names)} frames, {len(rows)} rows, and no row for frame {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}; every frame needs its row (frame,time_ns)"
        )
    found = [rows[key] for key in keys]
    _check_rising(path, found)
    return Sidecar(tuple(row.time_ns for row in found), len(rows) - len(found))


def even_times_ns(indices: Sequence[int], rate_hz: float) -> tuple[int, ...]:
    """Time of each index at a steady rate, from 0, in ns."""
    return tuple(round(index * 1e9 / rate_hz) for index in indices)


def typical_period_ns(times_ns: Sequence[int], otherwise_ns: int) -> int:
    """Mean distance of neighbours, without the gaps that missing frames leave (more than half off the median)."""
    steps = [after - before for before, after in pairwise(times_ns)]
    if not steps:
        return otherwise_ns
    middle = statistics.median(steps)
    return round(statistics.fmean(step for step in steps if 2 * abs(step - middle) <= middle))


def _rows(path: Path) -> Iterator[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the times cannot be read ({error}); give a CSV or JSONL file in UTF-8") from error
    if path.suffix.lower() == ".jsonl":
        return _jsonl_rows(path, text.splitlines())
    return _csv_rows(path, text.splitlines())


def _csv_rows(path: Path, lines: Sequence[str]) -> Iterator[_Row]:
    reader = csv.DictReader(lines)
    if not {"frame", "time_ns"} <= set(reader.fieldnames or ()):
        raise UserError(f"{path}: line 1 must be a header with the columns frame,time_ns; found {lines[:1]}")
    for row in reader:
        frame, time_ns = (row["frame"] or "").strip(), (row["time_ns"] or "").strip()
        if not frame or not re.fullmatch(r"[+-]?[0-9]+", time_ns):
            raise _bad_row(path, reader.line_num, lines)
        yield _Row(reader.line_num, frame, int(time_ns))


def _jsonl_rows(path: Path, lines: Sequence[str]) -> Iterator[_Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = cast(dict[str, Any], json.loads(line))
            frame, time_ns = row["frame"], row["time_ns"]
        except (ValueError, KeyError, TypeError) as error:
            raise _bad_row(path, number, lines) from error
        if type(time_ns) is not int or type(frame) not in (int, str):
            raise _bad_row(path, number, lines)
        yield _Row(number, str(frame), time_ns)


def _bad_row(path: Path, number: int, lines: Sequence[str]) -> UserError:
    return UserError(
        f"{path}: line {number} is {lines[number - 1][:80]!r}; "
        "needed are frame (image name or index) and time_ns (whole nanoseconds)"
    )


def _unique(path: Path, rows: Iterator[_Row]) -> dict[str, _Row]:
    found: dict[str, _Row] = {}
    for row in rows:
        if row.frame in found:
            raise UserError(
                f"{path}: frame {row.frame} stands in line {found[row.frame].line} and again in line {row.line}; "
                "keep one of them"
            )
        found[row.frame] = row
    return found


def _as_index(frame: str) -> str:
    return str(int(frame)) if frame.isdecimal() else frame


def _check_rising(path: Path, rows: Sequence[_Row]) -> None:
    for before, after in pairwise(rows):
        if after.time_ns <= before.time_ns:
            raise UserError(
                f"{path}: line {after.line}: frame {after.frame} at {after.time_ns} ns is not later than "
                f"frame {before.frame} at {before.time_ns} ns; times must rise from frame to frame"
            )
