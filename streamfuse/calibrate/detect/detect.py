"""From an image to a Sighting: the preparations in their order, the search for the target's kind, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
ANY_TRIES = 3
"""Preparations in which a checkerboard of any size is looked for, where the asked one is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What came of looking: a sighting, or a whole board of another size (columns, rows), or nothing. `part`: columns
    and rows of all that is seen of a checkerboard; without a sighting their place on the target stays open."""

    sighting: Sighting | None
    other_size: tuple[int, int] | None = None
    part: tuple[int, int] | None = None


def detect(image: NDArray[Any], target: Target) -> Sighting | None:
    """The points of `target` in `image`, or None. Raises UserError for an image of a type it cannot take."""
    return look_for(image, target).sighting


def look_for(image: NDArray[Any], target: Target) -> Look:
    """As `detect`, and says what is there instead: a board of another size ends the search, however it was prepared."""
    values, kind = scalar_of(image)
    best: Sighting | None = None
    part: tuple[int, int] | None = None
    for number, prepared in enumerate(preparations(values)):
        look = look_through(number, prepared, values, kind, target)
        if look.other_size or (look.sighting and look.part):
            return look
        part = look.part or part
        if look.sighting and (best is None or len(look.sighting.indices) > len(best.indices)):
            best = look.sighting
        if best and len(best.indices) >= ENOUGH * len(target.points_m):
            break
    if best or part is None:
        return Look(best)
    fits = part[0] <= max(target.shape) and part[1] <= min(target.shape)
    return Look(None, part=part) if fits else Look(None, other_size=part)


def look_through(number: int, prepared: Prepared, values: Scalars, kind: str, target: Target) -> Look:
    """What one preparation of an image shows, the one at `number`; `values` and `kind` as `scalar_of` gives them."""
    found = SEARCHES[target.kind](prepared, values, target)
    if found is None and target.kind == "checkerboard" and number < ANY_TRIES:
        found = checkerboard.find_any(prepared, values, target)
    if found is None or not len(found.indices):
        return Look(None, found and found.other_size, found and found.part)
    how = prepared.how if kind in ("grey", "counts") else f"{kind}, {prepared.how}"
    size = values.shape[1], values.shape[0]
    order = np.argsort(found.indices)
    sighting = Sighting(found.indices[order], found.pixels[order], found.quality[order], size, shown_by=how)
    return Look(sighting, part=found.part)
