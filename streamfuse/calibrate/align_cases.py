"""Pairs whose true alignment is known: published transforms, twins that were registered by hand, and random warps.

Data folder: `warped_gt/NAME/{moving,fixed}.png, gt.json` (moving = thermal), `roadscene_multires/{ir_full,vis_hr}` with
the same stems registered in `roadscene` or `benchmark/RoadScene`, and registered pairs `SET/{ir,vis}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.align_at import Box
from streamfuse.calibrate.align_fields import Floats
from streamfuse.errors import UserError

REGISTERED = ("roadscene", "msrs", "m3fd", "mfnet", "vifb", "llvip", "tno", "kaist")
WIDTH = 640
HANDFUL = 4
NEAR = {
    "FLIR_00006": Box(845, 395, 559, 560),
    "FLIR_04726": Box(0, 375, 365, 400),
    "FLIR_05027": Box(925, 205, 270, 695),
    "FLIR_05872": Box(1000, 265, 428, 310),
}
"""Twins with two depths, and a box around the near thing: the car ahead, the car, the walkers and road sign, the truck.
Drawn by eye on the visible images, knowing on what the twin lies."""
SEED = 20261121
Image = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Undone:
    """A registered pair; `visible` and `thermal` (3x3): case_from_registered and registered_from_case of its images."""

    pair: tuple[Image, Image]
    visible: Floats
    thermal: Floats

    @property
    def truth(self) -> Floats:
        matrix = self.visible @ self.thermal
        return matrix / matrix[2, 2]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """`truth`: rgb_from_thermal. `unit_px`: RGB pixels per pixel in which errors are told: those of the twin, or of
    the same image 640 pixels wide where it is wider. `undone`: the registered pair (a warp's source, or the twin) and
    what lies between its images and those of the case. `at`: the depth that is meant.
    """

    kind: str
    name: str
    pairs: tuple[tuple[Image, Image], ...]
    truth: Floats
    unit_px: float = 1.0
    undone: Undone | None = None
    at: Box | None = None


Open = Callable[[], Case]


def warped_pairs(data: Path) -> Iterator[tuple[str, Open]]:
    """The thermal and visible pairs of `warped_gt` (its IO* are satellite images, not thermal)."""
    for folder in sorted((data / "warped_gt").glob("VIS_IR*")):

        def opened(folder: Path = folder) -> Case:
            matrix = np.array(json.loads((folder / "gt.json").read_text())["moving_to_fixed_3x3_column_vector"])
            pair = _grey(folder / "moving.png"), _colour(folder / "fixed.png")
            return Case("warped_gt", folder.name, (pair,), matrix / matrix[2, 2])

        yield folder.name, opened


def twin_pairs(data: Path) -> Iterator[tuple[str, Open]]:
    """Full thermal images and larger visible crops; the truth goes through the registered twin.

    Thermal to its registered twin by SIFT and MAGSAC (0.3 to 0.4 px RMS, one spectrum), visible twin to its larger
    original by their sizes. Errors count in pixels of the twin.
    """
    for file in sorted((data / "roadscene_multires" / "ir_full").glob("*.png")):

        def opened(file: Path = file) -> Case:
            twins = [data / name / "ir" / f"{file.stem}{end}" for name in TWINS for end in (".jpg", ".png", ".bmp")]
            found = [twin for twin in twins if twin.is_file()]
            if not found:
                raise UserError(f"{file.stem}: no registered twin in {' or '.join(TWINS)} below {data}")
            thermal, twin = _grey(file), _grey(found[0])
            visible = _colour(data / "roadscene_multires" / "vis_hr" / f"{file.stem}.jpg")
            x, y = visible.shape[1] / twin.shape[1], visible.shape[0] / twin.shape[0]
            larger = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])
            undone = Undone((twin, _twin_visible(found[0])), larger, _within_spectrum(thermal, twin))
            return Case("twins", file.stem, ((thermal, visible),), undone.truth, math.sqrt(x * y), undone)

        yield file.stem, opened


TWINS = ("roadscene", "benchmark/RoadScene")


def near_twins(data: Path) -> Iterator[tuple[str, Open]]:
    """The twins of `NEAR` once more, with their boxes; the own answer of the whole image is of another depth."""
    for name, opened in twin_pairs(data):
        if name in NEAR:

            def boxed(opened: Open = opened, box: Box = NEAR[name]) -> Case:
                return replace(opened(), kind="twins, --at", undone=None, at=box)

            yield name, boxed


def random_warps(data: Path, count: int, *, tuning: bool = False) -> Iterator[tuple[str, Open]]:
    """Registered pairs, the thermal one seen from elsewhere: shift up to 15 % of its sides, 10 degrees, a scale of 0.7
    to 1.4, 4 % perspective; in half of them the visible image is a part of itself. The thermal image is cut so that
    it has no empty border. The sets take turns; their files sorted by name, the second half is taken (`tuning`: first).
    """
    sets = [files for files in (_pairs_of(data / name, tuning) for name in REGISTERED) if files]
    if count and not sets:
        raise UserError(f"{data}: no registered pairs; expected {', '.join(REGISTERED)} with folders ir and vis")
    for index in range(count):
        files = sets[index % len(sets)]
        draw = np.random.default_rng((SEED, int(tuning), index))
        thermal, visible = files[int(draw.integers(len(files)))]
        name = f"{index:03d} {thermal.parent.parent.name} {thermal.stem}"

        def opened(thermal: Path = thermal, visible: Path = visible, name: str = name, draw: Any = draw) -> Case:
            moved, undone = warped(_grey(thermal), _colour(visible), draw)
            unit_px = max(1.0, moved[1].shape[1] / WIDTH)
            return Case("random warps", name, (moved,), undone.truth, unit_px, undone)

        yield name, opened


def handfuls(data: Path, count: int, pairs: int) -> Iterator[tuple[str, Open]]:
    """MSRS pairs, all of one rig, in handfuls that share one random warp; with fewer `pairs`, the first of the same."""
    files = _pairs_of(data / "msrs", tuning=False)
    for index in range(count if len(files) >= HANDFUL else 0):
        picks = np.random.default_rng((SEED, 2, index)).choice(len(files), HANDFUL, replace=False)
        chosen = [files[int(pick)] for pick in picks[:pairs]]
        name = f"{index:03d} {chosen[0][0].stem}"

        def opened(chosen: Sequence[tuple[Path, Path]] = chosen, name: str = name, index: int = index) -> Case:
            made = [
                warped(_grey(thermal), _colour(visible), np.random.default_rng((SEED, 3, index)))  # one warp for all
                for thermal, visible in chosen
            ]
            return Case(f"MSRS, {pairs} of a handful", name, tuple(moved for moved, _ in made), made[0][1].truth)

        yield name, opened


def warped(thermal: Image, visible: Image, draw: np.random.Generator) -> tuple[tuple[Image, Image], Undone]:
    """One random warp of a registered pair of one size: the thermal and visible image, and how they came about."""
    height, width = thermal.shape
    scale, turn = math.exp(draw.uniform(math.log(0.7), math.log(1.4))), math.radians(draw.uniform(-10, 10))
    shift = draw.uniform(-0.15, 0.15, 2) * (width, height)
    tilt = draw.uniform(-0.04, 0.04, 2) / width
    middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    change = middle @ np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [*tilt, 1]]) @ np.linalg.inv(middle)
    source = cast(Image, cv2.GaussianBlur(thermal, (0, 0), 0.5 / scale)) if scale < 1 else thermal
    seen = cv2.warpPerspective(np.ones((height, width), np.uint8), change, (width, height), flags=cv2.INTER_NEAREST)
    left, top, right, bottom = _full_part(cv2.erode(seen, np.ones((5, 5), np.uint8), borderValue=1))
    other = cast(Image, cv2.warpPerspective(source, change, (width, height)))[top:bottom, left:right]
    x, y = 0, 0
    part: Image = visible
    if draw.random() < 0.5:
        size = int(width * draw.uniform(0.75, 1)), int(height * draw.uniform(0.75, 1))
        free = width - size[0], height - size[1]
        x, y = (int(cast(int, draw.integers(0, most + 1))) for most in free)
        part = visible[y : y + size[1], x : x + size[0]]
    undone = Undone((thermal, visible), _moved(-x, -y), np.linalg.inv(change) @ _moved(left, top))
    return (np.ascontiguousarray(other), np.ascontiguousarray(part)), undone


def _moved(x: float, y: float) -> Floats:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def _full_part(seen: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a large rectangle without unseen pixels: the worst side gives way each time."""
    top, bottom, left, right = 0, seen.shape[0], 0, seen.shape[1]
    while bottom - top > 1 and right - left > 1:
        part = seen[top:bottom, left:right] == 0
        unseen = [float(side.mean()) for side in (part[0], part[-1], part[:, 0], part[:, -1])]
        worst = int(np.argmax(unseen))
        if unseen[worst] == 0:
            break
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return left, top, right, bottom


def _within_spectrum(one: Image, other: Image) -> Floats:
    """Homography between two images of one camera."""
    sift = cv2.SIFT.create(4000, contrastThreshold=0.01)
    (points, words), (onto, other_words) = (sift.detectAndCompute(image, cast(Any, None)) for image in (one, other))
    matches = [pair for pair in cv2.BFMatcher().knnMatch(words, other_words, k=2) if len(pair) == 2]
    good = [first for first, second in matches if first.distance < 0.8 * second.distance]
    source = np.array([points[match.queryIdx].pt for match in good])
    target = np.array([onto[match.trainIdx].pt for match in good])
    matrix, _ = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 1.0, maxIters=10_000, confidence=0.9999)
    return cast(Floats, matrix)


def _twin_visible(thermal: Path) -> Image:
    stem = next((thermal.parents[1] / "vis").glob(f"{thermal.stem}.*"))
    return _colour(stem)


def _pairs_of(folder: Path, tuning: bool) -> Sequence[tuple[Path, Path]]:
    thermal = sorted((folder / "ir").glob("*"))
    chosen = thermal[: len(thermal) // 2] if tuning else thermal[len(thermal) // 2 :]
    visible = {file.stem: file for file in (folder / "vis").glob("*")}
    return [(file, visible[file.stem]) for file in chosen if file.stem in visible]


def _grey(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError(f"{path}: cannot be read as an image")
    return np.asarray(image[..., 0] if image.ndim == 3 else image)


def _colour(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path}: cannot be read as an image")
    return np.ascontiguousarray(image[..., ::-1])
