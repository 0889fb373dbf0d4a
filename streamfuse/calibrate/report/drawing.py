"""A plot that can be drawn in the light and in the dark, as PNG. Imported late: matplotlib is an extra."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from streamfuse.frames import Pixels

DPI = 150
WIDTH_IN = 4.8
"""Of every plot: so wide that its text can still be read on a telephone."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours that can be told apart by people who see two of three primaries, on their own paper."""

    name: str
    paper: str
    ink: str
    faint: str
    thermal: str
    rgb: str
    limit: str
    dropped: str


LIGHT = Theme("light", "#ffffff", "#1f2328", "#d0d7de", "#c2570c", "#0b62c4", "#6e7781", "#a40e4c")
DARK = Theme("dark", "#161b22", "#e6edf3", "#3b434d", "#ffa657", "#6cb6ff", "#9ea7b3", "#ff7eb6")


@dataclass(frozen=True, slots=True)
class Drawing:
    """`draw(axes, theme)` fills one pair of axes; `about` says how to read it; `height_in`: of the whole plot."""

    title: str
    about: str
    draw: Callable[[Any, Theme], None]
    height_in: float = 3.8

    def png(self, theme: Theme) -> bytes:
        """The plot as the bytes of a PNG file."""
        figure = Figure(figsize=(WIDTH_IN, self.height_in), layout="constrained", facecolor=theme.paper)
        axes: Any = figure.subplots()
        _dress(axes, theme)
        self.draw(axes, theme)
        axes.set_title(self.title, color=theme.ink, fontsize=11, loc="left", fontweight="bold")
        _dress_legend(axes, theme)
        written = io.BytesIO()
        figure.savefig(written, dpi=DPI, format="png")
        return written.getvalue()

    def pixels(self, theme: Theme) -> Pixels:
        """H W 3 uint8, red first."""
        decoded = cv2.imdecode(np.frombuffer(self.png(theme), np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(decoded, dtype=np.uint8)[..., ::-1]


def _dress(axes: Any, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.ink, labelsize=9)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    for side, spine in axes.spines.items():
        spine.set_color(theme.limit)
        spine.set_visible(side in ("left", "bottom"))


def _dress_legend(axes: Any, theme: Theme) -> None:
    legend = axes.get_legend()
    if legend is None:
        return
    legend.get_frame().set(facecolor=theme.paper, edgecolor=theme.faint)
    for text in legend.get_texts():
        text.set_color(theme.ink)
