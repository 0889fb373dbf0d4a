"""The training log: one CSV line per step and per validation, written as it happens."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from streamfuse.errors import UserError

FIELDS = ("step", "split", "total", "intensity", "gradient", "structure")


class Log:
    """A context manager over the file; lines after step `keep_until` belong to a future that is run again."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        kept = [row for row in _rows(path) if int(row["step"]) <= keep_until]
        try:
            self._file = path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: the log cannot be written: {error.strerror}") from error
        self._writer: csv.DictWriter[str] = csv.DictWriter(self._file, FIELDS)
        self._writer.writeheader()
        self._writer.writerows(kept)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self._writer.writerow({"step": step, "split": split, **{name: f"{v:.6f}" for name, v in values.items()}})
        self._file.flush()


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
