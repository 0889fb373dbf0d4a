"""The drift correction tried on a recording whose thermal images are shifted or turned by a known amount.

The pairs are played forwards and backwards, each with fresh sensor noise, through the estimator and the limits of a
run; the error is what was injected less what would be corrected, at that corner of the output where it is largest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2
import numpy as np

from streamfuse.calibrate.report.overlays import Pair
from streamfuse.correct import Estimator, length, working_grid
from streamfuse.correct_track import Tracker
from streamfuse.depths import Geometry
from streamfuse.errors import UserError
from streamfuse.frames import Alignment, Pixels, Size
from streamfuse.register import Registrar
from streamfuse.rig import Rig
from streamfuse.terminal import counted
from streamfuse.warp import thermal_px_per_output_px

START_S = 40.0
"""By then the reference stands, of roll and zoom too."""
RATE_HZ = 2.0
SLOW_PX_S, SLOW_S = 0.5, 20.0
KNOCK_PX = 8.0
TOWARDS = (0.8, -0.6)
ROLL, ZOOM = math.radians(0.3), 0.005
NOISE = 2.0  # grey levels of an 8-bit camera, standard deviation
STILL = Geometry()
KINDS = ("none", "slow", "knock", "roll", "zoom")


@dataclass(frozen=True, slots=True)
class Moment:
    """One estimate: when, what the run would say, and its CPU time.

    In output pixels, at the corner where each is largest: what was injected, what would be corrected, what is left.
    """

    at_s: float
    injected_px: float
    corrected_px: float
    error_px: float
    alignment: Alignment
    cpu_ms: float


def injected(kind: str, at_s: float, pivot: tuple[float, float] = (0.0, 0.0)) -> Geometry:
    """Where the thermal image has moved, in output pixels. Roll, zoom and `slow` grow for 20 s, a knock is at once."""
    after_s = min(SLOW_S, max(0.0, at_s - START_S))
    size = {"slow": SLOW_PX_S * after_s, "knock": KNOCK_PX * (at_s >= START_S)}.get(kind, 0.0)
    turned = {"roll": (ROLL, 0.0), "zoom": (0.0, ZOOM)}.get(kind, (0.0, 0.0))
    grown = after_s / SLOW_S
    return Geometry(
        moved_px=(size * TOWARDS[0], size * TOWARDS[1]), turned=(turned[0] * grown, turned[1] * grown), pivot=pivot
    )


def try_drift(
    pairs: Sequence[Pair], rig: Rig | None, kind: str, seconds: float, *, hold_s: float = 1 / RATE_HZ, seed: int = 0
) -> list[Moment]:
    """Play (each pair for `hold_s`), shift or turn, estimate.

    Raises UserError for one pair only, an unknown kind, and pairs of several sizes.
    """
    if kind not in KINDS:
        raise UserError(f"--inject {kind}: one of {', '.join(KINDS)}")
    sizes = {(_size(pair.thermal), _size(pair.visible)) for pair in pairs}
    if len(sizes) != 1 or len(pairs) < 2:
        raise UserError(
            f"a trial needs 2 pairs or more, all of one size; found {counted(len(pairs), 'pair')} of "
            f"{counted(len(sizes), 'size')}"
        )
    (thermal_size, rgb_size) = sizes.pop()
    registrar = Registrar(rig or Rig.identity(thermal_size, rgb_size), thermal_size=thermal_size, rgb_size=rgb_size)
    size = registrar.warp.grid.size
    estimator = Estimator(registrar.measuring_map(working_grid(registrar.warp.grid)), size[0])
    tracker, noise = Tracker(size), np.random.default_rng(seed)
    pivot = estimator.pivot
    scale, thermal_pivot = _in_thermal(registrar, pivot)
    moments: list[Moment] = []
    for k in range(round(seconds * RATE_HZ)):
        at_s = k / RATE_HZ
        pair, moved = pairs[_back_and_forth(int(at_s / hold_s), len(pairs))], injected(kind, at_s, pivot)
        thermal, visible = (
            _noisy(displaced(pair.thermal, moved, scale, thermal_pivot), noise),
            _noisy(pair.visible, noise),
        )
        started = time.thread_time()
        told = tracker.follow(estimator.read(estimator.planes(thermal, visible)), 1 / RATE_HZ)
        cpu_ms = (time.thread_time() - started) * 1e3
        corrected = _corrected(told, pivot)
        sizes_px = _apart_px(moved, STILL, size), _apart_px(corrected, STILL, size)
        moments.append(Moment(at_s, *sizes_px, _apart_px(moved, corrected, size), told, cpu_ms))
    return moments


def summary(moments: Sequence[Moment]) -> dict[str, Any]:
    """What the trial showed: `back_s` is when the error was last above 1 px, counted from the injection."""
    wrong = [moment.at_s for moment in moments if moment.error_px > 1]
    back_s = max(0.0, wrong[-1] + 1 / RATE_HZ - START_S) if wrong else 0.0
    after = [moment for moment in moments if moment.at_s >= START_S]
    return {
        "injected_px": round(max(moment.injected_px for moment in moments), 2),
        "applied_px": round(max(moment.corrected_px for moment in moments), 2),
        "largest_error_px": round(max(moment.error_px for moment in moments), 2),
        "last_error_px": round(moments[-1].error_px, 2),
        "back_s": None if moments[-1].error_px > 1 else round(back_s, 1),
        "frozen": round(sum(moment.alignment.state == "frozen" for moment in after) / max(1, len(after)), 2),
        "cpu_ms": round(float(np.median([moment.cpu_ms for moment in moments])), 1),
    }


def _corrected(told: Alignment, pivot: tuple[float, float]) -> Geometry:
    return Geometry(moved_px=told.applied_px, turned=told.turn.applied if told.turn else (0.0, 0.0), pivot=pivot)


def _apart_px(one: Geometry, other: Geometry, size: Size) -> float:
    """The farthest that any corner of the output is put apart."""
    corners = np.array([(x, y) for x in (0.0, size[0] - 1.0) for y in (0.0, size[1] - 1.0)])
    return max(length(apart) for apart in one.moved(corners) - other.moved(corners))


def _back_and_forth(k: int, count: int) -> int:
    place = k % (2 * count - 2)
    return place if place < count else 2 * count - 2 - place


def _size(image: Pixels) -> Size:
    return image.shape[1], image.shape[0]


def _in_thermal(registrar: Registrar, pivot: tuple[float, float]) -> tuple[float, tuple[float, float]]:
    """Thermal pixels for one output pixel, in the middle of what both cameras see, and where it shows the pivot."""
    x, y = registrar.warp.thermal_from_output[round(pivot[1]), round(pivot[0])].tolist()
    return thermal_px_per_output_px(registrar.warp), (x, y)


def displaced(image: Pixels, by: Geometry, scale: float, pivot: tuple[float, float]) -> Pixels:
    """The thermal image as a camera that has moved by this would see it."""
    in_thermal = replace(by, moved_px=(by.moved_px[0] * scale, by.moved_px[1] * scale), pivot=pivot)
    origin, right, down = in_thermal.moved(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    matrix = np.column_stack([right - origin, down - origin, origin])
    size = _size(image)
    return cast(Pixels, cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _noisy(image: Pixels, noise: np.random.Generator) -> Pixels:
    if image.dtype != np.uint8:
        return image
    grain = NOISE * noise.standard_normal(image.shape[:2], dtype=np.float32)
    return np.clip(image + (grain if image.ndim == 2 else grain[..., None]), 0, 255).astype(np.uint8)
