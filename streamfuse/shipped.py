"""Finds what ships with streamfuse: run files, rigs, the sample recording.

In a wheel they lie inside the package; in a checkout, run files and rigs lie at its top, where people edit them.
In a run file, `shipped:configs/demo.yaml` names such a file; every other path is relative to the run file.
"""

from __future__ import annotations

from pathlib import Path

from streamfuse.errors import UserError

PREFIX = "shipped:"
_PACKAGE = Path(__file__).resolve().parent


def shipped_path(relative: str) -> Path:
    """Path of a shipped file, e.g. "configs/demo.yaml", "calibration/rigs/heli041.yaml", "samples/heli041"."""
    places = (_PACKAGE / "shipped", _PACKAGE, _PACKAGE.parent)
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise UserError(f"{relative} does not ship with streamfuse; looked in the package and beside it")


def resolve_path(named: str, relative_to: Path) -> Path:
    """The path that a run file means by `named`: shipped, absolute, or relative to the run file's folder."""
    if named.startswith(PREFIX):
        return shipped_path(named.removeprefix(PREFIX))
    return relative_to / Path(named).expanduser()
