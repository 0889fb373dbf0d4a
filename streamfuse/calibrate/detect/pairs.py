"""Which images belong together: the thermal and the visible pictures of a calibration, paired by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError
from streamfuse.frames import Modality, Size
from streamfuse.sources.pairing import pair_by_names
from streamfuse.sources.recording_folder import open_folder

NAMES = {
    Modality.THERMAL: ("thermal", "ir", "lwir", "tir", "infrared"),
    Modality.RGB: ("rgb", "visible", "vis", "vi", "colour", "color"),
}
"""Names of the two folders inside one, in the order of preference."""


@dataclass(frozen=True, slots=True)
class ImagePair:
    """One pose: its name and its images, None where a camera has none."""

    name: str
    thermal: Path | None
    rgb: Path | None


@dataclass(frozen=True, slots=True)
class Paired:
    pairs: tuple[ImagePair, ...]
    warnings: tuple[str, ...]


def find_pairs(folders: Sequence[Path]) -> Paired:
    """Pairs in two folders (thermal, visible), or in one that holds both. Raises UserError."""
    if len(folders) == 1:
        folders = [_inside(folders[0], modality) for modality in (Modality.THERMAL, Modality.RGB)]
    if len(folders) != 2:
        raise UserError(f"{len(folders)} folders given; give the thermal and the visible one, or one that holds both")
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give a folder of images for each camera")
    thermal, rgb = open_folder(folders[0], Modality.THERMAL), open_folder(folders[1], Modality.RGB)
    ranks = pair_by_names(thermal.names, rgb.names)
    by_rank = (dict(zip(ranks.thermal, thermal.files, strict=True)), dict(zip(ranks.rgb, rgb.files, strict=True)))
    pairs: list[ImagePair] = []
    for rank in sorted(by_rank[0].keys() | by_rank[1].keys()):
        both = by_rank[0].get(rank), by_rank[1].get(rank)
        pairs.append(ImagePair(next(file for file in both if file).stem, *both))
    return Paired(tuple(pairs), ranks.warnings)


def read_image(file: Path) -> NDArray[Any]:
    """H W uint8 or uint16, or H W 3 uint8 red first, as recorded: colours are kept. Raises UserError."""
    image = cast("NDArray[Any] | None", cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
    if image is None:
        raise UserError(f"{file}: cannot be read as an image; take it away or replace it")
    if image.ndim == 3 and image.shape[2] > 1:
        image = image[:, :, :3] if image.dtype == np.uint8 else (image[:, :, :3] >> 8).astype(np.uint8)
        return np.ascontiguousarray(image[:, :, ::-1])
    return image.reshape(image.shape[:2])


def check_size(file: Path, size: Size, first: tuple[Path, Size] | None) -> None:
    """Raises UserError where the images of one camera differ in size."""
    if first and first[1] != size:
        raise UserError(
            f"images of two sizes: {first[0]} is {first[1][0]}x{first[1][1]}, {file} is {size[0]}x{size[1]}; "
            "a lens is measured at one size: keep those as the camera delivers them"
        )


def _inside(folder: Path, modality: Modality) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the thermal and the visible folder, or one that holds both")
    for name in NAMES[modality]:
        if (folder / name).is_dir():
            return folder / name
    wanted = ", ".join(NAMES[modality])
    raise UserError(f"{folder}: no {modality.value} folder in it (looked for {wanted}); give both folders by name")
