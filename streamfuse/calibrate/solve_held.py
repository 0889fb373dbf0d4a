"""Errors on views that had no part in the solution: of a lens alone, to choose its model; from thermal into RGB.

Every fourth view is left out, four times, so that each is once. From thermal into RGB: a view that was left out is
posed by its thermal points alone; each thermal pixel is cast as a ray onto the target's plane there, and the point
where it meets is seen through the rig and the RGB lens. Its distance from where RGB shows that point is the error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State, errors_of
from streamfuse.calibrate.solve_joint import Joint, without
from streamfuse.calibrate.solve_lens import as_lens, project
from streamfuse.calibrate.solve_robust import Fit, fit
from streamfuse.calibrate.solve_solution import Residuals
from streamfuse.calibrate.solve_start import posed
from streamfuse.calibrate.views import Floats
from streamfuse.frames import Size

EVERY = 4
FEWEST_LEFT = 4  # views that must stay to solve from
Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]


def parts(views: list[int]) -> list[list[int]]:
    """Every fourth view, beginning with the fourth, then those beside them; empty where too few would stay."""
    every = [views[first::EVERY] for first in range(EVERY - 1, -1, -1)]
    return [left_out for left_out in every if left_out and len(views) - len(left_out) >= FEWEST_LEFT]


def lens_held_out(fitted: Fit, seen: Seen, size: Size, used: Bools) -> float:
    """RMS in pixels of one lens on views it was not fitted to (each posed with it); NaN with too few views."""
    squares: list[Floats] = []
    for left_out in parts(fitted.views_used((seen,), 0)):
        rest = fit(fitted.state, (seen.only(~np.isin(seen.view, left_out)),), rounds=1)
        rows = np.isin(seen.view, left_out) & used
        held = seen.only(rows)
        state = posed(rest.state.models[0], rest.state.lenses[0], held, size, len(rest.state.shifts))
        squares.append((errors_of(state, (held,))[0] ** 2).sum(axis=1))
    return float(np.sqrt(np.concatenate(squares).mean())) if squares else float("nan")


def carried_held_out(
    joint: Joint, seen: tuple[Seen, ...], size: Size, tick: Callable[[], None] = lambda: None
) -> Residuals:
    """Thermal points of views left out, carried into RGB: pixels and errors in RGB pixels."""
    fitted = joint.fitted
    both = sorted(set(fitted.views_used(seen, 0)) & set(fitted.views_used(seen, 1)))
    return joined([_carried(joint, seen, left_out, size, tick) for left_out in parts(both)])


def joined(rows: list[Residuals]) -> Residuals:
    """All rows in one, by view."""
    if not rows:
        none = np.zeros(0, np.intp)
        return Residuals(none, none, np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, np.bool_))
    columns = zip(*((one.view, one.point, one.pixels, one.errors, one.used) for one in rows), strict=True)
    view, *rest = (np.concatenate(column) for column in columns)
    order = np.argsort(view, kind="stable")
    return Residuals(view[order], *(column[order] for column in rest))


def carry(state: State, seen: tuple[Seen, ...], used: tuple[Bools, ...], view: int) -> Residuals:
    """One view's thermal pixels cast onto the target's plane (posed by `state`) and seen through the RGB lens."""
    thermal, rgb = (one.only(one.view == view) for one in seen)
    counted = [mask[one.view == view] for mask, one in zip(used, seen, strict=True)]
    _, at, there = np.intersect1d(thermal.point, rgb.point, return_indices=True)
    size = (1, 1)  # a ray knows nothing of the image's size
    rays, found = as_lens(state.models[0], state.lenses[0], size).rays(thermal.pixels[at])
    directions = np.column_stack([rays, np.ones(len(rays))])
    normal, shift = state.rotations[view][:, 2], state.shifts[view]
    points = directions * (shift @ normal / (directions @ normal))[:, None]
    carried: Floats = points @ np.transpose(state.rig_rotation) + state.rig_shift
    pixels, _, _ = project(state.models[1], state.lenses[1], carried)
    good = counted[0][at] & counted[1][there] & found
    return Residuals(np.full(len(at), view), rgb.point[there], rgb.pixels[there], rgb.pixels[there] - pixels, good)


def _carried(
    joint: Joint, seen: tuple[Seen, ...], left_out: list[int], size: Size, tick: Callable[[], None]
) -> Residuals:
    rest, used = without(joint, seen, left_out), joint.fitted.used
    thermal = seen[0].only(np.isin(seen[0].view, left_out) & used[0])
    alone = posed(rest.models[0], rest.lenses[0], thermal, size, len(rest.shifts))
    state = replace(rest, rotations=alone.rotations, shifts=alone.shifts)
    tick()
    return joined([carry(state, seen, used, view) for view in left_out])
