"""The alignment at a chosen depth: how far it must be shifted to be right for what a box of the visible image shows.

What lies at one depth is moved by one parallax, so that the patches in the box are asked for one common shift. Their
correlation surfaces are added up as in the refinement (`align_patches`); the patches' own peaks then say whether the
sum is to be believed. Knows nothing of how the alignment was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.align_fields import Floats, Image
from streamfuse.calibrate.align_patches import Frame, Level, cut
from streamfuse.calibrate.align_search import Pair
from streamfuse.errors import UserError
from streamfuse.frames import Size, wxh

CLOSE = Level(side=640, reach=20, freedom=2)
FARTHEST = 0.025
"""Of the long side of what both see: a larger parallax is not looked for."""
NOTICED = 2 / 640
"""Of the same: a smaller shift is no better known than the alignment itself, which then stays as it is."""
AGREES_PX = 3.0
LEAST_PATCHES = 8
BOUGHT = 3  # so many patches agree with any shift: its two parameters fit one place, three overlapping patches
LEAST_AGREEING = 0.12  # of the patches, beyond the bought ones
APART_PX, SECOND_BEST = 4, 0.9  # another shift so far away must stay below so much of the best one's height
BLUR_PX = 1.2
REMEDY = "draw it closely around one thing with edges in both images, not too small; or leave --at out"


@dataclass(frozen=True, slots=True)
class Box:
    """Part of a visible image, in its pixels: the upper left pixel, width and height."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Box:
        """From "X,Y,W,H"; raises UserError for anything else."""
        try:
            x, y, width, height = (int(part) for part in text.split(","))
        except ValueError:
            raise UserError(
                f"--at {text}: is not a box; give four whole numbers X,Y,W,H: left, top, width and height in pixels "
                "of the visible image, e.g. 200,150,120,80"
            ) from None
        return cls(x, y, width, height)

    def check(self, size: Size) -> None:
        """Raises UserError where the box is empty or reaches out of an image of this size."""
        if self.width < 1 or self.height < 1:
            raise UserError(f"--at {self}: has no area; width and height, the last two numbers, must be 1 or more")
        if min(self.x, self.y) < 0 or self.x + self.width > size[0] or self.y + self.height > size[1]:
            raise UserError(
                f"--at {self}: reaches out of the visible image, which is {wxh(size)}; X + W may be {size[0]} at most, "
                f"Y + H {size[1]}"
            )

    def holds(self, points: Floats) -> NDArray[np.bool_]:
        """Which of the points (N 2) lie in it."""
        x, y = points[:, 0] - self.x + 0.5, points[:, 1] - self.y + 0.5
        return (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


@dataclass(frozen=True, slots=True)
class InBox:
    """The common shift of what the box shows, RGB pixels, and the share of its `patches` that have their own peak there
    (`agreed`: that had it where the alignment was before). `doubt`: why the shift is not to be believed; empty: it is.
    """

    box: Box
    shift_px: tuple[float, float]
    agreeing: float
    agreed: float
    patches: int
    noticed: bool
    doubt: str = ""

    @property
    def believed(self) -> bool:
        return not self.doubt

    @property
    def followed(self) -> bool:
        """Is the alignment shifted? Not in doubt, and not by so little that it is right there already."""
        return self.believed and self.noticed


def look(matrix: Floats, pair: Pair, box: Box) -> InBox:
    """What the patches in the box of the pair's visible image say of `matrix` (rgb_from_thermal, 3x3)."""
    patches, shown = cut(matrix, [pair], CLOSE)
    surfaces = patches.surfaces[box.holds(_in_rgb(patches.at, shown))]
    if len(surfaces) < LEAST_PATCHES:
        few = f"only {len(surfaces)} patches of it are seen by both cameras, at least {LEAST_PATCHES} are needed"
        return InBox(box, (0.0, 0.0), 0.0, 0.0, len(surfaces), False, few)
    long, factor = max(shown.size), float(shown.from_rgb[0, 0])
    farthest = FARTHEST * long
    evidence: Image = (np.maximum(surfaces, 0) ** 2).sum(axis=0)
    shift, second = _highest(cast(Image, cv2.GaussianBlur(evidence, (0, 0), BLUR_PX)), farthest)
    own = _own_peaks(surfaces)
    agreeing, agreed = (float((np.linalg.norm(own - at, axis=1) <= AGREES_PX).mean()) for at in (shift, np.zeros(2)))
    length = math.hypot(*shift)
    moved = float(shift[0]) / factor, float(shift[1]) / factor
    doubt = _doubt(agreeing, len(surfaces), second, length, farthest)
    return InBox(box, moved, agreeing, agreed, len(surfaces), length >= NOTICED * long, doubt)


def shifted(matrix: Floats, shift_px: tuple[float, float]) -> Floats:
    """`matrix` followed by a shift of RGB pixels."""
    onto = np.array([[1, 0, shift_px[0]], [0, 1, shift_px[1]], [0, 0, 1.0]])
    return onto @ matrix


def _in_rgb(at: Floats, shown: Frame) -> Floats:
    """The middles of patches, as RGB pixels."""
    points = at * (max(shown.size) / 2) + (np.array(shown.size) / 2 - 0.5)
    return (points - shown.from_rgb[:2, 2]) / np.diag(shown.from_rgb)[:2]  # a frame is scaled and moved, no more


def _own_peaks(surfaces: NDArray[np.float32]) -> Floats:
    """Where each surface is highest (N 2), from its middle."""
    count, across, _ = surfaces.shape
    highest = surfaces.reshape(count, -1).argmax(axis=1)
    return np.stack([highest % across, highest // across], axis=-1) - across // 2.0


def _highest(total: Image, farthest: float) -> tuple[Floats, float]:
    """The best shift (x, y), and how high the best one apart from it is, as a share; the median counts as nothing."""
    reach = total.shape[0] // 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    base = float(np.median(total))
    height = np.where(np.hypot(rows, columns) <= farthest, total - base, 0.0)
    row, column = (int(index) for index in np.unravel_index(int(height.argmax()), height.shape))
    apart = np.hypot(rows - rows[row, column], columns - columns[row, column]) > APART_PX
    second = float(height[apart].max()) / max(float(height[row, column]), 1e-9)
    x = column - reach + _between(total[row, column - 1 : column + 2])
    y = row - reach + _between(total[row - 1 : row + 2, column])
    return np.array([x, y]), second


def _between(three: NDArray[Any]) -> float:
    """Top of the parabola through three heights, from the middle one."""
    bend = float(2 * three[1] - three[0] - three[2])
    return float(np.clip(float(three[2] - three[0]) / 2 / bend, -0.5, 0.5)) if bend > 0 else 0.0


def _doubt(agreeing: float, patches: int, second: float, length: float, farthest: float) -> str:
    if agreeing - BOUGHT / patches < LEAST_AGREEING:
        return f"only {agreeing:.0%} of its {patches} patches agree on a shift: few edges in common, or several depths"
    if length > farthest - 1:
        return "what it shows is shifted by more than parallax explains"
    if second > SECOND_BEST:
        return "two different shifts explain it equally well: an even pattern, or two depths"
    return ""
