"""The report as one picture, for where a page cannot be opened: verdict and facts on top, plots and overlays below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamfuse.calibrate.report.contents import Contents
from streamfuse.calibrate.report.drawing import DPI, LIGHT, WIDTH_IN
from streamfuse.calibrate.report.overlays import named
from streamfuse.calibrate.report.page import MARKS
from streamfuse.frames import Pixels

ACROSS = 2
LINE_IN = 0.21
LETTERS = 125
GAP = 8
PAPER = 255


def picture(contents: Contents) -> Pixels:
    """H W 3 uint8, red first: two columns of plots under a few lines of text."""
    drawings = [*([contents.parallax] if contents.parallax else []), *contents.residuals]
    plots = [drawing.pixels(LIGHT) for drawing in drawings]
    photos = [_captioned(f"{one.name}, {caption}", image) for one in contents.overlays for caption, image in named(one)]
    width = ACROSS * (round(WIDTH_IN * DPI) + GAP)
    return np.vstack([_text(_lines(contents), width), *_columns(plots, width), *_columns(photos, width)])


def _lines(contents: Contents) -> list[str]:
    verdict = contents.verdict
    lines = [f"Rig {contents.rig.name}: {MARKS[verdict.word]}. {verdict.sentence}"]
    lines += [f"  - {reason}" for reason in verdict.reasons]
    lines += ["; ".join(f"{name}: {value}" for name, value in contents.facts)]
    lines += [*contents.geometry, *contents.parallax_lines, contents.made_by]
    return [part for line in lines for part in textwrap.wrap(line, LETTERS)]


def _text(lines: Sequence[str], width: int) -> Pixels:
    height_in = LINE_IN * (len(lines) + 1.5)
    figure = Figure(figsize=(width / DPI, height_in), facecolor=LIGHT.paper)
    figure.text(0.015, 1 - LINE_IN / height_in, lines[0], va="center", fontsize=10, fontweight="bold")
    for at, line in enumerate(lines[1:], start=2):
        figure.text(0.015, 1 - at * LINE_IN / height_in, line, va="center", fontsize=9, color=LIGHT.ink)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    return _fitted(np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3], width)


def _captioned(caption: str, image: Pixels) -> Pixels:
    fitted = _fitted(image, round(WIDTH_IN * DPI))
    strip = np.full((34, fitted.shape[1], 3), PAPER, np.uint8)
    cv2.putText(strip, caption, (4, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (31, 35, 40), 1, cv2.LINE_AA)
    return np.vstack([strip, fitted])


def _columns(images: Sequence[Pixels], width: int) -> list[Pixels]:
    """Rows of ACROSS images, each as wide as its column."""
    column = width // ACROSS - GAP
    fitted = [_fitted(image, column) for image in images]
    rows: list[Pixels] = []
    for at in range(0, len(fitted), ACROSS):
        some = fitted[at : at + ACROSS]
        row = np.full((max(len(image) for image in some) + GAP, width, 3), PAPER, np.uint8)
        for place, image in enumerate(some):
            row[: len(image), place * (column + GAP) : place * (column + GAP) + column] = image
        rows.append(row)
    return rows


def _fitted(image: Pixels, width: int) -> Pixels:
    if image.shape[1] == width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
