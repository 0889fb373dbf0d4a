"""One tag: where its ideal corners lie on the target, its bits, and its corners measured in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from streamfuse.calibrate.detect.edges import Lines, crossings, edge_points, fit_lines
from streamfuse.calibrate.detect.found import sampled
from streamfuse.calibrate.detect.plane import fit_homography, mapped
from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.target import CORNERS, Floats, Target
from streamfuse.errors import UserError

SIDE = (0.12, 0.88)
"""Which part of a side counts for its line."""


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """All tags of a target: `corners` (T 4 2) in metres on the target, `ids` (T), the dictionary, the border's bits."""

    corners: Floats
    ids: tuple[int, ...]
    dictionary: cv2.aruco.Dictionary
    border: int

    @property
    def cells(self) -> int:
        """Bits along one side, border included."""
        return self.dictionary.markerSize + 2 * self.border

    def bits(self, number: int) -> Floats:
        """Ideal brightness of the tag at `number`, one value per bit: cells x cells, -1 or 1."""
        image = self.dictionary.generateImageMarker(self.ids[number], self.cells, borderBits=self.border)
        return np.where(image > 0, 1.0, -1.0)


def tags_of(target: Target, border: int, *, legacy: bool = False) -> Tags:
    """The tags of a target; `legacy`: ChArUco boards as OpenCV printed them before 4.6. Raises UserError."""
    dictionary = dictionary_of(target)
    if target.kind == "charuco":
        marker, size = cast(float, target.marker_m), (target.columns, target.rows)
        board = cv2.aruco.CharucoBoard(size, target.spacing_m, marker, dictionary)
        board.setLegacyPattern(legacy)
        corners = np.array(board.getObjPoints(), np.float64)[..., :2] - target.spacing_m
        ids = [int(one) for one in np.ravel(board.getIds())]
    else:
        corners = target.points_m[:, :2].reshape(-1, 4, 2)
        ids = [target.first_id + number for number in range(len(corners))]
    return Tags(corners, tuple(ids), dictionary, border)


def dictionary_of(target: Target) -> cv2.aruco.Dictionary:
    name = str(target.dictionary)
    number = getattr(cv2.aruco, name, None) if name.startswith("DICT_") else None
    if not isinstance(number, int):
        known = sorted(one for one in dir(cv2.aruco) if one.startswith("DICT_"))
        raise UserError(f"marker dictionary {name!r} is unknown; OpenCV knows {', '.join(known)}")
    dictionary = cv2.aruco.getPredefinedDictionary(number)
    needed, there = target.first_id + tag_count(target), len(dictionary.bytesList)
    if needed > there:
        raise UserError(f"{target.name} needs {needed} markers, {name} has {there}; choose a larger dictionary")
    return dictionary


def tag_count(target: Target) -> int:
    return target.columns * target.rows // (2 if target.kind == "charuco" else 1)


def corners_refined(values: Scalars, quads: Floats, reach: float) -> Floats:
    """Corners (T 4 2) as crossings of each tag's sides; `reach`: how far beside a side to search, in sides."""
    lines: list[Lines] = []
    for side in range(4):
        start, end = quads[:, side], quads[:, (side + 1) % 4]
        before, after = quads[:, side - 1], quads[:, (side + 2) % 4]
        across = ((start - before) + (end - after)) / 2 * reach
        step = end - start
        lines.append(fit_lines(*edge_points(values, start + SIDE[0] * step, start + SIDE[1] * step, across)))
    found = np.stack([crossings(lines[corner - 1], lines[corner]) for corner in range(4)], axis=1)
    moved = np.linalg.norm(found - quads, axis=2, keepdims=True)
    side_px = np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1)[:, None, None]
    return np.where(moved < np.maximum(0.15 * side_px, 1.5), found, quads)


def likeness(values: Scalars, quads: Floats, tags: Tags, numbers: list[int]) -> Floats:
    """Correlation (T) of what lies within each quad with the bits of its tag: -1 (inverted) to 1; 0 off the image."""
    steps = (np.arange(tags.cells) + 0.5) / tags.cells
    cells = np.stack(np.meshgrid(steps, steps), axis=-1)
    found = np.zeros(len(quads))
    for row, (quad, number) in enumerate(zip(quads, numbers, strict=True)):
        samples = sampled(values, mapped(fit_homography(CORNERS, quad), cells))
        if np.isfinite(samples).all():
            found[row] = _correlation(samples, tags.bits(number))
    return found


def _correlation(one: Floats, other: Floats) -> float:
    return float(np.nan_to_num(np.corrcoef(one.ravel(), other.ravel())[0, 1]))
