"""Fused sequences: does the picture hold still where the scene does, and follow where it moves?

WE      warp error: mean |F(t) - F(t-1) moved along the flow|, where the flow is sure of itself. Grey levels.
dMean   mean |change of the frame's mean brightness| per step. Grey levels. Flicker of the whole picture.
flowD   the warp error over all pixels, occluded ones too, as TemCoCo and VideoFusion score it; their flow network and
        scale differ, so only figures of one table compare.

The flow is taken on the visible frames, never on the fused ones, which blur would favour: DIS optical flow, medium
preset (Kroeger, Timofte, Dai and Van Gool, "Fast optical flow using dense inverse search", ECCV 2016). Plain averaging
wins WE alone, since it halves every contrast: read all three beside the visible camera's own row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.evaluation.grey import Grey

COLUMNS = ("WE", "dMean", "flowD")
SURE_PX = 1.0
"""Forward and backward flow may differ by less than this for a pixel to count in WE."""
LEAST_SIDE = 16

Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """From one frame to the next: where each pixel of the later one was (x and y, H W), and where that is sure."""

    x: Field
    y: Field
    sure: NDArray[np.bool_]


def sequence_scores(frames: Iterable[tuple[Grey, Mapping[str, Grey]]]) -> dict[str, list[dict[str, float]]]:
    """Figures of every step for each label, from frames in order: (visible, {label: fused}), all H W uint8.

    One row fewer than frames. Raises ValueError where the size changes or is under 16 x 16.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    before: tuple[Grey, Mapping[str, Grey]] | None = None
    for visible, fused in frames:
        if before:
            moved = motion(before[0], visible)
            for label, image in fused.items():
                rows.setdefault(label, []).append(step_scores(before[1][label], image, moved))
        before = visible, fused
    return rows


def step_scores(earlier: Grey, later: Grey, moved: Motion) -> dict[str, float]:
    """The three figures of one step. WE is nan where the flow is sure nowhere."""
    came = cv2.remap(earlier.astype(np.float32), moved.x, moved.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    differences = np.abs(later - came)
    sure = float(differences[moved.sure].mean()) if moved.sure.any() else float("nan")
    change = abs(float(later.mean()) - float(earlier.mean()))
    return {"WE": sure, "dMean": change, "flowD": float(differences.mean())}


def motion(earlier: Grey, later: Grey) -> Motion:
    """DIS flow between two visible frames, both ways."""
    if earlier.shape != later.shape:
        raise ValueError(f"the frames of a sequence have one size, found {earlier.shape} and then {later.shape}")
    if min(later.shape) < LEAST_SIDE:
        raise ValueError(f"optical flow needs frames of {LEAST_SIDE} pixels a side or more, found {later.shape}")
    back, forth = _flow(later, earlier), _flow(earlier, later)
    height, width = later.shape
    x = back[..., 0] + np.arange(width, dtype=np.float32)
    y = back[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    returned = cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return Motion(x, y, (np.hypot(*np.moveaxis(back + returned, 2, 0)) < SURE_PX) & inside)


def _flow(one: Grey, other: Grey) -> Field:
    """H W 2: where each pixel of `one` lies in `other`, relative to itself."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return cast(Field, method.calc(one, other, cast(Field, None)))
