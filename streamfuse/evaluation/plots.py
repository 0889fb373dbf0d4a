"""One picture of all means: a panel for each column, a dot for each method. Imported late: matplotlib is an extra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from matplotlib.figure import Figure

from streamfuse.errors import UserError
from streamfuse.evaluation.peers import Peers

ACROSS = 6
PANEL_WIDTH, LINE_HEIGHT = 3.3, 0.2
"""Inches."""
OURS, OTHERS = "#c0392b", "#7f8c8d"
LESS_IS_BETTER = {"inverted", "flat", "overshoot", "rim", "WE", "dMean", "flowD"}


def plot_means(
    path: Path, means: Mapping[str, Mapping[str, float]], judged: Sequence[str], known: Peers | None = None
) -> None:
    """Write the picture: methods in `judged` red, baselines and peers grey. Raises UserError where it cannot."""
    rows = {**(known.rows if known else {}), **means}
    told = {column: _told(rows, column) for column in next(iter(means.values()))}
    columns = [column for column, figures in told.items() if figures] or list(told)  # e.g. no image has a sky
    lines = [max(len(told[name]) for name in columns[at : at + ACROSS]) for at in range(0, len(columns), ACROSS)]
    heights = [LINE_HEIGHT * (count + 4) for count in lines]
    across = min(ACROSS, len(columns))
    figure = Figure(figsize=(PANEL_WIDTH * across, sum(heights) + 0.5), layout="constrained")
    grid = list(cast(Any, figure.subplots(len(heights), across, squeeze=False, height_ratios=heights)).flat)
    for axes, column in zip(grid, columns, strict=False):
        _panel(axes, column, told[column], set(judged))
    for axes in grid[len(columns) :]:
        axes.set_visible(False)
    against = (
        f", beside peers on the {known.pairs} public pairs of {known.set_name} (* stretches every image)"
        if known
        else ""
    )
    figure.suptitle(f"means{against}; the best on top")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _told(rows: Mapping[str, Mapping[str, float]], column: str) -> dict[str, float]:
    return {method: row[column] for method, row in rows.items() if not math.isnan(row.get(column, math.nan))}


def _panel(axes: Any, column: str, told: Mapping[str, float], ours: set[str]) -> None:
    less = column in LESS_IS_BETTER
    order = sorted(told, key=lambda method: told[method], reverse=less)
    places = range(len(order))
    colours = [OURS if method in ours else OTHERS for method in order]
    axes.hlines(places, min(told.values(), default=0), [told[method] for method in order], color="#ecf0f1", linewidth=2)
    axes.scatter([told[method] for method in order], places, color=colours, s=22, zorder=3)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_yticks(places, order, fontsize=7.5)
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
        label.set_fontweight("bold" if colour == OURS else "normal")
    axes.set_title(f"{column} ({'less' if less else 'more'} is better)", fontsize=9)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.locator_params(axis="x", nbins=5)  # figures like 0.575 stand apart
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
