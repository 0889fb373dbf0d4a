"""The training log, written as it happens: CSV tables, TensorBoard, or both."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from streamfuse.errors import UserError
from streamfuse.frames import Pixels


class Table:
    """A CSV file: `step` and the names of the first row's values. Rows after step `keep_until` are of a future that
    is run again."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self._path = path
        self._fields, kept = _read(path)
        self._file: Any = None
        if self._fields:
            self._rewrite([row for row in kept if int(row["step"]) <= keep_until])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row. Raises UserError where the disk refuses."""
        row = {"step": str(step), **{name: f"{value:.6f}" for name, value in values.items()}}
        try:
            if not self._fields:
                self._fields = list(row)
                self._rewrite([])
            if self._file is None:
                self._file = self._path.open("a", newline="", encoding="utf-8")
            csv.DictWriter(self._file, self._fields).writerow(row)
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        unfinished = self._path.with_name(f".{self._path.name}.unfinished")
        try:
            with unfinished.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._fields)
                writer.writeheader()
                writer.writerows(rows)
            unfinished.replace(self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> UserError:
        return UserError(
            f"{self._path}: the log cannot be written: {error.strerror}; make room and go on with --resume "
            "from the last checkpoint"
        )


class Log:
    """A context manager over log.csv (a row per step), validation.csv, and TensorBoard's folder, as `kind` says."""

    def __init__(self, out: Path, kind: Literal["csv", "tensorboard", "both"], *, keep_until: int) -> None:
        self._stack = ExitStack()
        self._tables: dict[str, Table] = {}
        if kind != "tensorboard":
            for split, name in (("train", "log.csv"), ("validation", "validation.csv")):
                self._tables[split] = Table(out / name, keep_until=keep_until)
                self._stack.callback(self._tables[split].close)
        self._board = _board(out / "tensorboard", keep_until) if kind != "csv" else None
        if self._board is not None:
            self._stack.callback(self._board.close)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, step: int, split: Literal["train", "validation"], values: Mapping[str, float]) -> None:
        if split in self._tables:
            self._tables[split].write(step, values)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{split}/{name}", value, step)

    def show(self, step: int, picture: Pixels) -> None:
        """A grey picture H W for TensorBoard; files are written elsewhere."""
        if self._board is not None:
            self._board.add_image("samples", picture[None], step)


def check_log(kind: Literal["csv", "tensorboard", "both"]) -> None:
    """Raises UserError where TensorBoard is asked for and missing, before anything is trained."""
    if kind != "csv":
        _writer()


def _writer() -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise UserError(
            "`log: tensorboard` needs the package tensorboard, which is not installed: "
            "pip install 'streamfuse[train]', or use `log: csv`"
        ) from error
    return SummaryWriter


def _board(folder: Path, done: int) -> Any:
    return _writer()(str(folder), purge_step=done + 1)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not path.exists():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if (row["step"] or "").isdecimal()]
        return list(reader.fieldnames or ()), rows
