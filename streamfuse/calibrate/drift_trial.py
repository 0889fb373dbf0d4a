"""The drift correction tried on a recording whose thermal images are shifted by a known amount.

The pairs are played forwards and backwards, each with fresh sensor noise, through the estimator and the limits of a
run; the error is what was injected less what would be corrected.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from streamfuse.calibrate.report.overlays import Pair
from streamfuse.correct import Estimator, Shift, length, working_grid
from streamfuse.correct_limits import Tracker
from streamfuse.errors import UserError
from streamfuse.frames import Alignment, Pixels, Size
from streamfuse.register import Registrar
from streamfuse.rig import Rig

START_S = 15.0
RATE_HZ = 2.0
SLOW_PX_S, SLOW_S = 0.5, 20.0
KNOCK_PX = 8.0
TOWARDS: Shift = np.array([0.8, -0.6])
NOISE = 2.0  # grey levels of an 8-bit camera, standard deviation
KINDS = ("none", "slow", "knock")


@dataclass(frozen=True, slots=True)
class Moment:
    """One estimate: when, what was injected, what the run would say, and the CPU time it took."""

    at_s: float
    injected_px: tuple[float, float]
    alignment: Alignment
    cpu_ms: float

    @property
    def error_px(self) -> float:
        return length(np.subtract(self.alignment.applied_px, self.injected_px))


def injected(kind: str, at_s: float) -> Shift:
    """Where the thermal image has moved, in output pixels."""
    after = max(0.0, at_s - START_S)
    sizes = {"none": 0.0, "slow": SLOW_PX_S * min(after, SLOW_S), "knock": KNOCK_PX * (at_s >= START_S)}
    return sizes[kind] * TOWARDS


def try_drift(pairs: Sequence[Pair], rig: Rig | None, kind: str, seconds: float, seed: int = 0) -> list[Moment]:
    """Play, shift, estimate. Raises UserError for one pair only, an unknown kind, and pairs of several sizes."""
    if kind not in KINDS:
        raise UserError(f"--inject {kind}: one of {', '.join(KINDS)}")
    sizes = {(_size(pair.thermal), _size(pair.visible)) for pair in pairs}
    if len(sizes) != 1 or len(pairs) < 2:
        raise UserError(
            f"a trial needs 2 pairs or more, all of one size; found {len(pairs)} pairs of {len(sizes)} sizes"
        )
    (thermal_size, rgb_size) = sizes.pop()
    registrar = Registrar(rig or Rig.identity(thermal_size, rgb_size), thermal_size=thermal_size, rgb_size=rgb_size)
    width = registrar.warp.grid.size[0]
    estimator = Estimator(registrar.measuring_map(working_grid(registrar.warp.grid)), width)
    tracker, noise = Tracker(width / 640), np.random.default_rng(seed)
    scale = thermal_size[0] / width if rig is None else _scale(registrar)
    moments: list[Moment] = []
    for k in range(round(seconds * RATE_HZ)):
        pair, moved = pairs[_back_and_forth(k, len(pairs))], injected(kind, k / RATE_HZ)
        thermal, visible = _noisy(_shifted(pair.thermal, moved * scale), noise), _noisy(pair.visible, noise)
        started = time.thread_time()
        told = tracker.follow(estimator.read(estimator.planes(thermal, visible)), 1 / RATE_HZ)
        cpu_ms = (time.thread_time() - started) * 1e3
        moments.append(Moment(k / RATE_HZ, (float(moved[0]), float(moved[1])), told, cpu_ms))
    return moments


def summary(moments: Sequence[Moment]) -> dict[str, Any]:
    """What the trial showed: `back_s` is when the error was last above 1 px, counted from the injection."""
    wrong = [moment.at_s for moment in moments if moment.error_px > 1]
    back_s = max(0.0, wrong[-1] + 1 / RATE_HZ - START_S) if wrong else 0.0
    after = [moment for moment in moments if moment.at_s >= START_S]
    return {
        "largest_error_px": round(max(moment.error_px for moment in moments), 2),
        "last_error_px": round(moments[-1].error_px, 2),
        "back_s": None if moments[-1].error_px > 1 else round(back_s, 1),
        "applied_px": round(max(length(np.array(moment.alignment.applied_px)) for moment in moments), 2),
        "frozen": round(sum(moment.alignment.state == "frozen" for moment in after) / max(1, len(after)), 2),
        "cpu_ms": round(float(np.median([moment.cpu_ms for moment in moments])), 1),
    }


def _back_and_forth(k: int, count: int) -> int:
    place = k % (2 * count - 2)
    return place if place < count else 2 * count - 2 - place


def _size(image: Pixels) -> Size:
    return image.shape[1], image.shape[0]


def _scale(registrar: Registrar) -> float:
    """Thermal pixels for one output pixel, in the middle of what both cameras see."""
    across = np.diff(registrar.warp.thermal_from_output[..., 0].astype(np.float64), axis=1)
    return float(np.median(across[registrar.warp.valid[:, 1:]]))


def _shifted(image: Pixels, by: Shift) -> Pixels:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], dtype=np.float64)
    size = _size(image)
    return cast(Pixels, cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _noisy(image: Pixels, noise: np.random.Generator) -> Pixels:
    if image.dtype != np.uint8:
        return image
    grain = noise.normal(0, NOISE, image.shape[:2])
    return np.clip(image + (grain if image.ndim == 2 else grain[..., None]), 0, 255).astype(np.uint8)
