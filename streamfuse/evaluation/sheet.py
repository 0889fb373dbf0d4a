"""Contact sheets: thermal | visible | every method's image, a row for each scene, with names."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from streamfuse.evaluation.cases import Case
from streamfuse.evaluation.grey import as_grey
from streamfuse.frames import Pixels

SHEET_WIDTH = 2400
WIDEST, NARROWEST = 640, 240
GAP, HEADER, CAPTION = 6, 34, 22
INK, PAPER = (230, 230, 230), 24


def case_sheet(cases: Sequence[Case]) -> Pixels:
    """H W 3 uint8: the cases as rows, in colour; fused images in grey are given the visible image's colours."""
    labels = ("thermal", "visible", *cases[0].fused)
    rows = [
        [case.thermal, case.visible, *(coloured(one, case.visible) for one in case.fused.values())] for case in cases
    ]
    return contact_sheet(rows, labels, [case.name for case in cases])


def contact_sheet(rows: Sequence[Sequence[Pixels]], labels: Sequence[str], names: Sequence[str] = ()) -> Pixels:
    """H W 3 uint8 (red first) of rows of H W or H W 3 uint8 images, one label over each column, a name over each row.

    All images are scaled to one width. Raises ValueError where a row is not as long as `labels`.
    """
    if not rows or any(len(row) != len(labels) for row in rows):
        raise ValueError(f"a contact sheet needs rows of {len(labels)} images: {', '.join(labels)}")
    width = int(np.clip(SHEET_WIDTH // len(labels) - GAP, NARROWEST, WIDEST))
    sheet = [_text_line(labels, width, HEADER, 0.7)]
    for index, row in enumerate(rows):
        if names:
            sheet.append(_text_line([names[index], *[""] * (len(labels) - 1)], width, CAPTION, 0.45))
        sheet.append(_line([_scaled(image, width) for image in row]))
    return np.vstack(sheet)


def coloured(fused: Pixels, visible: Pixels) -> Pixels:
    """H W fused in the colours of H W 3 visible, as the runtime colours it; H W 3 stays as it is."""
    if fused.ndim == 3:
        return fused
    change = fused.astype(np.int16) - as_grey(visible)
    return np.clip(visible + change[..., None], 0, 255).astype(np.uint8)


def _scaled(image: Pixels, width: int) -> Pixels:
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(colour, (width, height), interpolation=method)


def _line(images: Sequence[Pixels]) -> Pixels:
    height = max(image.shape[0] for image in images) + GAP
    return np.hstack([_on_paper(image, height, image.shape[1] + GAP) for image in images])


def _text_line(texts: Sequence[str], width: int, height: int, size: float) -> Pixels:
    return np.hstack([_text(text, width + GAP, height, size) for text in texts])


def _text(text: str, width: int, height: int, size: float) -> Pixels:
    """The text on paper, smaller where it would not fit."""
    (long, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    size *= min(1.0, (width - 8) / max(long, 1))
    paper = np.full((height, width, 3), PAPER, np.uint8)
    return cv2.putText(paper, text, (4, height - 8), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)


def _on_paper(image: Pixels, height: int, width: int) -> Pixels:
    paper = np.full((height, width, 3), PAPER, np.uint8)
    paper[: image.shape[0], : image.shape[1]] = image
    return paper
