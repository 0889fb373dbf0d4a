"""From an image to a Sighting: the preparations in their order, the search for the target's kind, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.detect import checkerboard, circles, markers
from streamfuse.calibrate.detect.found import Found
from streamfuse.calibrate.detect.preparations import Prepared, preparations
from streamfuse.calibrate.detect.scalar import Scalars, scalar_of
from streamfuse.calibrate.target import Kind, Target
from streamfuse.calibrate.views import Sighting

Search = Callable[[Prepared, Scalars, Target], Found | None]
SEARCHES: dict[Kind, Search] = {
    "checkerboard": checkerboard.find,
    "circles": circles.find,
    "charuco": markers.find,
    "aprilgrid": markers.find,
    "aruco": markers.find,
}
ENOUGH = 0.95
"""Share of the target's points from which no further preparation is tried."""
OTHER_TRIES = 3
"""Preparations in which a board of another size is looked for, where the asked one is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What came of looking: a sighting, or a board of another size (columns, rows), or neither."""

    sighting: Sighting | None
    other_size: tuple[int, int] | None = None


def detect(image: NDArray[Any], target: Target) -> Sighting | None:
    """The points of `target` in `image`, or None. Raises UserError for an image of a type it cannot take."""
    return look_for(image, target).sighting


def look_for(image: NDArray[Any], target: Target, *, hurry: bool = False) -> Look:
    """As `detect`, and says when a board of another size is in the image. `hurry` tries the first size only."""
    values, kind = scalar_of(image)
    best: Sighting | None = None
    other: tuple[int, int] | None = None
    for prepared in preparations(values):
        if hurry and prepared.scale != 1:
            continue
        found = SEARCHES[target.kind](prepared, values, target)
        if found is None:
            continue
        if found.other_size:
            other = found.other_size
            continue
        if best is None or len(found.indices) > len(best.indices):
            how = prepared.how if kind in ("grey", "counts") else f"{kind}, {prepared.how}"
            size = values.shape[1], values.shape[0]
            order = np.argsort(found.indices)
            best = Sighting(found.indices[order], found.pixels[order], found.quality[order], size, shown_by=how)
        if len(best.indices) >= ENOUGH * len(target.points_m):
            break
    if best is None and other is None and target.kind == "checkerboard" and not hurry:
        other = _other_board(values)
    return Look(best, None if best else other)


def _other_board(values: Scalars) -> tuple[int, int] | None:
    sizes = (checkerboard.size_seen(prepared, values) for prepared in islice(preparations(values), OTHER_TRIES))
    return next((size for size in sizes if size), None)
