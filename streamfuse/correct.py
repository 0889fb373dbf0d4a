"""What one pair says of its alignment: the shift and the turn left between its images, and whether to trust them.

Normalised cross-correlation of logarithmic gradient magnitude: edges are all that both spectra share, and their sign
is not. The answer carries a bias that depends on the scene (a warm wall has its edges elsewhere than its paint), so it
is good for changes of alignment within a scene; what may be concluded over scenes is `correct_belief`'s.

Pure: no threads, no clock. Works on images of about 320 columns, so that it costs the same for every resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.correct_match import REACH, Plane, Planes, Region, find
from streamfuse.correct_turn import find_turn, middle
from streamfuse.errors import UserError
from streamfuse.frames import OutputGrid, Pixels, WarpMap
from streamfuse.warp import thermal_px_per_output_px

Shift = NDArray[np.float64]
"""(x, y) in output pixels: by how much the thermal image lies too far right and down."""

WIDTH = 320
LEAST = (96, 72)
"""Working pixels (width, height) in which both images must be seen, besides the search radius."""
MOSTLY_VALID = 0.98
SAME_SCENE = 0.4
AGREEMENT_PX = 2.5  # at an output width of 640, as is the next
WITNESS_PX = 0.3
"""What a change since the scene's first pair may differ by from each camera's own movement and still be believed: the
fractions of a pixel of three correlations."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One estimate. `shift_px` is meaningful where `sure`; `new_scene`: the images are others than those before.

    `turn`: (roll, zoom) of the thermal image, radians clockwise and growth less 1; None where it cannot be told.
    """

    shift_px: Shift
    sure: bool
    new_scene: bool
    peak: float
    ratio: float
    turn: Shift | None = None


def working_grid(grid: OutputGrid) -> OutputGrid:
    """The output grid at the working size; a small one stays as it is."""
    width, height = grid.size
    small = min(1.0, WIDTH / width)
    return OutputGrid((round(width * small), max(1, round(height * small))), grid.rgb_size, grid.crop)


class Estimator:
    """Reads pairs of one map. Remembers one pair, the scene's first, to tell a new scene from a moved camera."""

    def __init__(self, warp: WarpMap, output_width: int) -> None:
        """`warp`: the map on `working_grid`, uncorrected. Raises UserError where the two images hardly overlap."""
        self.px = output_width / warp.grid.size[0]
        self._grid = warp.grid
        self._halved, self._map = _thermal_sampling(warp)
        self.region = _region(warp.valid)
        self._first: Planes | None = None
        self._first_shift: Shift | None = None

    @property
    def pivot(self) -> tuple[float, float]:
        """Where roll and zoom move nothing, in output pixels: the middle of what both cameras see."""
        place = (middle(self.region) + (0.5 + 0.5j)) * self.px - (0.5 + 0.5j)
        return place.real, place.imag

    def planes(self, thermal: Pixels, rgb: Pixels) -> Planes:
        """Counts h w and RGB H W 3 to the two planes."""
        if self._halved:
            thermal = cv2.resize(thermal, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        on_grid = cv2.remap(
            thermal, self._map[..., 0], self._map[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        x, y, width, height = self._grid.crop
        small = cv2.resize(rgb[y : y + height, x : x + width], self._grid.size, interpolation=cv2.INTER_AREA)
        return Planes(log_gradient(on_grid), log_gradient(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)))

    def read(self, planes: Planes) -> Reading:
        """What lies between the two planes; in a scene seen before, checked against each camera's own movement."""
        match = find(planes.thermal, planes.visible, self.region)
        shift = self.px * np.array(match.shift)
        moved = self._moved(planes)
        new_scene = moved is None
        sure = match.sure
        if moved is None:
            self._first, self._first_shift = planes, shift if sure else None
        elif sure and self._first_shift is not None:
            unit = self.px * self._grid.size[0] / 640
            change = shift - self._first_shift
            sure = length(change - moved) <= AGREEMENT_PX * unit
            shift = self._first_shift + witnessed(change, moved, WITNESS_PX * unit)
        elif sure:
            self._first, self._first_shift = planes, shift
        turn = find_turn(planes, self.region, match.shift) if sure else None
        roll_zoom = np.array([turn.imag, turn.real]) if turn is not None else None
        return Reading(shift, sure, new_scene, match.peak, match.ratio, roll_zoom)

    def _moved(self, planes: Planes) -> Shift | None:
        """How far the thermal image moved since the scene's first pair, less what the visible one did; None = other."""
        if self._first is None:
            return None
        thermal = find(planes.thermal, self._first.thermal, self.region)
        visible = find(planes.visible, self._first.visible, self.region)
        if min(thermal.peak, visible.peak) < SAME_SCENE or not (thermal.inside and visible.inside):
            return None
        return self.px * (np.array(thermal.shift) - np.array(visible.shift))


def length(shift: Shift) -> float:
    return float(np.hypot(shift[0], shift[1]))


def witnessed(change: Shift, moved: Shift, tolerance: float) -> Shift:
    """How much of a change of alignment within a scene two witnesses bear out: both, or what lies nearest to none.

    `change` is between the spectra: a car that drives through moves it, though no camera moved. `moved` is each camera
    against itself: what is in motion in one spectrum only moves that. A camera that was knocked moves both. The answer
    lies between them where it is smallest, or at `tolerance` from `moved` where that is nearer to `change`.
    """
    off = change - moved
    apart = max(length(off), 1e-9)
    smallest = -float(moved @ off) / apart**2
    return moved + min(1.0, max(smallest, tolerance / apart)) * off


def log_gradient(image: Pixels) -> Plane:
    """log(1 + gradient / its mean): H W float32, the same for every gain and offset of the sensor."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (5, 5), 1.0)
    magnitude = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    magnitude *= 1 / (cv2.mean(magnitude)[0] + 1e-6)
    return np.log1p(magnitude, dtype=np.float32)


def _thermal_sampling(warp: WarpMap) -> tuple[bool, NDArray[np.float32]]:
    """Whether to halve the thermal image first (it has far more pixels than the grid), and where to read it then."""
    coordinates = warp.thermal_from_output
    halved = thermal_px_per_output_px(warp) >= 1.5
    return halved, (coordinates / 2 - 0.25).astype(np.float32) if halved else coordinates


def _region(valid: NDArray[np.bool_]) -> Region:
    """The rectangle where thermal is seen, less the search radius: its worst side is cut off until all are good."""
    top, bottom, left, right = 0, valid.shape[0], 0, valid.shape[1]
    while bottom - top >= LEAST[1] + 2 * REACH and right - left >= LEAST[0] + 2 * REACH:
        inner = valid[top:bottom, left:right]
        sides = [float(side.mean()) for side in (inner[0], inner[-1], inner[:, 0], inner[:, -1])]
        worst = int(np.argmin(sides))
        if sides[worst] >= MOSTLY_VALID:
            return slice(top + REACH, bottom - REACH), slice(left + REACH, right - REACH)
        top, bottom, left, right = top + (worst == 0), bottom - (worst == 1), left + (worst == 2), right - (worst == 3)
    raise UserError(
        "the thermal image covers too little of the output to follow its alignment: at least "
        f"{LEAST[0] + 2 * REACH} x {LEAST[1] + 2 * REACH} of {valid.shape[1]} x {valid.shape[0]} parts are needed; "
        "choose an output crop that both cameras see, or set register.correct to off"
    )
