"""Finds registered pairs on disk, reads them, and keeps whole scenes apart for validation.

Knows nothing of crops, networks or losses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError
from streamfuse.frames import Pixels
from streamfuse.sources.pairing import pair_by_names
from streamfuse.sources.recording_folder import natural_key
from streamfuse.thermal import ToneMapper
from streamfuse.training.settings import SetConfig

THERMAL_FOLDERS = ("ir", "infrared", "thermal", "lwir", "tir", "inf", "i")
VISIBLE_FOLDERS = ("vis", "visible", "vi", "rgb", "visual", "v")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
NEIGHBOURS = 8
"""So many pairs in a row count as one scene where a set does not say how to tell: neighbours in name are in time."""

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One registered pair: both H W uint8, visible as BT.601 luma. `scene` is unique over all sets."""

    name: str
    scene: str
    share: float
    thermal: Grey
    visible: Grey


def load_sets(root: Path, sets: Sequence[SetConfig]) -> list[Pair]:
    """Every pair of every set. Raises UserError: missing or empty folders, unreadable images, sizes that differ."""
    return [pair for one in sets for pair in load_set(root / one.folder, one)]


def load_set(folder: Path, settings: SetConfig) -> list[Pair]:
    files = _chosen(find_pairs(folder), folder, settings)
    scenes = _scenes([thermal.stem for thermal, _ in files], settings)
    return [
        _read_pair(thermal, visible, f"{settings.folder}/{scene}", settings.share)
        for (thermal, visible), scene in zip(files, scenes, strict=True)
    ]


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Thermal and visible files that belong together, in natural order of their names."""
    thermal, visible = (_images(folder, names) for names in (THERMAL_FOLDERS, VISIBLE_FOLDERS))
    ranks = pair_by_names([file.stem for file in thermal], [file.stem for file in visible])
    partner = dict(zip(ranks.rgb, visible, strict=True))
    return [(file, partner[rank]) for rank, file in zip(ranks.thermal, thermal, strict=True) if rank in partner]


def split_scenes(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs: of each set about `share` of the scenes (at least one of two) are held out."""
    chooser = np.random.default_rng(seed)
    held: set[str] = set()
    for one in dict.fromkeys(pair.scene.rsplit("/", 1)[0] for pair in pairs):
        scenes = list(dict.fromkeys(pair.scene for pair in pairs if pair.scene.rsplit("/", 1)[0] == one))
        count = max(1, round(share * len(scenes))) if len(scenes) > 1 else 0
        held |= {scenes[index] for index in chooser.permutation(len(scenes))[:count]}
    training = [pair for pair in pairs if pair.scene not in held]
    validation = [pair for pair in pairs if pair.scene in held]
    if not validation:
        raise UserError(
            f"all {len(pairs)} pairs show one scene each set; validation needs a set with two or more scenes"
        )
    return training, validation


def _images(folder: Path, names: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data set folder; name the folder that holds the sets with --data")
    here = [child for child in sorted(folder.iterdir()) if child.is_dir() and child.name.lower() in names]
    if not here:
        found = ", ".join(sorted(child.name for child in folder.iterdir())[:8]) or "nothing"
        raise UserError(f"{folder}: needs a folder called one of {', '.join(names)}; found {found}")
    images = [file for file in here[0].iterdir() if file.suffix.lower() in SUFFIXES]
    if not images:
        raise UserError(f"{here[0]}: holds no images ({', '.join(sorted(SUFFIXES))})")
    return sorted(images, key=lambda file: natural_key(file.stem))


def _chosen(files: list[tuple[Path, Path]], folder: Path, settings: SetConfig) -> list[tuple[Path, Path]]:
    """Without what a set's list leaves out; every name on the list must be there."""
    if settings.only is None:
        return files
    path = folder / settings.only
    if not path.is_file():
        raise UserError(f"{path}: the set {settings.folder} names this list, but it is not there")
    wanted = set(path.read_text(encoding="utf-8").split())
    missing = wanted - {thermal.stem for thermal, _ in files}
    if missing:
        raise UserError(f"{path}: names {len(missing)} pairs that are not in {folder}, e.g. {min(missing)}")
    return [(thermal, visible) for thermal, visible in files if thermal.stem in wanted]


def _scenes(stems: Sequence[str], settings: SetConfig) -> list[str]:
    if settings.scene is None:
        return [f"{index // NEIGHBOURS:04d}" for index in range(len(stems))]
    try:
        pattern = re.compile(settings.scene)
    except re.error as error:
        raise UserError(f"set {settings.folder}: `scene` is no regular expression: {error}") from error
    found = [pattern.search(stem) for stem in stems]
    return [
        "-".join(match.groups() or (match[0],)) if match else stem for match, stem in zip(found, stems, strict=True)
    ]


def _read_pair(thermal: Path, visible: Path, scene: str, share: float) -> Pair:
    hot, seen = _read_thermal(thermal), _read(visible, cv2.IMREAD_GRAYSCALE)
    if hot.shape != seen.shape:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (hot, seen)]
        raise UserError(
            f"{thermal} is {sizes[0]}, {visible} is {sizes[1]}; training needs registered pairs of one size"
        )
    return Pair(thermal.stem, scene, share, hot, seen)


def _read_thermal(path: Path) -> Grey:
    """Thermal as the network sees it at runtime: sensor counts go through the same tone curve."""
    image = _read(path, cv2.IMREAD_UNCHANGED)
    grey = image if image.ndim == 2 else image[..., :3].max(axis=2)
    if grey.dtype == np.uint8:
        return grey
    return np.rint(ToneMapper(time_constant_s=0).update(grey, 0).apply(grey) * 255).astype(np.uint8)


def _read(path: Path, flags: int) -> Pixels:
    image: Pixels | None = cv2.imread(str(path), flags)
    if image is None or not (image.dtype == np.uint8 or image.dtype == np.uint16):
        raise UserError(f"{path}: cannot be read as an 8 or 16 bit image; is the file whole?")
    return image
