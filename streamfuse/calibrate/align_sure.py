"""How much an alignment is to be believed: what independent parts of the images say about it, as a probability.

Four witnesses, none of which the fit itself provides: how many patches have their own highest peak where the transform
puts it (chance alone gives a few per cent); how far the corners move when only every other patch is used; how far the
place stands out from the second best; and how much of the image took part. The weights were fitted on pairs with a
known answer and on pairs of two different scenes, which have none (docs/registration.md says which).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamfuse.calibrate.align_fields import Floats
from streamfuse.calibrate.align_patches import Level, Patches, climb, cut, moved, oddness
from streamfuse.calibrate.align_search import Pair, corners

JUDGED = Level(side=320, reach=12, freedom=6)
AGREES_PX = 2.0
WITHIN_PX = 5.0
SURE = 0.99
"""An alignment of at least this probability is called sure."""
BOUGHT = 12
"""So many patches a wrong transform can make agree: 8 parameters fit four places, three overlapping patches each."""
RIGHT_AT, RIGHT_WITHIN = 0.10, 0.025
"""Share of agreeing patches beyond those at which right and wrong are as likely, and how fast that changes."""
SPECTRA_PX = 1.5
"""Edges of the two spectra differ by themselves, RGB pixels of a 640 px image: RMS."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """`agreeing`: share of the patches whose own peak lies within 2 px (at 320 px) of the transform, less what chance
    gives; `patches`: how many were asked; `apart_px`: RMS distance, in RGB pixels, of the thermal corners between the
    transforms of two halves of the patches; `margin`: score of the place over the second best.
    """

    agreeing: float
    patches: int
    apart_px: float
    margin: float


def weigh(matrix: Floats, pairs: Sequence[Pair], margin: float) -> Evidence:
    patches, shown = cut(matrix, pairs, JUDGED)
    if len(patches.at) < 8:
        return Evidence(0.0, len(patches.at), math.inf, margin)
    odd = oddness(matrix, shown, pairs[0])
    fits = [moved(matrix, climb(patches, JUDGED.freedom, half, odd), shown) for half in _halves(patches)]
    ends = [corners(fit, pairs[0][0].size) for fit in fits]
    apart = float(np.sqrt(((ends[0] - ends[1]) ** 2).sum(axis=1).mean()))
    return Evidence(_agreeing(patches), len(patches.at), apart, margin)


def agreement(matrix: Floats, pairs: Sequence[Pair]) -> float:
    """Share of the patches whose own peak lies where `matrix` puts them, whoever says that it does."""
    patches, _ = cut(matrix, pairs, JUDGED)
    return _agreeing(patches) if len(patches.at) else 0.0


def beyond_chance(patches: Patches) -> float:
    """How improbable it is that so many patches agree by chance, as a natural log (Chernoff's bound); 0: not."""
    if not len(patches.at):
        return 0.0
    lot = math.pi * AGREES_PX**2 / (2 * patches.reach + 1) ** 2
    share = min(_agreeing(patches), 0.999)
    if share <= lot:
        return 0.0
    return len(patches.at) * (share * math.log(share / lot) + (1 - share) * math.log((1 - share) / (1 - lot)))


def _agreeing(patches: Patches) -> float:
    count, across, _ = patches.surfaces.shape
    highest = patches.surfaces.reshape(count, -1).argmax(axis=1)
    offset = np.stack([highest % across, highest // across], axis=-1) - patches.reach
    return float((np.hypot(offset[:, 0], offset[:, 1]) <= AGREES_PX).mean())


def _halves(patches: Patches) -> tuple[Floats, Floats]:
    """Blocks of patches like the fields of a chess board, black and white: both halves see all of the image."""
    block = np.floor((patches.at + 2) / (4 * 16 * patches.unit)).astype(int).sum(axis=1) % 2
    return block.astype(np.float64), 1.0 - block


def expected_px(evidence: Evidence, rgb_width: int) -> float:
    """RMS error of the corners, RGB pixels: half of what two halves disagree, and what the spectra differ anyway."""
    return math.hypot(evidence.apart_px / 2, SPECTRA_PX * rgb_width / 640)


def probability(evidence: Evidence, rgb_width: int) -> float:
    """That it is the right place, times that its corners are within 5 px there (5 px of 640; more where it is wider).

    The error of a right place is taken as normal in x and y: P(within r) = 1 - exp(-r^2 / RMS^2).
    """
    earned = evidence.agreeing - BOUGHT / max(evidence.patches, 1)
    right = 1 / (1 + math.exp(min(50.0, (RIGHT_AT - earned) / RIGHT_WITHIN)))
    limit = WITHIN_PX * max(1.0, rgb_width / 640)
    exact = 1 - math.exp(-((limit / expected_px(evidence, rgb_width)) ** 2)) if evidence.agreeing else 0.0
    return right * exact
