"""What tests of training share: small settings, pairs whose every pixel is known, and the command itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from typer.testing import CliRunner

from streamfuse.commands import app
from streamfuse.errors import StreamfuseError
from streamfuse.training.layouts import PairFiles
from streamfuse.training.pairs import Pair

SETTINGS = """
data: sets
sets:
  - {folder: street, licence: made up, scene: '^(.+)_'}
validation: 0.3
seed: 3
steps: 6
batch: 2
crop: 32
warm_up: 2
validate_every: 3
scored: 1
loss: {terms: {intensity: {}, directional: {weight: 10}}}
"""


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def ramp_pair(height: int = 40, width: int = 50) -> Pair:
    """Thermal grows by 4 levels per row, visible by 4 levels per column."""
    rows, columns = np.mgrid[:height, :width]
    images = (rows * 4).astype(np.uint8), (columns * 4).astype(np.uint8)
    return Pair("ramp", "set/one", 1.0, PairFiles(Path("ir/ramp.png"), Path("vis/ramp.png")), images)


def command(name: str, *words: object) -> tuple[int, str]:
    """Exit code, and what it said: the error, or what --json printed."""
    result = CliRunner().invoke(app, [name, *map(str, words)], catch_exceptions=True)
    if isinstance(result.exception, StreamfuseError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout
