"""The vocabulary of the synthetic world: parts, lights and actors on one plane, and the painted backdrop behind them.

Knows nothing of cameras, pixels of an image, or time stamps.

Convention: everything lies on the plane Z = depth of the RGB camera; plane coordinates are metres, x right, y down,
zero where the RGB camera's axis meets the plane. Colours are display values in full light, red first; temperatures
are kelvin. Display values are powers of light (gamma 2.2), so that shading is a product and shot noise is even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]
Point = tuple[float, float]

CANVAS_PX_PER_M = 100
"""The backdrop is painted one pixel per centimetre."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One flat piece of an actor: `outline` is N 2 in metres, convex; `shines` = it needs no light to be seen."""

    outline: Floats
    colour: Colour
    kelvin: float
    shines: bool = False


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp that an actor carries: glare around it and, where `aim` is not 0, a beam to the left (-1) or right (1)."""

    position: Point
    colour: Colour
    reach_m: float
    aim: int = 0


class Actor(Protocol):
    """Something that moves; `ground_m` orders actors from back to front, `kind` is its class in the truth's boxes."""

    @property
    def identity(self) -> int: ...

    @property
    def kind(self) -> str: ...

    @property
    def ground_m(self) -> float: ...

    def parts(self, time_s: float) -> list[Part]:
        """What it consists of at that time, back to front."""
        ...

    def lights(self, time_s: float) -> list[Light]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """Everything that stands still, painted once.

    `visible`: H W 3 uint8 as the RGB camera would show it; `light`: H W 3 uint8, what a white actor would look like
    there; `kelvin`: H W float32. `origin_m` is the plane position of the centre of pixel (0, 0).
    """

    visible: NDArray[np.uint8]
    light: NDArray[np.uint8]
    kelvin: NDArray[np.float32]
    origin_m: Point

    def canvas_from_plane(self, points: Floats) -> Floats:
        return (points - np.array(self.origin_m)) * CANVAS_PX_PER_M


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The world: a backdrop, actors from back to front, and (only when asked for) discs to measure geometry with."""

    backdrop: Backdrop
    actors: tuple[Actor, ...]
    markers_m: Floats


def ellipse(centre: Point, rx: float, ry: float, *, corners: int = 16) -> Floats:
    """Outline of an ellipse, N 2."""
    return _arc(0.0, 2 * np.pi * (1 - 1 / corners), corners) * (rx, ry) + centre


def rectangle(left: float, top: float, right: float, bottom: float) -> Floats:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def limb(start: Point, end: Point, start_radius: float, end_radius: float) -> Floats:
    """Outline of a tapered capsule around the line from `start` to `end`, N 2."""
    x, y = end[0] - start[0], end[1] - start[1]
    length = (x * x + y * y) ** 0.5 or 1.0
    x, y = x / length, y / length
    cap = _arc(-np.pi / 2, np.pi / 2, 6) @ np.array([(x, y), (-y, x)])
    return np.concatenate([cap * end_radius + end, cap * -start_radius + start])


@lru_cache(maxsize=32)
def _arc(first: float, last: float, corners: int) -> Floats:
    """Points on the unit circle from one angle to another, N 2."""
    angle = np.linspace(first, last, corners)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def fill(layer: NDArray[Any], outline_px: Floats, value: Sequence[float]) -> None:
    """Fill a convex outline given in (fractional) pixels of the layer; it comes out about half a pixel wider.

    Edges are soft where OpenCV can do that (8-bit layers). Its fill for concave outlines would round to whole pixels.
    """
    edge = cv2.LINE_AA if layer.dtype == np.uint8 else cv2.LINE_8
    cv2.fillConvexPoly(layer, np.rint(outline_px * 256).astype(np.int32), tuple(value), edge, shift=8)
