"""A picture of repeated measurements: a panel per metric, a line per group, a dot per repetition (a seed, say)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from streamfuse.errors import UserError

ACROSS = 4
PANEL_WIDTH, LINE_HEIGHT = 4.0, 0.26
"""Inches."""
DOT, MEAN = "#2980b9", "#c0392b"


def plot_strips(path: Path, strips: Mapping[str, Mapping[str, Sequence[float]]], *, title: str) -> None:
    """Write the picture; `strips`: metric -> group -> values; a bar marks a group's mean.

    Raises UserError where it cannot be written.
    """
    across = min(ACROSS, len(strips))
    down = -(-len(strips) // across)
    height = LINE_HEIGHT * (3.5 + max(len(groups) for groups in strips.values()))
    figure = Figure(figsize=(PANEL_WIDTH * across, height * down + 0.5), layout="constrained")
    grid = cast(Any, figure.subplots(down, across, squeeze=False, sharey=True))
    for axes, (metric, groups) in zip(grid.flat, strips.items(), strict=False):
        _panel(axes, metric, groups)
    for axes in list(grid.flat)[len(strips) :]:
        axes.set_visible(False)
    figure.suptitle(f"{title}: a dot per seed, the bar is their mean")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _panel(axes: Any, metric: str, groups: Mapping[str, Sequence[float]]) -> None:
    for place, values in enumerate(groups.values()):
        known = [value for value in values if not np.isnan(value)]
        axes.scatter(known, [place] * len(known), color=DOT, s=26, alpha=0.75, linewidths=0, zorder=3)
        if known:
            axes.plot([np.mean(known)] * 2, [place - 0.3, place + 0.3], color=MEAN, linewidth=2, zorder=2)
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_title(metric, fontsize=9)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#ecf0f1", zorder=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
