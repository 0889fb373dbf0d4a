"""Pictures for people: thermal | visible | fused side by side with a caption under each. Knows nothing of streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError
from streamfuse.frames import FusedFrame, Pixels

CAPTION_HEIGHT = 34
GAP = 6
INK, PAPER = (230, 230, 230), 24


def triptych(fused: FusedFrame, captions: Sequence[str] = ("thermal (aligned)", "visible", "fused")) -> Pixels:
    """H' W' 3 uint8 (red first): the layers `thermal` and `visible` of `fused` and its own pixels."""
    images = [fused.layers["thermal"], fused.layers["visible"], fused.pixels]
    panels = [_panel(_in_colour(image), caption) for image, caption in zip(images, captions, strict=True)]
    gap = np.full((panels[0].shape[0], GAP, 3), PAPER, np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


def write_image(path: Path, pixels: Pixels) -> None:
    """Write RGB or grey pixels by the path's suffix. Raises UserError where the folder cannot be written."""
    stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), np.ascontiguousarray(stored))
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be made: {error.strerror}") from error
    except cv2.error as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    if not written:
        raise UserError(f"{path} cannot be written; is the folder writable and the disk not full?")


def _in_colour(image: Pixels) -> Pixels:
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _panel(image: Pixels, caption: str) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    panel = np.full((height + CAPTION_HEIGHT, width, 3), PAPER, np.uint8)
    panel[:height] = image
    cv2.putText(panel, caption, (8, height + 23), cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return panel
