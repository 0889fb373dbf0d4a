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


def look_for(image: NDArray[Any], target: Target) -> Look:
    """As `detect`, and says when a board of another size is in the image."""
    values, kind = scalar_of(image)
    best: Sighting | None = None
    other: tuple[int, int] | None = None
    for prepared in preparations(values):
        look = look_through(prepared, values, kind, target)
        other = look.other_size or other
        if look.sighting and (best is None or len(look.sighting.indices) > len(best.indices)):
            best = look.sighting
        if best and len(best.indices) >= ENOUGH * len(target.points_m):
            break
    if best is None and other is None:
        other = other_board(values, target)
    return Look(best, None if best else other)


def look_through(prepared: Prepared, values: Scalars, kind: str, target: Target) -> Look:
    """What one preparation of an image shows; `values` and `kind` as `scalar_of` gives them."""
    found = SEARCHES[target.kind](prepared, values, target)
    if found is None or found.other_size:
        return Look(None, found and found.other_size)
    how = prepared.how if kind in ("grey", "counts") else f"{kind}, {prepared.how}"
    size = values.shape[1], values.shape[0]
    order = np.argsort(found.indices)
    return Look(Sighting(found.indices[order], found.pixels[order], found.quality[order], size, shown_by=how))


def other_board(values: Scalars, target: Target) -> tuple[int, int] | None:
    """Columns and rows of a checkerboard that is there in place of `target`, where that is one."""
    if target.kind != "checkerboard":
        return None
    sizes = (checkerboard.size_seen(prepared, values) for prepared in islice(preparations(values), OTHER_TRIES))
    return next((size for size in sizes if size), None)
