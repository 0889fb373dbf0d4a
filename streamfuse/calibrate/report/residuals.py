"""Plots of what solving left over: where the errors point, where on the image they lie, which views they come from."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from streamfuse.calibrate.report.drawing import WIDTH_IN, Drawing, Theme
from streamfuse.calibrate.solve_solution import Residuals, Solution
from streamfuse.calibrate.views import Floats
from streamfuse.frames import Size

CELLS = (6, 4)
"""Columns and rows of the coverage map."""
FIELD = (8, 6)
"""Columns and rows of the field of mean errors."""
LEAST_IN_CELL = 3
LONGEST_ARROW = 0.06
"""Of the image's width: how long the error is drawn that 95 % stay under."""
MOST_VIEWS = 60
LINE_IN = 0.2


def residual_drawings(solution: Solution) -> list[Drawing]:
    """Every plot that a solution gives rise to, in the order of the page."""
    cameras = (("thermal", solution.thermal, solution.rig.thermal_size), ("rgb", solution.rgb, solution.rig.rgb_size))
    drawings: list[Drawing] = []
    for name, residuals, size in cameras:
        if residuals.used.any():
            drawings += _of_camera(name, residuals, size)
    if solution.held_out.used.any():
        drawings.append(_held_out(solution.held_out))
    drawings.append(_per_view(solution))
    return drawings


def _of_camera(name: str, residuals: Residuals, size: Size) -> list[Drawing]:
    spoken = {"thermal": "thermal", "rgb": "RGB"}[name]
    count, rejected = int(residuals.used.sum()), int((~residuals.used).sum())
    return [
        Drawing(
            f"{spoken}: errors of {count} points, RMS {residuals.rms_px:.3f} px",
            "Found minus predicted. A round cloud about the middle is noise; a cloud off the middle or long in one "
            f"direction is a lens that does not fit; separate heaps are views whose cameras moved against each other. "
            f"Crosses: {rejected} points that were rejected and do not count, at the edge where they lie farther out.",
            partial(_scatter, name, residuals),
            4.2,
        ),
        Drawing(
            f"{spoken}: where on the image the errors lie",
            f"Thin: every point's error, enlarged {_enlarged(residuals, size):.0f} times. Thick: their mean in each "
            "part of the image, as much enlarged; where the thick arrows turn or point one way, the lens model is "
            "too simple there.",
            partial(_vectors, name, residuals, size),
            _height_in(size),
        ),
        Drawing(
            f"{spoken}: where the target was seen",
            "Points in each part of the image. A lens is only known where there were points: an empty corner is "
            "extrapolated.",
            partial(_coverage, name, residuals, size),
            _height_in(size),
        ),
    ]


def _scatter(name: str, residuals: Residuals, axes: Any, theme: Theme) -> None:
    kept, dropped = residuals.errors[residuals.used], residuals.errors[~residuals.used]
    reach = max(1e-3, 1.15 * float(np.abs(kept).max()))
    axes.scatter(kept[:, 0], kept[:, 1], s=7, color=getattr(theme, name), alpha=0.55, linewidths=0)
    if len(dropped):
        edge = np.clip(dropped, -reach, reach)
        axes.scatter(edge[:, 0], edge[:, 1], s=22, marker="x", color=theme.dropped, clip_on=False, label="rejected")
    turn = np.linspace(0, 2 * math.pi, 100)
    axes.plot(
        residuals.rms_px * np.cos(turn), residuals.rms_px * np.sin(turn), color=theme.ink, linewidth=1.2, label="RMS"
    )
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal", xlabel="x, px", ylabel="y, px (down)")
    axes.legend(fontsize=8, loc="upper right")


def _vectors(name: str, residuals: Residuals, size: Size, axes: Any, theme: Theme) -> None:
    at, errors = residuals.pixels[residuals.used], residuals.errors[residuals.used]
    enlarged = _enlarged(residuals, size)
    _arrows(axes, at, errors * enlarged, getattr(theme, name), 0.002, 0.6)
    middles, means = _field(at, errors, size)
    _arrows(axes, middles, means * enlarged, theme.ink, 0.007, 1.0)
    _image_axes(axes, size)


def _arrows(axes: Any, at: Floats, by: Floats, colour: str, width: float, alpha: float) -> None:
    axes.quiver(
        *at.T, *by.T, color=colour, alpha=alpha, width=width, angles="xy", scale_units="xy", scale=1, zorder=2 + width
    )


def _coverage(name: str, residuals: Residuals, size: Size, axes: Any, theme: Theme) -> None:
    at = residuals.pixels[residuals.used]
    counts = cell_counts(at, size, CELLS)
    width, height = size[0] / CELLS[0], size[1] / CELLS[1]
    for row, column in product(range(CELLS[1]), range(CELLS[0])):
        count, left, top = int(counts[row, column]), column * width - 0.5, row * height - 0.5
        share = 0.1 + 0.35 * count / max(1, counts.max()) if count else 0.0
        axes.fill([left, left + width, left + width, left], [top, top, top + height, top + height],
                  color=getattr(theme, name), alpha=share, linewidth=0)  # fmt: skip
        axes.text(left + width / 2, top + height / 2, str(count) if count else "none", ha="center", va="center",
                  color=theme.ink if count else theme.dropped, fontsize=9, fontweight="bold", zorder=3)  # fmt: skip
    axes.scatter(at[:, 0], at[:, 1], s=2, color=getattr(theme, name), linewidths=0)
    _image_axes(axes, size)


def _held_out(held_out: Residuals) -> Drawing:
    views = len(np.unique(held_out.view[held_out.used]))
    return Drawing(
        f"Held out: thermal onto RGB, RMS {held_out.rms_px:.3f} px",
        f"Points of {views} views that the rig was not solved from, carried from the thermal into the RGB image. This "
        "is the error to expect on a new picture of a flat target.",
        partial(_histogram, held_out),
        3.2,
    )


def _histogram(held_out: Residuals, axes: Any, theme: Theme) -> None:
    lengths = np.linalg.norm(held_out.errors[held_out.used], axis=1)
    axes.hist(lengths, bins=30, color=theme.rgb, alpha=0.75)
    marks = (("RMS", held_out.rms_px, "-"), ("95 %", held_out.percentile_px(95), "--"))
    for label, value, style in marks:
        axes.axvline(value, color=theme.ink, linestyle=style, linewidth=1.4, label=f"{label}: {value:.2f} px")
    axes.set(xlabel="error, RGB px", ylabel="points", xlim=(0, None))
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
    axes.legend(fontsize=8, loc="upper right")


def _per_view(solution: Solution) -> Drawing:
    shown = _worst_views(solution)
    left_out = (
        f" The {len(solution.views) - len(shown)} best are not shown." if len(shown) < len(solution.views) else ""
    )
    return Drawing(
        "Error of each view",
        "RMS in px of each camera's own image. One long bar: a blurred or moving view, look at the picture; it may be "
        f"taken away. No bar: this camera did not see the target, or the view was rejected.{left_out}",
        partial(_bars, solution, shown),
        1.1 + LINE_IN * max(4, len(shown)),
    )


def _bars(solution: Solution, shown: list[int], axes: Any, theme: Theme) -> None:
    rows = np.arange(len(shown))
    for off, label, residuals, colour in (
        (-0.2, "thermal", solution.thermal, theme.thermal),
        (0.2, "RGB", solution.rgb, theme.rgb),
    ):
        axes.barh(rows + off, [residuals.rms_of_view(view) for view in shown], height=0.38, color=colour, label=label)
    axes.set_yticks(rows, [solution.views[view] for view in shown], fontsize=7.5)
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(0, 1.35 * axes.get_xlim()[1]), xlabel="RMS, px")
    axes.grid(visible=False, axis="y")
    axes.legend(fontsize=8, loc="upper right")


def _worst_views(solution: Solution) -> list[int]:
    """All views in their order; of too many, those with the largest errors."""
    every = range(len(solution.views))
    if len(every) <= MOST_VIEWS:
        return list(every)
    both = (solution.thermal, solution.rgb)
    worst = {view: max(np.nan_to_num(one.rms_of_view(view)) for one in both) for view in every}
    return sorted(sorted(every, key=lambda view: -worst[view])[:MOST_VIEWS])


def cell_counts(pixels: Floats, size: Size, cells: tuple[int, int]) -> Floats:
    """(rows, columns): how many pixels (N 2) lie in each of columns x rows equal parts of an image."""
    edges = [np.linspace(-0.5, length - 0.5, count + 1) for length, count in zip(size, cells, strict=True)]
    return np.histogram2d(pixels[:, 1], pixels[:, 0], bins=(edges[1], edges[0]))[0]


def _field(at: Floats, errors: Floats, size: Size) -> tuple[Floats, Floats]:
    """Middles (M 2) of the image's parts with enough points, and their mean errors (M 2)."""
    columns, rows = FIELD
    cell = np.floor((at + 0.5) / np.array(size) * FIELD).astype(np.intp)
    cell = np.clip(cell, 0, (columns - 1, rows - 1))
    middles: list[Floats] = []
    means: list[Floats] = []
    for row, column in product(range(rows), range(columns)):
        inside = (cell == (column, row)).all(axis=1)
        if inside.sum() >= LEAST_IN_CELL:
            middles.append(at[inside].mean(axis=0))
            means.append(errors[inside].mean(axis=0))
    return np.array(middles).reshape(-1, 2), np.array(means).reshape(-1, 2)


def _enlarged(residuals: Residuals, size: Size) -> float:
    """How much the arrows are enlarged: a round figure."""
    wanted = LONGEST_ARROW * size[0] / max(1e-9, residuals.percentile_px(95))
    power = 10 ** math.floor(math.log10(wanted))
    return power * max(step for step in (1, 2, 5) if step * power <= wanted)


def _height_in(size: Size) -> float:
    """Of a plot of an image: as high as the image is, and its labels."""
    return 0.85 + (WIDTH_IN - 0.75) * size[1] / size[0]


def _image_axes(axes: Any, size: Size) -> None:
    axes.set(xlim=(-0.5, size[0] - 0.5), ylim=(size[1] - 0.5, -0.5), aspect="equal", xlabel="x, px", ylabel="y, px")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
