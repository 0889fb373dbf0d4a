"""Where the thermal image may lie in the visible one: every scale, rotation and shift, at low resolution.

For each scale and rotation the fields of both images are correlated at all shifts at once by FFT, all pairs of one
rig together. The measure is the correlation's height over what unrelated edges of the same strength would give by
chance; it can therefore be compared between large and small overlaps. The visible field is whitened before: long edges
(a horizon, a road, a facade's storeys) match each other in many places, corners and texture hardly do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.align_fields import Complex, Floats, Image, Picture, field, shrunk

SIDE = 144
"""Long side of both images in the search, where they show the same; the geometric mean of both sides otherwise."""
SCALES = tuple(float(scale) for scale in np.geomspace(0.3, 3.0, 26))  # of long side to long side
ROTATIONS = tuple(math.radians(degrees) for degrees in range(-15, 16, 3))
LEAST_OVERLAP = 0.3  # of the smaller image
SHARED = 4  # rotations, of one estimate of chance
PEAKS = 4  # per scale and rotation
KEPT = 60  # two lots of what `align` looks at together
WHITENED = 1.5
"""The visible spectrum is divided by its own smoothed magnitude to this power; 2 is a matched filter (G. L. Turin, "An
introduction to matched filters", 1960) for noise that has the spectrum of the scene itself."""
SMOOTHED, SPECTRAL_FLOOR = 2.0, 0.01  # in cells of the spectrum; of the highest smoothed power
ZOOM_WITHIN = 1.5  # standard deviation of ln(scale) in rigs; it only orders the places before they are looked at
APART = 0.08  # of the thermal image's long side; nearer places are one place

Pair = tuple[Picture, Picture]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """rgb_from_thermal (3x3, whole pixels), and how far above chance it is (standard deviations; less for
    an unusual zoom)."""

    matrix: Floats
    score: float


def search(pairs: Sequence[Pair], on_step: Callable[[int, int], None] | None = None) -> list[Place]:
    """The best places that are apart from each other, best first."""
    found: list[Place] = []
    for done, scale in enumerate(SCALES):
        found += _at_scale(pairs, scale)
        if on_step:
            on_step(done + 1, len(SCALES))
    return distinct(found, pairs[0][0].size)


def distinct(places: Sequence[Place], thermal_size: tuple[int, int], kept: int = KEPT) -> list[Place]:
    """The best of those whose corners lie within `APART` of each other."""
    best: list[Place] = []
    taken = np.full((kept, 4, 2), np.inf)
    for place in sorted(places, key=lambda each: -each.score):
        ends = corners(place.matrix, thermal_size)
        side = math.hypot(*(ends[2] - ends[0])) * 0.8
        if np.linalg.norm(taken - ends, axis=2).mean(axis=1).min() >= APART * side:
            taken[len(best)] = ends
            best.append(place)
        if len(best) == kept:
            break
    return best


def corners(matrix: Floats, size: tuple[int, int]) -> Floats:
    """Where the centres of the four corner pixels of an image land (4 2), clockwise from the upper left."""
    width, height = size
    points = np.array([[[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]], dtype=np.float64)
    return cast(Floats, cv2.perspectiveTransform(points, matrix)[0])


def stretch(before: tuple[int, int], after: tuple[int, int]) -> Floats:
    """3x3 after_from_before of a resampled image, half-pixel convention."""
    x, y = after[0] / before[0], after[1] / before[1]
    return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


def _at_scale(pairs: Sequence[Pair], scale: float) -> list[Place]:
    thermal_size, rgb_size = pairs[0][0].size, pairs[0][1].size
    thermal = [_field(one, SIDE * math.sqrt(scale)) for one, _ in pairs]
    visible = [_field(other, SIDE / math.sqrt(scale)) for _, other in pairs]
    small, large = thermal[0][0].shape, visible[0][0].shape
    canvas = math.ceil(math.hypot(*small))
    shape = tuple(cv2.getOptimalDFTSize(int(0.8 * canvas + side)) for side in large)
    still = [_Spectrum(*each, shape).whitened() for each in visible]
    usual = math.exp(-0.5 * (math.log(scale) / ZOOM_WITHIN) ** 2)
    to_small = stretch(thermal_size, (small[1], small[0]))
    from_large = np.linalg.inv(stretch(rgb_size, (large[1], large[0])))
    found: list[Place] = []
    chance = np.zeros(0)
    for index, angle in enumerate(ROTATIONS):
        turn = _turn(small, angle, canvas)
        moved = [_Spectrum(*_turned(each, angle, turn, canvas), shape) for each in thermal]
        if index % SHARED == 0:  # what chance gives hardly changes over a few degrees
            middle = ROTATIONS[min(index + SHARED // 2, len(ROTATIONS) - 1)]
            onto = _turn(small, middle, canvas)
            nearby = [_Spectrum(*_turned(each, middle, onto, canvas), shape) for each in thermal]
            chance = _chance(nearby, still, shape)
        height = np.zeros(shape)
        for one, other in zip(moved, still, strict=True):
            height += np.fft.ifft2(np.conj(one.field) * other.field).real
        for shift, score in _peaks((height * chance).astype(np.float32), shape, large):
            onto = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
            found.append(Place(from_large @ onto @ turn @ to_small, score * usual))
    return found


class _Spectrum:
    """The spectrum of a field; its power and where it is trusted as images, transformed when they are needed."""

    def __init__(self, values: Complex, trusted: Image, shape: tuple[int, ...]) -> None:
        mean = values.sum() / max(float(trusted.sum()), 1.0)
        values = values - mean * trusted  # upright edges everywhere are no sign of a match
        self.field = np.fft.fft2(values, shape)
        self.values, self.trusted, self.shape = values, trusted, shape

    def whitened(self) -> _Spectrum:
        """Itself, with all frequencies nearer to equal strength."""
        power = np.fft.fftshift(np.abs(self.field) ** 2).astype(np.float32)
        smooth = np.fft.ifftshift(cv2.GaussianBlur(power, (0, 0), SMOOTHED))
        self.field = self.field / (smooth + SPECTRAL_FLOOR * smooth.max()) ** (WHITENED / 2)
        height, width = self.values.shape
        self.values = np.fft.ifft2(self.field)[:height, :width].astype(np.complex64)
        return self

    def power_and_trust(self) -> tuple[NDArray[np.complexfloating[Any, Any]], NDArray[np.complexfloating[Any, Any]]]:
        return np.fft.rfft2(np.abs(self.values) ** 2, self.shape), np.fft.rfft2(self.trusted, self.shape)


def _chance(moved: Sequence[_Spectrum], still: Sequence[_Spectrum], shape: tuple[int, ...]) -> Floats:
    """1 / standard deviation of unrelated fields' correlation, at every circular shift; 0 where they hardly overlap."""
    power, overlap = np.zeros(shape), np.zeros(shape)
    smaller = 0.0
    for one, other in zip(moved, still, strict=True):
        (power_one, trust_one), (power_other, trust_other) = one.power_and_trust(), other.power_and_trust()
        power += np.fft.irfft2(np.conj(power_one) * power_other, shape)
        overlap += np.fft.irfft2(np.conj(trust_one) * trust_other, shape)
        smaller += min(float(one.trusted.sum()), float(other.trusted.sum()))
    return (overlap > LEAST_OVERLAP * smaller) / np.sqrt(np.maximum(power, 1e-3 * power.max() + 1e-9))


def _peaks(score: Image, shape: tuple[int, ...], still: tuple[int, ...]) -> list[tuple[tuple[float, float], float]]:
    """Shifts (x, y) of the highest local maxima."""
    widened = cv2.copyMakeBorder(score, 3, 3, 3, 3, cv2.BORDER_WRAP)
    around = cv2.dilate(widened, np.ones((7, 7), np.uint8))[3:-3, 3:-3]
    rows, columns = np.nonzero((score >= around) & (score > 0))
    places = sorted(((float(score[y, x]), int(x), int(y)) for y, x in zip(rows, columns, strict=True)), reverse=True)
    return [
        ((_unwrapped(x, shape[1], still[1]), _unwrapped(y, shape[0], still[0])), height)
        for height, x, y in places[:PEAKS]
    ]


def _unwrapped(shift: int, period: int, still: int) -> float:
    return float(shift if shift < still else shift - period)


def _field(one: Picture, side: float) -> tuple[Complex, Image]:
    factor = side / max(one.size)
    return field(shrunk(one.grey, factor), shrunk(one.seen, factor))


def _turn(shape: tuple[int, ...], angle: float, canvas: int) -> Floats:
    """canvas_from_image: turned about the middle, on a square canvas that holds every turn."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    middle, centre = np.eye(3), np.eye(3)
    middle[:2, 2] = -(shape[1] - 1) / 2, -(shape[0] - 1) / 2
    centre[:2, 2] = (canvas - 1) / 2
    return centre @ turn @ middle


def _turned(one: tuple[Complex, Image], angle: float, onto: Floats, canvas: int) -> tuple[Complex, Image]:
    """The field of the turned picture: moved, and every direction turned with it."""
    planes = one[0].view(np.float32).reshape(*one[0].shape, 2)
    moved = cast(Image, cv2.warpPerspective(planes, onto, (canvas, canvas)))
    trusted = cast(Image, cv2.warpPerspective(one[1], onto, (canvas, canvas)))
    doubled = np.complex64(complex(math.cos(2 * angle), math.sin(2 * angle)))
    return np.ascontiguousarray(moved).view(np.complex64)[..., 0] * doubled, trusted
