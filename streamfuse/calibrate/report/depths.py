"""Parallax against depth: the plot, and its table in words."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from streamfuse.calibrate.parallax import Curve, Parallax, parallax_of
from streamfuse.calibrate.report.drawing import Drawing, Theme
from streamfuse.frames import Size
from streamfuse.rig import Rig
from streamfuse.warp import output_grid

LIMITS_PX = (1.0, 2.0)
TABLE_M = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, math.inf)
STEPS = 90
Row = tuple[str, ...]


def parallax_drawing(parallax: Parallax) -> Drawing:
    """Error against depth on a logarithmic scale, from a tenth of the map's depth on."""
    curve = parallax.curve(_depths(parallax.map_depth_m))
    at = f"{parallax.map_depth_m:g} m" if math.isfinite(parallax.map_depth_m) else "infinity"
    return Drawing(
        f"Parallax: error against depth, map set to {at}",
        "How far beside an object its heat is shown, in px of the RGB image, when the object is not at the map's "
        "depth. Computed from the geometry over the whole image; the error that calibration left comes on top.",
        partial(_curve, parallax, curve),
    )


def _curve(parallax: Parallax, curve: Curve, axes: Any, theme: Theme) -> None:
    axes.fill_between(curve.depths_m, curve.median_px, curve.worst_px, color=theme.rgb, alpha=0.25, linewidth=0)
    axes.plot(curve.depths_m, curve.worst_px, color=theme.rgb, linewidth=1.8, label="worst on the image")
    axes.plot(curve.depths_m, curve.median_px, color=theme.thermal, linewidth=1.2, linestyle="--", label="median")
    top = 1.15 * min(max(4.0, float(np.nanmax(curve.worst_px[-1:]))), 12.0)
    for limit in LIMITS_PX:
        axes.axhline(limit, color=theme.limit, linewidth=1.0, linestyle=":")
        axes.text(curve.depths_m[-1], limit, f"{limit:g} px", ha="right", va="bottom", color=theme.ink, fontsize=8)
    if math.isfinite(parallax.map_depth_m):
        axes.axvline(parallax.map_depth_m, color=theme.ink, linewidth=1.0, label="the map's depth")
    axes.set_xscale("log")
    ticks = [tick for tick in _ticks() if curve.depths_m[0] <= tick <= curve.depths_m[-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlim=(curve.depths_m[0], curve.depths_m[-1]), ylim=(0, top), xlabel="depth, m", ylabel="error, RGB px")
    axes.legend(fontsize=8, loc="upper right")


def parallax_lines(rig: Rig) -> list[str]:
    """The depths between which the map holds, in sentences: as it is set, and set to infinity."""
    set_here = parallax_of(rig)
    lines = [f"As set ({_metres(set_here.map_depth_m)}): {set_here.holds(limit)}." for limit in LIMITS_PX]
    if math.isfinite(set_here.map_depth_m):
        far = parallax_of(rig, map_depth_m=math.inf)
        lines += [f"Set to infinity: {far.holds(limit)}." for limit in LIMITS_PX]
    return lines


def parallax_table(rig: Rig, size: Size | None = None) -> list[Row]:
    """Head and rows: depth, worst error and median in RGB px, worst in output px of `size` and in thermal px."""
    whole = parallax_of(rig)
    curve = whole.curve(TABLE_M)
    head = ("object at", "median, RGB px", "worst, RGB px", "worst, thermal px")
    columns = [curve.median_px, curve.worst_px, curve.worst_thermal_px]
    if size is not None:
        head = (*head, f"worst, px of {size[0]}x{size[1]}")
        columns.append(parallax_of(rig, output_grid(rig.rgb_size, size)).curve(TABLE_M).worst_px)
    rows = [(_metres(depth), *(_px(column[at]) for column in columns)) for at, depth in enumerate(TABLE_M)]
    return [head, *rows]


def _depths(map_depth_m: float) -> Any:
    middle = map_depth_m if math.isfinite(map_depth_m) else 50.0
    depths = np.geomspace(max(0.2, middle / 10), max(200.0, middle * 10), STEPS)
    return np.unique(np.append(depths, middle))


def _ticks() -> list[float]:
    return [step * 10.0**power for power in range(-1, 4) for step in (1, 2, 5)]


def _metres(depth: float) -> str:
    return f"{depth:g} m" if math.isfinite(depth) else "infinity"


def _px(value: float) -> str:
    return "seen by one camera only" if math.isnan(value) else f"{value:.2f}"
