"""Both lenses and the rig at once; or, where the views do not share one rig, the lenses first and then the rig.

Cameras that swing against each other, or whose images are not of the same instant while something moves, give views of
which each fits its lenses well and none the others' rig. Solved at once, the lenses would bend to make up for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State
from streamfuse.calibrate.solve_robust import Fit, fit
from streamfuse.calibrate.solve_solution import Estimate
from streamfuse.calibrate.solve_uncertain import CAMERAS, estimate
from streamfuse.calibrate.views import Floats

LOOSE = 2.5  # times a camera's own noise: what lies above, the lenses alone do not explain


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """A solved pair. `alone`: each lens on its own; `loose`: the views do not share one rig, the lenses are those."""

    fitted: Fit
    alone: tuple[Fit, Fit]
    loose: bool

    def of_cameras(self) -> tuple[Fit, Fit] | None:
        """The fits to which each camera's residuals belong, where they are not those of the pair."""
        return self.alone if self.loose else None

    def typical_miss_px(self, seen: tuple[Seen, ...]) -> float:
        """Median over the views of the RMS error in RGB."""
        squares = (self.fitted.errors[1] ** 2).sum(axis=1)
        views = np.unique(seen[1].view)
        return float(np.median([np.sqrt(squares[seen[1].view == view].mean()) for view in views]))


def join(start: State, alone: tuple[Fit, Fit], seen: tuple[Seen, ...]) -> Joint:
    """The pair that starts at `start`, its lenses first solved `alone`."""
    fitted = fit(start, seen)
    noise = zip(fitted.sigma, alone, strict=True)
    if all(sigma < LOOSE * one.sigma[0] for sigma, one in noise):
        return Joint(fitted, alone, loose=False)
    return Joint(_rig_only(start, alone, seen), alone, loose=True)


def without(joint: Joint, seen: tuple[Seen, ...], left_out: list[int]) -> State:
    """The pair solved again in the same way, without some views."""
    rest = tuple(one.only(~np.isin(one.view, left_out)) for one in seen)
    if not joint.loose:
        return fit(joint.fitted.state, rest, rounds=1).state
    first, second = (fit(one.state, (rows,), rounds=1) for one, rows in zip(joint.alone, rest, strict=True))
    return _rig_only(joint.fitted.state, (first, second), rest).state


def measured(joint: Joint, seen: tuple[Seen, ...]) -> Estimate:
    """Values and covariance of all shared unknowns.

    Of a loose pair the lenses' are those of each alone, and the rig's comes from how the views scatter around it.
    """
    whole = estimate(joint.fitted, seen)
    if not joint.loose:
        return whole
    covariance = np.zeros_like(whole.covariance)
    widened = {"rgb_from_thermal": whole.widened["rgb_from_thermal"]}
    state = joint.fitted.state
    for number, camera in enumerate(CAMERAS):
        one = estimate(joint.alone[number], (seen[number],), (camera,))
        covariance[state.lens_columns(number), state.lens_columns(number)] = one.covariance
        widened |= one.widened
    rig = slice(state.shared - 6, state.shared)
    covariance[rig, rig] = whole.covariance[rig, rig]
    return Estimate(whole.names, whole.values, covariance, widened)


def _rig_only(start: State, alone: tuple[Fit, Fit], seen: tuple[Seen, ...]) -> Fit:
    lenses: tuple[Floats, ...] = tuple(one.state.lenses[0] for one in alone)
    free = np.zeros(start.shared, np.bool_)
    free[-6:] = True
    return fit(replace(start, lenses=lenses), seen, free)
