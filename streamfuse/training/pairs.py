"""Reads the registered pairs of data sets, and keeps whole scenes apart for validation.

Knows nothing of crops, networks or losses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError
from streamfuse.frames import Modality, Pixels
from streamfuse.sources.pictures import Unreadable
from streamfuse.sources.recording_folder import FolderPictures
from streamfuse.thermal import ToneMapper
from streamfuse.training.layouts import PairFiles, find_pairs
from streamfuse.training.settings import FolderConfig, SetConfig

NEIGHBOURS = 8
"""So many pairs in a row count as one scene where a set does not say how to tell: neighbours in name are in time."""
GIB = 2**30

Grey = NDArray[np.uint8]
Images = tuple[Grey, Grey]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One registered pair. `scene` is unique over all sets; `kept` are the images, where memory has room for them."""

    name: str
    scene: str
    share: float
    files: PairFiles
    kept: Images | None

    def images(self) -> Images:
        """Thermal and visible (BT.601 luma), both H W uint8."""
        return self.kept or read_pair(self.files)


def load_sets(root: Path, sets: Sequence[SetConfig], *, memory_gib: float = 8.0) -> list[Pair]:
    """Every pair of every set, each read once.

    Raises UserError: missing or empty folders, images without a partner, unreadable images, sizes that differ.
    """
    room = memory_gib * GIB
    pairs: list[Pair] = []
    for one in sets:
        files = find_pairs(root, one)
        for file, scene in zip(files, _scenes(files, one), strict=True):
            images = read_pair(file)
            room -= sum(image.nbytes for image in images)
            pairs.append(Pair(file.name, f"{one.folder}/{scene}", one.share, file, images if room >= 0 else None))
    return pairs


def load_test(root: Path, settings: FolderConfig, at_most: int | None = None) -> list[Pair]:
    """Pairs of a folder to be judged on, evenly chosen where there are more than `at_most`; images are read later."""
    files = find_pairs(root, settings)
    return [Pair(file.name, settings.folder, 1.0, file, None) for file in evenly(files, at_most)]


def split_scenes(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs: of each set about `share` of the scenes (at least one of two) are held out."""
    chooser = np.random.default_rng(seed)
    held: set[str] = set()
    for one in dict.fromkeys(set_of(pair) for pair in pairs):
        scenes = list(dict.fromkeys(pair.scene for pair in pairs if set_of(pair) == one))
        count = max(1, round(share * len(scenes))) if len(scenes) > 1 else 0
        held |= {scenes[index] for index in chooser.permutation(len(scenes))[:count]}
    training = [pair for pair in pairs if pair.scene not in held]
    validation = [pair for pair in pairs if pair.scene in held]
    if not validation:
        raise UserError(
            f"all {len(pairs)} pairs show one scene each set; validation needs a set with two or more scenes"
        )
    return training, validation


def set_of(pair: Pair) -> str:
    """The folder of the set that a pair belongs to."""
    return pair.scene.rsplit("/", 1)[0]


def evenly(items: Sequence[Item], at_most: int | None) -> list[Item]:
    """All of `items`, or `at_most` of them at equal distances."""
    if at_most is None or at_most >= len(items):
        return list(items)
    return [items[index * len(items) // at_most] for index in range(at_most)]


def read_pair(files: PairFiles) -> Images:
    """Thermal and visible, both H W uint8. Raises UserError where one cannot be read, or sizes differ."""
    hot, seen = _read_thermal(files.thermal), _read_visible(files.visible)
    if hot.shape != seen.shape:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (hot, seen)]
        raise UserError(
            f"{files.thermal} is {sizes[0]}, {files.visible} is {sizes[1]}; training needs registered pairs of one size"
        )
    return hot, seen


def _scenes(files: Sequence[PairFiles], settings: SetConfig) -> list[str]:
    """Equal names = one scene: by the set's expression, by part where it comes in parts (clips), else neighbours."""
    if settings.scene is not None:
        return _matched_scenes([file.name for file in files], settings.scene, settings.folder)
    if len({file.part for file in files}) > 1:
        return [file.part.replace("/", "-") for file in files]
    return [f"{index // NEIGHBOURS:04d}" for index in range(len(files))]


def _matched_scenes(stems: Sequence[str], scene: str, folder: str) -> list[str]:
    try:
        pattern = re.compile(scene)
    except re.error as error:
        raise UserError(f"set {folder}: `scene` is no regular expression: {error}") from error
    found = [pattern.search(stem) for stem in stems]
    return [
        "-".join(match.groups() or (match[0],)) if match else stem for match, stem in zip(found, stems, strict=True)
    ]


def _read_thermal(path: Path) -> Grey:
    """Thermal as the network sees it at runtime: sensor counts go through the same tone curve."""
    grey = _read(path, Modality.THERMAL)
    if grey.dtype == np.uint8:
        return cast(Grey, grey)
    return np.rint(ToneMapper(time_constant_s=0).update(grey, 0).apply(grey) * 255).astype(np.uint8)


def _read_visible(path: Path) -> Grey:
    return cast(Grey, cv2.cvtColor(_read(path, Modality.RGB), cv2.COLOR_RGB2GRAY))


def _read(path: Path, modality: Modality) -> Pixels:
    image = next(FolderPictures(path, modality, (path,)).read())
    if isinstance(image, Unreadable):
        raise UserError(f"{path}: cannot be read as an 8 or 16 bit image: {image.detail}")
    return image
