"""A pair laid over each other, as it was and as the rig puts it: squares of both in turn, thermal edges on visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from streamfuse.errors import UserError
from streamfuse.frames import Modality, Pixels, Size, WarpMap
from streamfuse.register import Registrar
from streamfuse.rig import Rig
from streamfuse.sources.pairing import pair_by_names
from streamfuse.sources.pictures import Unreadable
from streamfuse.sources.recording_folder import FolderPictures, open_folder
from streamfuse.thermal import ToneMapper

WIDEST = 840
SQUARES = 10
"""Of the checker, across."""
TINT = (1.0, 0.86, 0.66)
"""Thermal squares are warm, so that it is seen which is which."""
EDGE_COLOUR = (255, 130, 20)
EDGE_SHARE = 0.08
"""Of the pixels that are drawn as edges: the steepest."""
MOST_PAIRS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Thermal H W (uint8 or uint16) and visible H W 3 uint8 of one instant."""

    name: str
    thermal: Pixels
    visible: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """H W 3 uint8 each: the pair before (thermal stretched over the visible image) and after the rig's map."""

    name: str
    checker_before: Pixels
    checker_after: Pixels
    edges_before: Pixels
    edges_after: Pixels


def overlay(pair: Pair, rig: Rig, depth_m: float | None = None) -> Overlay:
    """Both kinds of overlay at the rig's working depth (or another). Raises UserError where the sizes do not fit."""
    sizes = _size(pair.thermal), _size(pair.visible)
    tone = ToneMapper("auto", time_constant_s=0).update(pair.thermal, 0)
    thermal = np.asarray(np.rint(tone.apply(pair.thermal) * 255), dtype=np.uint8)
    shown = _shown_size(sizes[1])
    visible = np.asarray(cv2.resize(pair.visible, shown, interpolation=cv2.INTER_AREA), np.uint8)
    before = Registrar(Rig.identity(*sizes), size=shown, fit="stretch").warp
    after = Registrar(rig, thermal_size=sizes[0], rgb_size=sizes[1], size=shown, fit="stretch", depth_m=depth_m).warp
    warped = [_warped(thermal, one) for one in (before, after)]
    checkers = [_checker(image, visible, one.valid) for image, one in zip(warped, (before, after), strict=True)]
    edges = [_edges(image, visible, one.valid) for image, one in zip(warped, (before, after), strict=True)]
    return Overlay(pair.name, *checkers, *edges)


def read_pairs(thermal: Path, visible: Path) -> list[Pair]:
    """A pair of images, or a few spread over two folders, paired by name. Raises UserError where none can be read."""
    for what, path in (("thermal", thermal), ("visible", visible)):
        if not path.exists():
            raise UserError(f"--pairs: {what} {path} does not exist; give two images or two folders")
    streams = open_folder(thermal, Modality.THERMAL), open_folder(visible, Modality.RGB)
    ranks = pair_by_names(streams[0].names, streams[1].names)
    common = sorted(set(ranks.thermal) & set(ranks.rgb))
    if not common:
        raise UserError(f"--pairs {thermal} {visible}: no image of the one belongs to one of the other by its name")
    shown = min(MOST_PAIRS, len(common))
    wanted = [common[round((place + 0.5) * len(common) / shown - 0.5)] for place in range(shown)]
    return [
        Pair(
            streams[1].names[ranks.rgb.index(rank)],
            _picture(streams[0], ranks.thermal.index(rank)),
            _picture(streams[1], ranks.rgb.index(rank)),
        )
        for rank in wanted
    ]


def _picture(stream: FolderPictures, index: int) -> Pixels:
    alone = FolderPictures(stream.files[index], stream.modality, (stream.files[index],))
    picture = next(alone.read())
    if isinstance(picture, Unreadable):
        raise UserError(f"--pairs: {stream.files[index]}: {picture.detail}")
    return picture


def _warped(image: Pixels, warp: WarpMap) -> Pixels:
    return np.asarray(cv2.remap(image, warp.thermal_from_output, cast(Any, None), cv2.INTER_LINEAR), dtype=np.uint8)


def _checker(thermal: Pixels, visible: Pixels, valid: Any) -> Pixels:
    height, width = thermal.shape
    side = max(8, width // SQUARES)
    rows, columns = np.indices((height, width)) // side
    warm = (thermal[..., None] * np.array(TINT)).astype(np.uint8)
    return np.where((((rows + columns) % 2 == 0) & valid)[..., None], warm, visible)


def _edges(thermal: Pixels, visible: Pixels, valid: Any) -> Pixels:
    """Crests of the steepest thermal gradients, over the visible image in grey and darkened."""
    smooth = cv2.GaussianBlur(thermal, (0, 0), 1.5).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    inside = cv2.erode(valid.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    steep = np.where(inside, cv2.magnitude(across, down), 0)
    high = float(np.quantile(steep[inside], 1 - EDGE_SHARE)) if inside.any() else 0.0
    crests = cv2.Canny(across.astype(np.int16), down.astype(np.int16), high / 2, max(high, 4.0), L2gradient=True) > 0
    grey = cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY)
    lines = cv2.dilate((crests & inside).astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
    drawn = np.repeat((grey * 0.6)[..., None], 3, axis=2).astype(np.uint8)
    drawn[lines] = EDGE_COLOUR
    return drawn


def _shown_size(size: Size) -> Size:
    factor = min(1.0, WIDEST / size[0])
    return round(size[0] * factor), max(1, round(size[1] * factor))


def _size(image: Pixels) -> Size:
    return image.shape[1], image.shape[0]


def named(overlay: Overlay) -> Sequence[tuple[str, Pixels]]:
    """Its four pictures with captions, in the order of the page."""
    return (
        ("before: squares of both in turn", overlay.checker_before),
        ("after: squares of both in turn", overlay.checker_after),
        ("before: thermal edges on visible", overlay.edges_before),
        ("after: thermal edges on visible", overlay.edges_after),
    )
