"""What was seen of a calibration target: the state of the data between detection and solving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamfuse.frames import Size

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """The points of a target found in one image; perhaps not all of them.

    `indices` (N): which points of the target; `pixels` (N 2): where, in pixels of the image as recorded, centres at
    integers; `quality` (N): 0 (useless) to 1 (sharp and consistent); `size`: of the image; `shown_by`: the preparation
    that showed them, in words.
    """

    indices: Indices
    pixels: Floats
    quality: Floats
    size: Size
    shown_by: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One pose of the target, as both cameras saw it; None where a camera did not see it."""

    name: str
    thermal: Sighting | None
    rgb: Sighting | None
