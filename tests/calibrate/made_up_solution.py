"""A solution whose numbers are invented, for what only shows solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from rigs import full_rig

from streamfuse.calibrate.solve import Estimate, Residuals, Solution

VIEWS = 12
POINTS = 30


def residuals(size: tuple[int, int], noise_px: float, seed: int, views: Any = range(VIEWS)) -> Residuals:
    """A grid of points in every view, with normal errors; the first two points of the first view are rejected."""
    rng = np.random.default_rng(seed)
    pixels, errors, view, point = [], [], [], []
    for index in views:
        centre, side = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0.2, 0.5) * size[1]
        grid = np.stack(np.meshgrid(np.linspace(-0.6, 0.6, 6), np.linspace(-0.5, 0.5, 5)), axis=-1).reshape(-1, 2)
        pixels.append(np.clip(centre + grid * side, 0, np.array(size) - 1))
        errors.append(rng.normal(0, noise_px, (POINTS, 2)))
        view.append(np.full(POINTS, index))
        point.append(np.arange(POINTS))
    used = np.ones(len(views) * POINTS, dtype=bool)
    used[:2] = False
    rows = [np.concatenate(column) for column in (view, point, pixels, errors)]
    return Residuals(*rows, used)


def made_up_solution(**changes: Any) -> Solution:
    """Twelve views, a quarter of them held out, of `rigs.full_rig`."""
    rig = changes.pop("rig", full_rig())
    names = ("thermal.fx", "rgb.k1", "rgb_from_thermal.rx", "rgb_from_thermal.tx")
    parts: dict[str, Any] = {
        "rig": rig,
        "target": "checkerboard 6x5, 30 mm",
        "views": tuple(f"view_{index:02d}" for index in range(VIEWS)),
        "thermal": residuals(rig.thermal_size, 0.2, 0),
        "rgb": residuals(rig.rgb_size, 0.3, 1),
        "held_out": residuals(rig.rgb_size, 0.5, 2, range(0, VIEWS, 4)),
        "poses": np.zeros((VIEWS, 6)),
        "estimate": Estimate(
            names, np.array([176.0, -0.08, 0.01, 0.06]), np.diag([0.25, 1e-6, 1e-6, 4e-8]), {"thermal": 1.4}
        ),
        "rejected": (("view_03", "the thermal image is blurred"),),
        "models": {"thermal opencv-5": 0.41, "thermal fisheye": 0.55},
    }
    return Solution(**{**parts, **changes})
