"""How the two cameras stand to each other, before least squares: the one rig on which the views agree.

A checkerboard in thermal often shows the other polarity, and then a detector may begin to count at the opposite
corner; and a pair may have been put together from two different moments. Each view proposes a rig for each way to
turn its target onto itself; the rig that predicts most of all views is taken. Knows nothing of lenses' errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State
from streamfuse.calibrate.solve_lens import project
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Floats, Indices

APART = 0.03  # of the RGB image's width: a view that misses by more does not show the same pose
CAPPED = 0.1  # of the RGB image's width: how much a wrong view counts
ALIKE = 1.3  # two rigs that fit equally well but for noise: the one with the smaller rotation is likely


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """The rig on which the views agree: rotation, shift; `turned` (view -> which of the target's symmetries its RGB
    points are counted by); `apart`: views whose two cameras show different poses; `miss_px` (view -> median miss)."""

    rotation: Floats
    shift: Floats
    turned: dict[int, int]
    apart: tuple[int, ...]
    miss_px: dict[int, float]


def symmetries(target: Target) -> list[tuple[Floats, Indices]]:
    """Turns that take the target's points onto each other: (4x4 metres to metres, where each point goes).

    The first is "as it is"; it is the only one where markers tell the points apart.
    """
    points = target.points_m
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    found = [(np.eye(4), np.arange(len(points)))]
    for quarter in () if target.has_markers else (2, 1, 3):
        cosine, sine = ((0, 1), (-1, 0), (0, -1))[quarter - 1]
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
        there: Floats = (points - middle) @ np.transpose(turn) + middle
        distances = np.linalg.norm(points[None] - there[:, None], axis=2)
        if distances.min(axis=1).max() < 1e-3 * target.spacing_m:
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = turn, middle - turn @ middle
            found.append((matrix, distances.argmin(axis=1)))
    return found


def agree(thermal: State, rgb: State, seen_rgb: Seen, views: list[int], target: Target, width: int) -> Agreement:
    """The rig that predicts the RGB points of most `views` (posed by both cameras) from the thermal poses."""
    turns = [matrix for matrix, _ in symmetries(target)]
    proposals = [_proposal(thermal, rgb, view, turn) for view in views for turn in turns]
    parts = {view: seen_rgb.only(seen_rgb.view == view) for view in views}
    missed = np.array([[_misses(rig, thermal, rgb, parts[view], turns) for view in views] for rig in proposals])
    score = np.minimum(missed.min(axis=2), CAPPED * width).mean(axis=1)
    likely = np.flatnonzero(score <= ALIKE * score.min() + 0.1)
    best = min(likely, key=lambda one: -np.trace(proposals[one][0]) if len(turns) > 1 else score[one])
    best = min((one for one in likely if _alike(proposals[one], proposals[best])), key=lambda one: score[one])
    own = missed[best]
    miss = {view: float(row.min()) for view, row in zip(views, own, strict=True)}
    limit = max(APART * width, 6 * float(np.median(list(miss.values()))))
    apart = tuple(view for view in views if miss[view] > min(limit, CAPPED * width))
    return Agreement(*proposals[best], {v: int(r.argmin()) for v, r in zip(views, own, strict=True)}, apart, miss)


def counted_alike(seen: Seen, agreement: Agreement, target: Target) -> Seen:
    """The RGB rows with the points counted from the corner from which thermal counts, without the views apart."""
    point: Indices = np.array(seen.point)
    every = symmetries(target)
    for view, turned in agreement.turned.items():
        of_view = seen.view == view
        point[of_view] = every[turned][1][point[of_view]]
    seen = replace(seen, point=point, target=target.points_m[point])
    return seen.only(~np.isin(seen.view, agreement.apart))


def _proposal(thermal: State, rgb: State, view: int, turn: Floats) -> tuple[Floats, Floats]:
    """The rig were the RGB points of this view turned by `turn`."""
    back = np.linalg.inv(turn)
    rotation = rgb.rotations[view] @ back[:3, :3]
    shift = rgb.rotations[view] @ back[:3, 3] + rgb.shifts[view]
    rig = rotation @ np.transpose(thermal.rotations[view])
    return rig, shift - rig @ thermal.shifts[view]


def _misses(rig: tuple[Floats, Floats], thermal: State, rgb: State, one: Seen, turns: list[Floats]) -> list[float]:
    """Median distance in RGB pixels between one view and its prediction, for every symmetry."""
    view = int(one.view[0])
    rotation, shift = rig[0] @ thermal.rotations[view], rig[0] @ thermal.shifts[view] + rig[1]
    flats: list[Floats] = [one.target @ np.transpose(turn[:3, :3]) + turn[:3, 3] for turn in turns]
    return [_miss(rgb, one, flat, rotation, shift) for flat in flats]


def _miss(rgb: State, one: Seen, flat: Floats, rotation: Floats, shift: Floats) -> float:
    points: Floats = flat @ np.transpose(rotation) + shift
    if points[:, 2].min() <= 0:
        return float("inf")
    pixels, _, _ = project(rgb.models[0], rgb.lenses[0], points)
    return float(np.median(np.linalg.norm(one.pixels - pixels, axis=1)))


def _alike(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> bool:
    """Whether two rigs differ by less than a quarter turn's half."""
    between: Floats = np.transpose(one[0]) @ other[0]
    return float(np.trace(between)) > 1 + 2 * np.cos(np.pi / 4)
