"""`streamfuse bench`: which file, with which changes from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamfuse.bench.matrix import BenchConfig, load_bench
from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path


def asked(config: Path | None, *, full: bool | None, seconds: float | None, repeats: int | None) -> BenchConfig:
    """The file at `config`, else the shipped quick or full one; times and repeats from the command line win.

    Raises UserError for a file and --quick or --full together, and for whatever the file says wrong.
    """
    if config is not None and full is not None:
        raise UserError(f"{config} already says what to run; name a file, or --quick, or --full")
    shipped = "configs/bench/full.yaml" if full else "configs/bench/quick.yaml"
    settings = load_bench(config or shipped_path(shipped))
    changes: dict[str, Any] = {"seconds": seconds, "repeats": repeats}
    protocol = settings.protocol.model_copy(update={name: value for name, value in changes.items() if value})
    return settings.model_copy(update={"protocol": protocol})
