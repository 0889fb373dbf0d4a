"""First alignment: two cameras that nobody has calibrated, and where the thermal image lies in the visible one.

From a handful of pairs of one rig: search all scales, rotations and shifts (`align_search`), make the best places
exact (`align_patches`), and say how much the answer is to be believed (`align_sure`). The result is one homography, so
it holds for far scenes or for one depth: what is nearer stays shifted, by the parallax of the two cameras. A box says
which depth is meant (`align_at`); without one it is the depth that most of the image shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.align_at import Box, InBox, look, shifted
from streamfuse.calibrate.align_fields import Floats, Picture, picture
from streamfuse.calibrate.align_patches import LEVELS, cut, refine
from streamfuse.calibrate.align_search import Pair, Place, corners, distinct, search
from streamfuse.calibrate.align_sure import SURE, Evidence, beyond_chance, expected_px, probability, weigh
from streamfuse.errors import UserError
from streamfuse.frames import Size, wxh

LOT = 30
"""So many places are looked at together; the next lot only where the answer so far is unlikely."""
EXACT = 3  # of a lot are made exact, one after the other
LIKELY = 0.5
"""From this probability no other place is tried: one place at most is right, and each wrong one that is tried may look
right by chance."""
FLATTEST = 0.02  # of the range: less contrast than this is noise
Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """rgb_from_thermal as a 3x3 `matrix` (pixels to pixels), and the `probability` that its corners are right.

    Right: within 5 RGB pixels on average, of an RGB image of 640 pixels; in proportion for a larger one. `at`: what the
    box said of the depth that is meant; where it is believed, the matrix is shifted to it.
    """

    matrix: Floats
    probability: float
    evidence: Evidence
    thermal_size: Size
    rgb_size: Size
    pairs: int
    at: InBox | None = None

    @property
    def sure(self) -> bool:
        """Of the place, and of the depth where a box was given."""
        return self.probability >= SURE and (self.at is None or self.at.believed)

    @property
    def scale(self) -> float:
        """RGB pixels per thermal pixel, in the middle of the thermal image."""
        return math.sqrt(abs(float(np.linalg.det(self._middle()))))

    @property
    def rotation_deg(self) -> float:
        turn = self._middle()
        return math.degrees(math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))

    @property
    def shift_px(self) -> tuple[float, float]:
        """From the middle of the RGB image to where the middle of the thermal image lands."""
        middle = corners(self.matrix, self.thermal_size).mean(axis=0) - (np.array(self.rgb_size) - 1) / 2
        return float(middle[0]), float(middle[1])

    @property
    def error_px(self) -> float:
        """Expected distance of the corners from the truth, RGB pixels, where the place is right."""
        return expected_px(self.evidence, self.rgb_size[0])

    def _middle(self) -> Floats:
        x, y = (self.thermal_size[0] - 1) / 2, (self.thermal_size[1] - 1) / 2
        top = self.matrix @ np.array([x, y, 1.0])
        return (self.matrix[:2, :2] - np.outer(top[:2] / top[2], self.matrix[2, :2])) / top[2]


def align(
    images: Sequence[tuple[NDArray[Any], NDArray[Any]]], on_step: Watch | None = None, at: Box | None = None
) -> Alignment:
    """Solve all (thermal H W, RGB H W 3 or H W) pairs for one transform. Some seconds of one core per pair.

    `at`: part of the first visible image; the answer is shifted to be right at the depth of what it shows. Raises
    UserError for no pairs, pairs of different sizes, pictures that show nothing, and a box that is not in the image.
    """
    pairs = _checked(images)
    if at is None:
        return _found(pairs, on_step)
    at.check(pairs[0][1].size)
    found = _found(pairs, on_step)
    said = look(found.matrix, (picture(images[0][0]), picture(images[0][1])), at)
    return replace(found, matrix=shifted(found.matrix, said.shift_px) if said.followed else found.matrix, at=said)


def _found(pairs: Sequence[Pair], on_step: Watch | None) -> Alignment:
    places = search(pairs, on_step)
    if not places:
        return _unknown(pairs)
    margin = places[0].score / places[1].score if len(places) > 1 else 2.0
    found: list[Alignment] = []
    for first in range(0, len(places), LOT):
        for place in _best_of(places[first : first + LOT], pairs):
            found.append(_exact(place, pairs, margin))
            if found[-1].probability >= LIKELY:
                return found[-1]
    return max(found, key=lambda each: each.probability)


def _best_of(places: Sequence[Place], pairs: Sequence[Pair]) -> list[Place]:
    return distinct([_closer(place, pairs) for place in places], pairs[0][0].size, EXACT)


def _exact(place: Place, pairs: Sequence[Pair], margin: float) -> Alignment:
    matrix = refine(place.matrix, pairs, LEVELS[1:])
    evidence = weigh(matrix, pairs, margin)
    return Alignment(
        matrix, probability(evidence, pairs[0][1].size[0]), evidence, pairs[0][0].size, pairs[0][1].size, len(pairs)
    )


def _closer(place: Place, pairs: Sequence[Pair]) -> Place:
    """The place after the first refinement, scored by how well its patches agree."""
    matrix = refine(place.matrix, pairs, LEVELS[:1])
    patches, _ = cut(matrix, pairs, LEVELS[0])
    return Place(matrix, beyond_chance(patches))


def _checked(images: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> list[Pair]:
    if not images:
        raise UserError("no pairs to align; give at least one thermal and one visible image of the same instant")
    sizes = {(thermal.shape[1::-1], visible.shape[1::-1]) for thermal, visible in images}
    if len(sizes) > 1:
        told = " and ".join(f"{wxh(thermal)} with {wxh(visible)}" for thermal, visible in sorted(sizes)[:3])
        raise UserError(
            f"pairs of one rig have one size per camera, found {told}; align the pairs of each rig by themselves"
        )
    small = min(min(size) for size in next(iter(sizes)))
    if small < 48:
        raise UserError(f"an image side of {small} pixels is too small to align; at least 48 are needed")
    pairs = [(picture(thermal), picture(visible)) for thermal, visible in images]
    usable = [pair for pair in pairs if not any(_flat(one) for one in pair)]
    if not usable:
        raise UserError(
            "every pair has a flat image: one grey, or nothing but noise; point the cameras at a scene with edges in "
            "both spectra, such as buildings against the sky, and take the pairs again"
        )
    return usable


def _flat(one: Picture) -> bool:
    """Does the picture show nothing? Its contrast is stretched already, so that only a constant one is all alike."""
    return float(np.ptp(one.grey)) < FLATTEST or float(one.seen.mean()) < 0.1


def _unknown(pairs: Sequence[Pair]) -> Alignment:
    return Alignment(np.eye(3), 0.0, Evidence(0.0, 0, math.inf, 1.0), pairs[0][0].size, pairs[0][1].size, len(pairs))
