"""One cell's result: trained, then judged image by image, and kept in a file that a later run reads instead."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from streamfuse.errors import UserError
from streamfuse.models import build, split
from streamfuse.training.ablation.settings import Cell
from streamfuse.training.pairs import Pair
from streamfuse.training.run import CHECKPOINT
from streamfuse.training.train import Stop, train
from streamfuse.training.validate import score

Scores = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """`tests`: test folder -> image -> metric -> value (nan where an image has no such figure)."""

    row: str
    loss: str
    seed: int
    tests: Mapping[str, Mapping[str, Scores]]


def finished(cell: Cell, out: Path) -> Result | None:
    """The cell's result where it is there already. Raises UserError where it was made by other settings."""
    path = _path(cell, out)
    if not path.exists():
        return None
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tests = {test: _known(images) for test, images in told["tests"].items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: is no result of an ablation ({error}); delete it, and the cell is judged again"
        ) from error
    if told.get("digest") != cell.digest:
        raise UserError(f"{path}: was made by other settings; use another --out, or delete it and {path.stem}/")
    return Result(cell.row, cell.loss, cell.seed, tests)


def run_cell(cell: Cell, tests: Mapping[str, list[Pair]], out: Path, stop: Stop, console: Console) -> Result | None:
    """Train (or go on from the cell's checkpoint), judge, keep; None where `stop` came first."""
    folder = out / "cells" / cell.name
    told = train(cell.training, folder, resume=(folder / CHECKPOINT).exists(), stop=stop, console=console)
    if "weights" not in told:
        return None
    device = "cuda" if cell.training.device != "cpu" and torch.cuda.is_available() else "cpu"
    rule = split(cell.training.model)[1]
    network = build(f"{told['weights']}:{rule}" if rule else told["weights"]).to(device)
    judged: dict[str, dict[str, dict[str, float]]] = {}
    for test, pairs in tests.items():
        with console.status(f"judging on {test}"):
            for pair in pairs:
                if stop.is_set():
                    return None
                judged.setdefault(test, {})[pair.name] = _score(network, pair, device)
    result = Result(cell.row, cell.loss, cell.seed, judged)
    _keep(_path(cell, out), cell, result)
    return result


def _score(network: torch.nn.Module, pair: Pair, device: str) -> dict[str, float]:
    try:
        return score(network, pair, device)
    except ValueError as error:
        raise UserError(f"{pair.files.thermal}: cannot be judged: {error}") from error


def _path(cell: Cell, out: Path) -> Path:
    return out / "cells" / f"{cell.name}.json"


def _keep(path: Path, cell: Cell, result: Result) -> None:
    tests = {
        test: {image: {name: _number(value) for name, value in row.items()} for image, row in images.items()}
        for test, images in result.tests.items()
    }
    told = {"row": cell.row, "loss": cell.loss, "seed": cell.seed, "digest": cell.digest, "tests": tests}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(json.dumps(told), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; make room and run again") from error


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _known(images: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    return {
        image: {name: math.nan if value is None else float(value) for name, value in row.items()}
        for image, row in images.items()
    }
