"""From what was seen of a target to both lenses and the rig between them.

Each lens alone, its model chosen by its error on held-out views; the rig on which the views agree; then everything at
once. The thermal camera's and the RGB camera's own views count for their lens even where the other saw nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State
from streamfuse.calibrate.solve_checks import (
    check_agreement,
    check_kept,
    check_lens,
    check_rig,
    check_tilts,
    folds_in_corner,
)
from streamfuse.calibrate.solve_held import carried_held_out, lens_held_out
from streamfuse.calibrate.solve_joint import Joint, join, measured
from streamfuse.calibrate.solve_lens import AUTO
from streamfuse.calibrate.solve_pair import Agreement, agree, counted_alike
from streamfuse.calibrate.solve_result import Solved, as_solution
from streamfuse.calibrate.solve_robust import Fit, fit
from streamfuse.calibrate.solve_solution import Estimate, Residuals, Solution
from streamfuse.calibrate.solve_start import first_camera
from streamfuse.calibrate.solve_uncertain import CAMERAS
from streamfuse.calibrate.solve_views import check_pairs, gather, sizes_of
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Floats, View
from streamfuse.errors import UserError
from streamfuse.frames import Size

__all__ = ["Estimate", "Residuals", "Solution", "solve"]

Model = Literal["auto", "pinhole", "rational", "fisheye", "radtan"]
BETTER = 0.97  # a model with more coefficients must lower the held-out error to this share


@dataclass(frozen=True, slots=True, eq=False)
class OneCamera:
    """One lens, solved alone."""

    fitted: Fit
    seen: Seen
    size: Size
    tried: dict[str, float]


def solve(
    views: Sequence[View],
    target: Target,
    models: tuple[Model, Model] = ("auto", "auto"),
    working_depth_m: float | None = None,
    name: str = "rig",
    larger_thermal: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Solution:
    """Solve a rig; `models` of the thermal and the RGB lens, `say` hears what is being done.

    The working depth is the target's typical distance unless stated. Raises UserError for views that do not carry an
    answer; a rig that is solved but misses the acceptance rule comes back with reasons and `rig.provisional`.
    """
    sizes = sizes_of(views, larger_thermal)
    gathered = [gather(views, camera, target) for camera in CAMERAS]
    check_pairs(gathered[0][0], gathered[1][0])
    alone: list[OneCamera] = []
    for camera, (seen, _), size, model in zip(CAMERAS, gathered, sizes, models, strict=True):
        say(f"{camera} lens")
        alone.append(_lens_alone(camera, seen, size, model, len(views)))
    say("rig")
    names = tuple(view.name for view in views)
    joint, seen, apart = _rig(alone, target, names)
    known = measured(joint, seen)
    for number, camera in enumerate(CAMERAS):
        check_lens(camera, joint.fitted, number, sizes[number], seen[number], known)
    held_out = carried_held_out(joint, seen, sizes[0], lambda: say("held-out views"))
    rejected = [*gathered[0][1], *gathered[1][1], *apart, *_bad_views(joint.fitted, seen, names)]
    solved = Solved(joint, seen, sizes, known, held_out, names, target)
    tried = {**alone[0].tried, **alone[1].tried}
    return as_solution(solved, name, working_depth_m, tuple(rejected), tried or None)


def _lens_alone(camera: str, seen: Seen, size: Size, model: Model, views: int) -> OneCamera:
    """The lens of the chosen model; of "auto", the one with the least error on views that it was not fitted to."""
    tried = {one: _fit_alone(one, seen, size, views) for one in (AUTO if model == "auto" else (model,))}
    fits = {one: fitted for one, fitted in tried.items() if fitted is not None}
    if not fits:
        raise UserError(
            f"{camera}: no lens explains the {len(np.unique(seen.view))} views; check --target and that the images are "
            "not cropped or zoomed differently from view to view"
        )
    used = min(fits.values(), key=lambda fitted: fitted.sigma[0]).used[0]
    errors = {one: lens_held_out(fitted, seen, size, used) for one, fitted in fits.items()} if len(fits) > 1 else {}
    best = next(iter(fits))
    for one, error in errors.items():
        if error < BETTER * errors[best] and not folds_in_corner(one, fits[one].state.lenses[0], size):
            best = one
    chosen = fits[best]
    check_tilts(camera, chosen.state, chosen.views_used((seen,), 0))
    return OneCamera(chosen, seen, size, {f"{camera} {one}": error for one, error in errors.items()})


def _fit_alone(model: str, seen: Seen, size: Size, views: int) -> Fit | None:
    fitted = fit(first_camera(model, seen, size, views), (seen,))
    sane = np.isfinite(fitted.state.lenses[0]).all() and fitted.state.lenses[0][:2].min() > 0
    return fitted if sane and fitted.used[0].any() else None


def _rig(
    alone: list[OneCamera], target: Target, names: tuple[str, ...]
) -> tuple[Joint, tuple[Seen, ...], list[tuple[str, str]]]:
    """Everything at once, from the two lenses and the rig on which the views agree."""
    thermal, rgb = alone
    states = thermal.fitted.state, rgb.fitted.state
    used = [one.fitted.views_used((one.seen,), 0) for one in alone]
    both = sorted(set(used[0]) & set(used[1]))
    if len(both) < 3:
        raise UserError(
            f"{len(both)} views are sound in both cameras, at least 3 are needed and 15 asked for; leave blurred "
            "images out and take more views that both cameras see"
        )
    found = agree(*states, rgb.seen, both, target, rgb.size[0])
    check_agreement(found, names, rgb.size[0])
    seen = (thermal.seen, counted_alike(rgb.seen, found, target))
    start = _start(states, found, sorted(set(used[1]) - set(used[0])))
    second = fit(states[1], (seen[1],), rounds=1)  # its rows changed with the views apart
    joint = join(start, (thermal.fitted, second), seen)
    kept = set(joint.fitted.views_used(seen, 0)) & set(joint.fitted.views_used(seen, 1))
    check_kept(len(kept), len(np.intersect1d(thermal.seen.view, rgb.seen.view)))
    check_rig(joint.fitted.state, joint.fitted.state.shifts[both][:, 2])
    why = "its two images show the target in different poses (misses {:.0f} px): only thermal counts"
    return joint, seen, [(names[view], why.format(found.miss_px[view])) for view in found.apart]


def _start(states: tuple[State, State], found: Agreement, of_rgb_alone: list[int]) -> State:
    """Both cameras, posed as thermal sees the target; where only RGB saw it, from there."""
    rotations: Floats = np.array(states[0].rotations)
    shifts: Floats = np.array(states[0].shifts)
    for view in of_rgb_alone:
        rotations[view] = np.transpose(found.rotation) @ states[1].rotations[view]
        shifts[view] = np.transpose(found.rotation) @ (states[1].shifts[view] - found.shift)
    lenses = states[0].lenses[0], states[1].lenses[0]
    models = states[0].models[0], states[1].models[0]
    return State(models, lenses, rotations, shifts, found.rotation, found.shift)


def _bad_views(fitted: Fit, seen: tuple[Seen, ...], names: tuple[str, ...]) -> list[tuple[str, str]]:
    bad: list[tuple[str, str]] = []
    for number, camera in enumerate(CAMERAS):
        used = set(fitted.views_used(seen, number))
        for view in sorted({int(view) for view in seen[number].view} - used):
            rows = fitted.errors[number][seen[number].view == view]
            off = float(np.sqrt((rows**2).sum(axis=1).mean()))
            bad.append(
                (names[view], f"{camera}: {off:.1f} px off, where the camera's noise is {fitted.sigma[number]:.2f}")
            )
    return bad
