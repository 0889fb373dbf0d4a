"""What goes into solving: the views as arrays, and those refused before anything is computed.

Knows nothing of lenses. Every refusal says what was found, what is asked for and what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np

from streamfuse.calibrate.solve_bundle import Seen
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Floats, Indices, Sighting, View
from streamfuse.errors import UserError
from streamfuse.frames import Size, wxh

FEWEST_VIEWS = 5  # a camera has 9 unknowns and a view tells 2 of them; with fewer nothing checks the answer
FEWEST_PAIRS = 3
FEWEST_POINTS = 8
MOST_PIXELS = 1.5  # thermal pixels for each RGB pixel: above, the cameras are likely swapped
WRONG_BOARD = 0.12  # of the distance between neighbouring points: no lens bends a view as much


def sizes_of(views: Sequence[View], larger_thermal: bool) -> tuple[Size, Size]:
    """Image sizes (thermal, RGB). Raises UserError: one camera never saw the target, sizes mixed, cameras swapped."""
    found = [
        Counter(seen.size for seen in sightings if seen is not None)
        for sightings in ([view.thermal for view in views], [view.rgb for view in views])
    ]
    for name, sizes in zip(("thermal", "RGB"), found, strict=True):
        if not sizes:
            raise UserError(
                f"the target was found in none of the {len(views)} {name} images; a rig needs views that both cameras "
                "see: check the target's contrast in that camera and its size (`streamfuse calibrate detect`)"
            )
    (thermal, _), (rgb, _) = (sizes.most_common(1)[0] for sizes in found)
    for name, sizes, other in (("thermal", found[0], rgb), ("RGB", found[1], thermal)):
        if len(sizes) > 1:
            raise UserError(_mixed(name, views, sizes, other))
    pixels = thermal[0] * thermal[1], rgb[0] * rgb[1]
    if not larger_thermal and pixels[0] > MOST_PIXELS * pixels[1]:
        raise UserError(
            f"thermal images of {wxh(thermal)} and RGB images of {wxh(rgb)}: the two cameras look swapped; swap the "
            "folders, or say --larger-thermal if the thermal camera really has more pixels"
        )
    return thermal, rgb


def gather(views: Sequence[View], camera: str, target: Target) -> tuple[Seen, list[tuple[str, str]]]:
    """All points that one camera ("thermal", "rgb") saw, and the views left out as (view, why).

    Raises UserError: points that the target does not have, too few views, the wrong target.
    """
    points = target.points_m
    rows: list[tuple[Indices, Indices, Floats, Floats]] = []
    left_out: list[tuple[str, str]] = []
    for number, view in enumerate(views):
        seen: Sighting | None = getattr(view, camera)
        if seen is None:
            continue
        _check_points(view.name, camera, seen, len(points), target)
        useful = np.flatnonzero(seen.quality > 0)
        if len(useful) < FEWEST_POINTS or _on_a_line(points[seen.indices[useful]]):
            left_out.append((view.name, f"{camera}: {len(useful)} useful points, at least {FEWEST_POINTS} are asked"))
            continue
        at = seen.indices[useful].astype(np.intp)
        rows.append((np.full(len(at), number, np.intp), at, points[at], seen.pixels[useful].astype(np.float64)))
    if len(rows) < FEWEST_VIEWS:
        raise UserError(
            f"{len(rows)} views in which the {camera} camera saw enough of the target, at least {FEWEST_VIEWS} are "
            "needed and 15 are asked for; take more sharp views, each with the target in another place and another tilt"
        )
    view, point, flat, pixels = zip(*rows, strict=True)
    seen_all = Seen(np.concatenate(view), np.concatenate(point), np.concatenate(flat), np.concatenate(pixels))
    _check_board(seen_all, camera, target)
    return seen_all, left_out


def check_pairs(thermal: Seen, rgb: Seen) -> None:
    """Raises UserError where both cameras see too few views together, or one of them is mirrored."""
    both = np.intersect1d(thermal.view, rgb.view)
    if len(both) < FEWEST_PAIRS:
        raise UserError(
            f"{len(both)} views in which both cameras saw the target, at least {FEWEST_PAIRS} are needed and 15 asked "
            "for; thermal and RGB images are paired by name: check the names, and hold the target where both see it"
        )
    if _handedness(thermal) * _handedness(rgb) < 0:
        raise UserError(
            "one camera shows the target mirrored and the other does not; switch off the mirror image (selfie mode) of "
            "that camera or flip its images, and detect again"
        )


def _check_points(view: str, camera: str, seen: Sighting, count: int, target: Target) -> None:
    if len(seen.indices) and int(seen.indices.max()) >= count:
        raise UserError(
            f"{view}, {camera}: point {int(seen.indices.max())} was found, but a {target.name} has the points 0 to "
            f"{count - 1}; it was detected with another target: name that one, or detect again"
        )
    if not np.isfinite(seen.pixels).all() or len(np.unique(seen.indices)) != len(seen.indices):
        raise UserError(f"{view}, {camera}: points found twice or nowhere; the sightings are damaged: detect again")


def _check_board(seen: Seen, camera: str, target: Target) -> None:
    """A flat target and its image are one homography apart, but for the lens."""
    shares = [_bend(seen.only(seen.view == view)) for view in np.unique(seen.view)]
    if float(np.median(shares)) > WRONG_BOARD:
        raise UserError(
            f"the points found in the {camera} images do not lie as on a {target.name}: typically "
            f"{np.median(shares):.2f} of the distance between neighbours off; count its columns and rows again (inner "
            "corners of a checkerboard, circles of a grid) and detect with the right --target"
        )


def _bend(one: Seen) -> float:
    """Median misfit of the best homography, in distances between neighbouring points."""
    matrix, _ = cast(Any, cv2.findHomography)(one.target[:, :2], one.pixels, 0)
    if matrix is None:
        return 1.0
    there = cv2.perspectiveTransform(one.target[:, None, :2], np.asarray(matrix, np.float64))[:, 0]
    apart = np.linalg.norm(one.pixels[:, None] - one.pixels[None], axis=2) + 1e9 * np.eye(len(one.pixels))
    return float(np.median(np.linalg.norm(one.pixels - there, axis=1)) / np.median(apart.min(axis=1)))


def _handedness(seen: Seen) -> int:
    """1: most views show the target as one looks at its face; -1: as from behind."""
    signs: list[float] = []
    for view in np.unique(seen.view):
        one = seen.only(seen.view == view)
        flat = np.column_stack([one.target[:, :2], np.ones(len(one.view))])
        affine, *_ = np.linalg.lstsq(flat, one.pixels, rcond=None)
        signs.append(float(np.sign(np.linalg.det(affine[:2]))))
    return 1 if sum(signs) >= 0 else -1


def _on_a_line(points: Floats) -> bool:
    spread = np.linalg.svd(points[:, :2] - points[:, :2].mean(axis=0), compute_uv=False)
    return bool(spread[1] < 1e-3 * spread[0])


def _mixed(name: str, views: Sequence[View], sizes: Counter[Size], other: Size) -> str:
    usual = sizes.most_common(1)[0][0]
    camera = "thermal" if name == "thermal" else "rgb"
    odd = [view.name for view in views if (seen := getattr(view, camera)) is not None and seen.size != usual]
    found = ", ".join(f"{count} of {wxh(size)}" for size, count in sizes.most_common())
    hint = "; there the two cameras look swapped" if other in sizes else ""
    return (
        f"{name} images of mixed sizes: {found} (the odd ones: {', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}"
        f"){hint}; one calibration needs images of one size: leave the others out"
    )
