"""What to do next with the target in hand: pure state, fed with one view after the other.

    guide = Guide(target)
    advice = guide.see(view)      # advice.accepted: keep this pair; advice.say: what to do now

Keeps what was accepted; knows nothing of cameras, files or screens. The rule is that of `accept`: poses, corners, tilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamfuse.calibrate.accept import POSES, TILT_DEGREES, bare_corners
from streamfuse.calibrate.guide_pose import Box, Stands, common, shared, stands, whole
from streamfuse.calibrate.solve_checks import tilt_spread
from streamfuse.calibrate.solve_views import FEWEST_POINTS
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Floats, Indices, Sighting, View

State = Literal["frozen", "unseen", "moving", "blurred", "known", "accepted", "finished"]
STILL_PX = 0.5
"""Median distance of the target's points between successive views, in each camera, above which it moves."""
POOR = 0.6
"""Median quality below which a view is blurred or faint (as in `detect.folders`)."""
SAME_PLACE, SAME_TILT = 0.04, 8.0
"""A pose is known where its points lie this near (RMS, share of the image's diagonal) to an earlier one's, and the
planes differ by less than these degrees."""
LEAN, FURTHER = 12.0, 1.3  # degrees to each side, and farthest / nearest distance, which the advice asks for
LARGE = 0.45  # of the image's width: a target above this is sent away, below it is called nearer
CELLS = (4, 6)  # rows, columns of the coverage map
ROWS = ("top", "upper middle", "lower middle", "bottom")
COLUMNS = ("far left", "left", "middle left", "middle right", "right", "far right")
LEANS = (("left", 0, 1), ("right", 0, -1), ("top", 1, 1), ("bottom", 1, -1))
CAMERAS = ("thermal", "RGB")


@dataclass(frozen=True, slots=True)
class Advice:
    """What came of one view. `say`: in words, what is wrong or what to do next; `moved_px`, `quality`: of thermal and
    RGB, NaN where unknown."""

    state: State
    say: str
    moved_px: tuple[float, float] = (np.nan, np.nan)
    quality: tuple[float, float] = (np.nan, np.nan)

    @property
    def accepted(self) -> bool:
        return self.state in ("accepted", "finished")


@dataclass(frozen=True, slots=True, eq=False)
class _Pose:
    """An accepted view."""

    thermal: Sighting
    rgb: Sighting


class Guide:
    """Which poses of `target` are there, and which are wanted."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._poses: list[_Pose] = []
        self._last: View | None = None

    def see(self, view: View, other_size: tuple[int, int] | None = None, in_part: bool = False) -> Advice:
        """Judge the next view. `other_size`: of a board (columns, rows) that was there instead of the target;
        `in_part`: a camera saw too little of a board to tell which of its points are where.

        Accepted where both cameras saw the target sharply, it stood still since the view before, and no accepted view
        shows the same pose.
        """
        moved = _moved(self._last, view, "thermal"), _moved(self._last, view, "rgb")
        self._last = view
        quality = _quality(view.thermal), _quality(view.rgb)
        state, say = self._judged(view, moved, quality, other_size, in_part)
        return Advice(state, say, moved, quality)

    @property
    def poses(self) -> int:
        return len(self._poses)

    @property
    def finished(self) -> bool:
        enough = self.poses >= POSES and self.tilt_degrees >= TILT_DEGREES
        return enough and not any(self.bare.values())

    @property
    def tilt_degrees(self) -> float:
        """Spread of the tilts as the acceptance rule counts it, from an estimate of the focal length."""
        return tilt_spread(self._stands().rotations) if self._poses else 0.0

    @property
    def bare(self) -> dict[str, tuple[str, ...]]:
        """Corners of the shared part of each image ("thermal", "RGB") without a point."""
        return {camera: bare_corners(_pixels(seen), box) for camera, seen, box in self._seen()}

    def cells(self, camera: str) -> Indices:
        """4 6: how many accepted points lie in each cell of the part of this image that both cameras see."""
        found = {name: (seen, box) for name, seen, box in self._seen()}
        return _count(_pixels(found[camera][0]), found[camera][1]) if found else np.zeros(CELLS, np.intp)

    def now_in(self, camera: str) -> Indices:
        """As `cells`, of the newest view alone."""
        seen = self._last and (self._last.thermal if camera == "thermal" else self._last.rgb)
        if seen is None:
            return np.zeros(CELLS, np.intp)
        boxes = {name: box for name, _, box in self._seen()}
        return _count(seen.pixels, boxes.get(camera, whole(seen.size)))

    @property
    def wanted(self) -> str:
        """What to do next, in words."""
        if not self._poses:
            return "hold the target still where both cameras see it whole"
        for camera, corners in self.bare.items():
            if corners:
                return f"go to the {corners[0]} corner of the {camera} image"
        found = self._stands()
        if lean := _lean_wanted(found):
            return lean
        if found.distances.max() < FURTHER * found.distances.min():
            return "go farther away" if self._width() > LARGE else "come closer"
        if self.poses < POSES:
            return self._cell_wanted() or f"{POSES - self.poses} more poses, each at another place and tilt"
        return "tilt it more, by 20 to 40 degrees, in several places" if not self.finished else "enough: solve it"

    def _judged(
        self,
        view: View,
        moved: tuple[float, float],
        quality: tuple[float, float],
        other: tuple[int, int] | None,
        in_part: bool,
    ) -> tuple[State, str]:
        thermal, rgb = view.thermal, view.rgb
        if thermal is None or rgb is None:
            return "unseen", _unseen(thermal, rgb, self._target, other, in_part)
        for camera, seen in zip(CAMERAS, (thermal, rgb), strict=True):
            if (seen.quality > 0).sum() < FEWEST_POINTS:
                return "unseen", f"move more of the target into the {camera} image"
        if not all(one < STILL_PX for one in moved):  # unknown counts as moving
            return "moving", "hold still"
        for camera, sharp in zip(CAMERAS, quality, strict=True):
            if sharp < POOR:
                return "blurred", f"blurred or faint in the {camera} image: hold still, focus, raise the contrast"
        pose = _Pose(thermal, rgb)
        if self._known(pose):
            return "known", f"this pose is there already: {self.wanted}"
        self._poses.append(pose)
        return ("finished" if self.finished else "accepted"), self.wanted

    def _known(self, pose: _Pose) -> bool:
        if not self._poses:
            return False
        close_px = SAME_PLACE * float(np.hypot(*pose.rgb.size))
        apart = [_apart(one.rgb, pose.rgb) for one in self._poses]
        near = np.array([bool(len(one)) and float(np.sqrt((one**2).mean())) < close_px for one in apart])
        normals = stands(self._target, [one.rgb for one in (*self._poses, pose)]).rotations[:, :, 2]
        turned = np.degrees(np.arccos(np.clip(normals[:-1] @ normals[-1], -1, 1)))
        return bool((near & (turned < SAME_TILT)).any())

    def _stands(self) -> Stands:
        return stands(self._target, [one.rgb for one in self._poses])

    def _seen(self) -> list[tuple[str, list[Sighting], Box]]:
        """For each camera: its name, what it saw, and the part of its image that the other one reaches."""
        if not self._poses:
            return []
        thermal, rgb = [one.thermal for one in self._poses], [one.rgb for one in self._poses]
        return list(zip(CAMERAS, (thermal, rgb), shared(thermal, rgb), strict=True))

    def _width(self) -> float:
        """Of the target in the thermal image, as a share of that: the median over all poses."""
        columns = [(one.thermal.pixels[:, 0], one.thermal.size[0]) for one in self._poses]
        return float(np.median([(seen.max() - seen.min()) / width for seen, width in columns]))

    def _cell_wanted(self) -> str:
        empty = np.argwhere(self.cells("thermal") == 0)
        return f"go to the {ROWS[empty[0][0]]}, {COLUMNS[empty[0][1]]} of the thermal image" if len(empty) else ""


def _unseen(
    thermal: Sighting | None, rgb: Sighting | None, target: Target, other: tuple[int, int] | None, in_part: bool
) -> str:
    if other:
        return f"a board of {other[0]}x{other[1]} inner corners is there, {target.name} was asked for"
    if in_part:
        camera = "both images" if thermal is rgb else f"the {'thermal' if thermal is None else 'RGB'} image"
        return f"only a part of the board is seen: hold all of it, uncovered, into {camera}"
    if thermal is None and rgb is None:
        return "hold the target where both cameras see it"
    if thermal is None:
        return "RGB sees the target, thermal does not: move it into the thermal image, heat or light it"
    return "thermal sees the target, RGB does not: move it into the RGB image, give it light"


def _lean_wanted(found: Stands) -> str:
    leans = found.leans()
    for name, axis, sign in LEANS:
        if (sign * leans[:, axis]).max() < LEAN:
            side = {"top": "backwards", "bottom": "forwards"}.get(name, f"to the {name}")
            return f"tilt the target {side}: its {name} edge in the image away from the cameras, by 20 to 40 degrees"
    return ""


def _moved(before: View | None, now: View, camera: Literal["thermal", "rgb"]) -> float:
    """Median distance of the points between two views; NaN where one does not show the target."""
    first, second = getattr(before, camera, None), getattr(now, camera)
    if first is None or second is None:
        return np.nan
    apart = _apart(first, second)
    return float(np.median(apart)) if len(apart) else np.nan


def _apart(first: Sighting, second: Sighting) -> Floats:
    """Distances of the points that both show, pixels."""
    here, there = common(first, second)
    return np.linalg.norm(here - there, axis=1)


def _quality(seen: Sighting | None) -> float:
    return float(np.median(seen.quality)) if seen is not None and len(seen.quality) else np.nan


def _pixels(seen: Sequence[Sighting]) -> Floats:
    return np.concatenate([one.pixels for one in seen])


def _count(pixels: Floats, box: Box) -> Indices:
    left, top, right, bottom = box
    counts, *_ = np.histogram2d(pixels[:, 1], pixels[:, 0], bins=CELLS, range=((top, bottom), (left, right)))
    return counts.astype(np.intp)
