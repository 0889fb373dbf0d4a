"""Does a rig fit a pair of pictures better than the same rig the wrong way round? The classic mistake of an import.

Tells two opposite poses apart, nothing finer: how good a rig is, is for a calibration to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.gradient import log_gradient
from streamfuse.errors import UserError
from streamfuse.frames import Modality, Pixels, Size
from streamfuse.lens import Floats, Pose
from streamfuse.rig import Calibration, Rig
from streamfuse.warp import build_warp, output_grid, parallax_px_per_inverse_m

Image = NDArray[np.float32]

WIDTH = 320  # of the grid on which both pictures are compared
NEAREST_M = 1.0
STEP_PX = 1.0  # of parallax between two depths that are tried
MOST_DEPTHS = 64
SOFT_PX = 1.5  # what the comparison forgives
LEAST_SHARE = 0.2  # of the RGB image that the thermal one must cover
LEAST_LIKENESS, LEAST_LEAD = 0.1, 0.04  # see docs/registration.md for how they were found


@dataclass(frozen=True, slots=True)
class Fit:
    """Likeness (correlation of edges, -1 to 1) at the depth that suits each: of the rig, and of its inverse."""

    likeness: float
    inverted: float
    verdict: Literal["fits", "inverted", "undecided"]

    def in_words(self) -> str:
        figures = f"edges agree by {self.likeness:.2f}, with the inverse pose by {self.inverted:.2f}"
        if self.verdict == "fits":
            return f"the pictures fit the pose ({figures})"
        if self.verdict == "inverted":
            return (
                f"the pictures fit the INVERSE pose better ({figures}): the transform was given the wrong way round, "
                "or --thermal names the wrong camera"
            )
        return f"the pictures cannot tell the pose from its inverse ({figures}); take a scene with edges in both"


def read_pair(rig: Rig, thermal: Path, rgb: Path) -> tuple[Pixels, Pixels]:
    """Both pictures. Raises UserError where one cannot be read or is not of the rig's size."""
    from streamfuse.sources.recording_folder import open_folder

    pictures: list[Pixels] = []
    for path, modality, size in ((thermal, Modality.THERMAL, rig.thermal_size), (rgb, Modality.RGB, rig.rgb_size)):
        if not path.is_file():
            raise UserError(f"{path}: no such picture; give one thermal and one RGB picture of the same moment")
        picture = next(iter(open_folder(path, modality).read()))
        if not isinstance(picture, np.ndarray):
            raise UserError(f"{path}: cannot be read: {picture.detail}")
        found = (picture.shape[1], picture.shape[0])
        if found != size:
            raise UserError(
                f"{path}: the picture has {found[0]}x{found[1]}, the {modality.value} lens was measured on "
                f"{size[0]}x{size[1]}: give a picture of that size, or the calibration of this one"
            )
        pictures.append(picture)
    return pictures[0], pictures[1]


def fit_to(rig: Rig, thermal: Pixels, rgb: Pixels) -> Fit:
    """Compare a full rig and its inverse on one pair (thermal H W, RGB H W 3) of the rig's sizes."""
    pose = rig.rgb_from_thermal
    if pose is None:
        raise UserError(f"rig {rig.name} is planar: it has no pose that could be inverted")
    size = (WIDTH, max(16, round(WIDTH * rig.rgb_size[1] / rig.rgb_size[0])))
    grey = cast(Pixels, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    seen = _edges(cast(Image, cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)))
    likeness = _best(rig, thermal, seen, size)
    inverted = _best(rig.model_copy(update={"rgb_from_thermal": _inverse(pose)}), thermal, seen, size)
    lead = likeness - inverted
    if max(likeness, inverted) < LEAST_LIKENESS or abs(lead) < LEAST_LEAD:
        return Fit(likeness, inverted, "undecided")
    return Fit(likeness, inverted, "fits" if lead > 0 else "inverted")


def marked(rig: Rig, fit: Fit) -> Rig:
    """The rig, provisional where the pictures speak against it."""
    if fit.verdict != "inverted":
        return rig
    record = rig.calibration or Calibration()
    record = record.model_copy(update={"refused": (*record.refused, fit.in_words())})
    return rig.model_copy(update={"provisional": True, "calibration": record})


def _best(rig: Rig, thermal: Pixels, seen: Image, size: Size) -> float:
    """The likeness at whichever depth suits it."""
    grid = output_grid(rig.rgb_size, size, "stretch")
    parallax = parallax_px_per_inverse_m(rig, grid) or (0.0, 0.0)
    count = min(MOST_DEPTHS, 2 + round(float(np.hypot(*parallax)) / NEAREST_M / STEP_PX))
    likenesses: list[float] = []
    for inverse_m in np.linspace(0, 1 / NEAREST_M, count).tolist():
        warp = build_warp(rig, grid, 1 / inverse_m if inverse_m else float("inf"), calibration="", revision=0)
        if warp.valid.mean() < LEAST_SHARE:
            continue
        aligned = cv2.remap(thermal.astype(np.float32), warp.thermal_from_output, cast(Any, None), cv2.INTER_LINEAR)
        inside = cv2.erode(warp.valid.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        likenesses.append(_correlation(_edges(cast(Image, aligned))[inside], seen[inside]))
    return max(likenesses, default=-1.0)


def _edges(image: Image) -> Image:
    return cast(Image, cv2.GaussianBlur(log_gradient(image), (0, 0), SOFT_PX))


def _correlation(one: Image, other: Image) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else 0.0


def _inverse(pose: Pose) -> Pose:
    rotation: Floats = np.transpose(pose.rotation_matrix)
    move = -rotation @ pose.translation_vector
    return Pose.model_validate({"rotation": rotation.tolist(), "translation": move.tolist()})
