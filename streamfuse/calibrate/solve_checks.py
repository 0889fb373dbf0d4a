"""What solving refuses once it has an answer: one that the views do not carry.

Everything here would otherwise be a rig file that looks like any other and is wrong. What is merely not good enough
is `accept`'s.
"""

from __future__ import annotations

import numpy as np

from streamfuse.calibrate.solve_bundle import Seen, State
from streamfuse.calibrate.solve_lens import as_lens, corners_of, covers_image
from streamfuse.calibrate.solve_pair import Agreement
from streamfuse.calibrate.solve_robust import Fit
from streamfuse.calibrate.solve_solution import Estimate
from streamfuse.calibrate.views import Floats
from streamfuse.errors import UserError
from streamfuse.frames import Size

LEAST_TILT = 5.0  # degrees between the planes of the target over all views
FOCAL_UNSURE = 0.1  # half a 95 % interval, of the focal length
WIDEST, NARROWEST = 0.15, 40.0  # focal length in image widths: 147 and 1.4 degrees across
SQUARE = 1.5  # focal length across / along
HALF = 0.5
AGREEING = 0.65  # of the views: with fewer, nobody knows which are right
REMEDY = "tilt the target by 20 to 40 degrees, to the left, right, up and down, in several places of the image"


def check_tilts(camera: str, state: State, views: list[int]) -> None:
    """Raises UserError where all views show the target parallel to one plane: the focal length then means nothing."""
    spread = tilt_spread(state.rotations[views])
    if spread < LEAST_TILT:
        raise UserError(
            f"{camera}: in all {len(views)} views the target stands parallel to one plane (spread {spread:.1f} "
            f"degrees, at least {LEAST_TILT:g} are needed); the focal length cannot be told from the distance: {REMEDY}"
        )


def tilt_spread(rotations: Floats) -> float:
    """Root mean square angle in degrees between the target's normals (V 3 3 rotations) and their mean."""
    normals = rotations[:, :, 2]
    middle = normals.mean(axis=0)
    cosines = np.clip(normals @ (middle / np.linalg.norm(middle)), -1, 1)
    return float(np.degrees(np.sqrt((np.arccos(cosines) ** 2).mean())))


def check_lens(camera: str, fitted: Fit, number: int, size: Size, seen: Seen, measured: Estimate) -> None:
    """Raises UserError for a lens that no camera has, that folds over the image, or whose focal length is a guess."""
    state = fitted.state
    fx, fy, cx, cy = state.lenses[number][:4]
    inside = -size[0] * HALF < cx < size[0] * (1 + HALF) and -size[1] * HALF < cy < size[1] * (1 + HALF)
    shape = max(fx / fy, fy / fx) if min(fx, fy) > 0 else float("inf")
    if not (WIDEST * size[0] < fx < NARROWEST * size[0]) or shape > SQUARE or not inside:
        raise UserError(
            f"{camera}: the lens that fits best is none that a camera has (fx {fx:.0f}, fy {fy:.0f}, centre {cx:.0f} "
            f"{cy:.0f} on an image of {size[0]}x{size[1]}); the views do not tell the lens, the target's spacing "
            f"differs across and along, or it is another target: {REMEDY}, and check --target"
        )
    names, half = measured.names, measured.half_width_95
    unsure = float(half[names.index(f"{camera}.fx")] / fx)
    if not unsure < FOCAL_UNSURE:
        raise UserError(
            f"{camera}: the views leave the focal length open ({fx:.0f} px, 95 % interval +-{100 * unsure:.0f} %; at "
            f"most {100 * FOCAL_UNSURE:.0f} % is allowed): {REMEDY}"
        )
    lens = as_lens(state.models[number], state.lenses[number], size)
    if not covers_image(lens, seen.pixels[fitted.used[number]]):
        raise UserError(
            f"{camera}: the {state.models[number]} lens that fits best folds within the image; choose --model pinhole "
            "or take views with the target in the image's corners"
        )


def folds_in_corner(model: str, lens: Floats, size: Size) -> bool:
    """Whether a lens ends before the image does; it then shows nothing there."""
    return not covers_image(as_lens(model, lens, size), corners_of(size))


def check_agreement(agreement: Agreement, names: tuple[str, ...], width: int) -> None:
    """Raises UserError where the views do not agree on one rig."""
    apart, count = len(agreement.apart), len(agreement.turned)
    if count - apart < max(3, AGREEING * count):
        worst = ", ".join(f"{names[view]} {agreement.miss_px[view]:.0f} px" for view in list(agreement.miss_px)[:4])
        raise UserError(
            f"the two cameras agree on how they stand to each other in {count - apart} of {count} views only (misses "
            f"in an image {width} px wide: {worst}, ...); check that the pairs belong together (names, moment), that "
            "the cameras are not swapped in some, and that neither zooms or moves against the other"
        )


def check_kept(kept: int, given: int) -> None:
    """Raises UserError where too many of the views that both cameras saw had to be left out."""
    if kept < max(3, AGREEING * given):
        raise UserError(
            f"only {kept} of {given} views agree on lenses and rig, at least {100 * AGREEING:.0f} % must; check that "
            "the pairs belong together (names, moment), none has swapped cameras; leave blurred images out"
        )


def check_rig(state: State, depths: Floats) -> None:
    """Raises UserError where the RGB camera looks away from the thermal camera, or stands beyond the target."""
    turn = np.degrees(np.arccos(np.clip((np.trace(state.rig_rotation) - 1) / 2, -1, 1)))
    away = state.rig_rotation[2, 2] <= 0
    baseline = float(np.linalg.norm(state.rig_shift))
    if away or depths.min() <= 0 or baseline > float(np.median(depths)):
        raise UserError(
            f"the rig that fits best is none: the cameras are turned {turn:.0f} degrees against each other and stand "
            f"{baseline:.2f} m apart, with the target {np.median(depths):.2f} m away; check that the folders hold the "
            "same views and are not swapped, and the target's spacing"
        )
