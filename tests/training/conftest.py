"""A training file beside one small set, which every test of training starts from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from small_sets import SETTINGS, write


@pytest.fixture
def project(tmp_path) -> Path:
    """A training file beside one set: four scenes of two pairs, thermal bright where visible is dark."""
    chance = np.random.default_rng(0)
    for index in range(8):
        picture = cv2.resize(chance.integers(0, 255, (6, 8), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
        name = f"{'abcd'[index // 2]}_{index}.png"
        write(tmp_path / "sets/street/Infrared" / name, 255 - picture)
        write(tmp_path / "sets/street/visible" / name, np.dstack([picture] * 3))
    (tmp_path / "train.yaml").write_text(SETTINGS)
    return tmp_path
