"""Two cameras looking at the plane: what a thermal and an RGB sensor make of it.

Every picture is a pure function of scene time and exposure number. Knows nothing of stamps, clocks or threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.frames import Size
from streamfuse.sources.synthetic.glow import Glow, draw_glow
from streamfuse.sources.synthetic.scene import CANVAS_PX_PER_M, Floats, Light, Part, Scene, fill
from streamfuse.sources.synthetic.view import View, Window, window_of

Image = NDArray[Any]
Image8 = NDArray[np.uint8]
Image32 = NDArray[np.float32]

PIXEL_SIGMA = 0.29
"""A square pixel blurs as much as a Gaussian of this many pixels."""
PLACES = (97, 89)
"""Rows and columns by which a picture can be cut out of its noise tile."""


class ThermalCamera:
    """Temperature through a soft lens onto a noisy bolometer, sent as 16-bit centikelvin or stretched to 8 bits."""

    oversampling = 4
    blur_px = 0.62
    temporal_k = 0.05
    pattern_k = 0.045

    def __init__(self, scene: Scene, view: View, *, seed: int, bits: int, noise: float) -> None:
        self._scene = scene
        self._view = view
        self._bits = bits
        self._still = cast(
            Image32, backdrop_layer(scene.backdrop.kelvin, view, backdrop_map(scene, view), self.blur_px)
        )
        rng = np.random.default_rng([seed, 2])
        tile = tile_shape(view.lens.size)
        columns = rng.standard_normal((1, tile[1]), dtype=np.float32)
        self._temporal = noise * self.temporal_k * rng.standard_normal(tile, dtype=np.float32)
        self._pattern = noise * self.pattern_k * (rng.standard_normal(tile, dtype=np.float32) + 1.2 * columns)

    def picture(self, time_s: float, exposure: int, shutter: int) -> Image:
        """What the camera sends: H W uint16 (centikelvin) or uint8 (stretched to the picture's own range).

        The fixed pattern is the same until the shutter closes again (`shutter` times so far) and measures it anew.
        """
        kelvin = self.kelvin(time_s)
        kelvin += cut(self._temporal, self._view.lens.size, exposure)
        kelvin += cut(self._pattern, self._view.lens.size, 7 * shutter)
        return (kelvin * 100 + 0.5).astype(np.uint16) if self._bits == 16 else stretched(kelvin)

    def kelvin(self, time_s: float) -> Image32:
        """Noise-free apparent temperature, H W float32."""
        image = np.array(self._still)
        actors = [actor.parts(time_s) for actor in self._scene.actors]
        for parts, outlines in zip(actors, self._view.outlines(actors), strict=True):
            self._add(image, parts, outlines)
        return image

    def _add(self, image: Image32, parts: Sequence[Part], outlines: Sequence[Floats]) -> None:
        window = window_of(outlines, self._view.lens.size, margin=3)
        if window is None:
            return
        sharp = drawn(window, self.oversampling, outlines, [(part.kelvin, 1.0) for part in parts], np.float32)
        soft = cast(Image32, cv2.GaussianBlur(sharp, (7, 7), self.blur_px))
        image[window] = image[window] * (1 - soft[..., 1]) + soft[..., 0]


class RgbCamera:
    """Colour under what light there is, glare where there is too much, shot noise everywhere."""

    oversampling = 2
    blur_px = 0.45
    night_noise, day_noise = 9.0, 2.5

    def __init__(self, scene: Scene, view: View, *, seed: int, night: bool, noise: float) -> None:
        self._scene = scene
        self._view = view
        where = backdrop_map(scene, view)
        self._still = cast(Image8, backdrop_layer(scene.backdrop.visible, view, where, self.blur_px))
        self._light = cast(Image8, backdrop_layer(scene.backdrop.light, view, where, self.blur_px))
        self._glows: dict[tuple[object, ...], Glow] = {}
        for actor in scene.actors if night else ():
            for light in actor.lights(0.0):
                self._glows[_kind(light)] = draw_glow(light, view.px_per_m)
        rng = np.random.default_rng([seed, 3])
        grain = rng.standard_normal((*tile_shape(view.lens.size), 3), dtype=np.float32)
        grain = cast(Image32, cv2.GaussianBlur(grain, (0, 0), 0.55))
        grain *= noise * (self.night_noise if night else self.day_noise)
        self._brighter = np.rint(grain.clip(0, 255)).astype(np.uint8)
        self._darker = np.rint((-grain).clip(0, 255)).astype(np.uint8)

    def picture(self, time_s: float, exposure: int) -> Image8:
        """What the camera sends: H W 3 uint8."""
        image = np.array(self._still)
        actors = [actor.parts(time_s) for actor in self._scene.actors]
        for parts, outlines in zip(actors, self._view.outlines(actors), strict=True):
            self._add(image, parts, outlines, shining=False)
            self._add(image, parts, outlines, shining=True)
        if self._glows:
            self._shine(image, [light for actor in self._scene.actors for light in actor.lights(time_s)])
        cv2.add(image, cut(self._brighter, self._view.lens.size, exposure), dst=image)
        cv2.subtract(image, cut(self._darker, self._view.lens.size, exposure), dst=image)
        return image

    def _add(self, image: Image8, parts: Sequence[Part], outlines: Sequence[Floats], *, shining: bool) -> None:
        chosen = [i for i, part in enumerate(parts) if part.shines == shining]
        shapes = [outlines[i] for i in chosen]
        window = window_of(shapes, self._view.lens.size, margin=2)
        if window is None:
            return
        layer = drawn(window, self.oversampling, shapes, [(*parts[i].colour, 255) for i in chosen], np.uint8)
        colour, uncovered = layer[..., :3], cv2.cvtColor(cv2.bitwise_not(layer[..., 3]), cv2.COLOR_GRAY2RGB)
        if not shining:
            colour = cv2.multiply(colour, self._light[window], scale=1 / 255)
        image[window] = cv2.add(cv2.multiply(image[window], uncovered, scale=1 / 255), colour)

    def _shine(self, image: Image8, lights: Sequence[Light]) -> None:
        if not lights:
            return
        pixels, _ = self._view.pixels(np.array([light.position for light in lights]))
        for light, pixel in zip(lights, pixels, strict=True):
            self._glows[_kind(light)].lay_over(image, pixel)


def _kind(light: Light) -> tuple[object, ...]:
    """Lights that look alike share one drawing."""
    return light.colour, light.reach_m, light.aim


def stretched(kelvin: Image32) -> Image8:
    """Linear gain over the picture's own range: what a camera without a radiometric output does."""
    small = cv2.resize(kelvin, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    low, high, _, _ = cv2.minMaxLoc(small)
    return ((kelvin - low) * (255 / max(high - low, 1e-3)) + 0.5).clip(0, 255).astype(np.uint8)


def backdrop_map(scene: Scene, view: View) -> Image32:
    """Canvas position of every camera pixel, H W 2."""
    plane, _ = view.plane(view.grid())
    return scene.backdrop.canvas_from_plane(plane).astype(np.float32)


def backdrop_layer(layer: Image, view: View, where: Image32, blur_px: float) -> Image:
    """One layer of the backdrop as the camera sees it: lens and pixel blur on the canvas, then one sample a pixel."""
    sigma = float(np.hypot(blur_px, PIXEL_SIGMA)) * CANVAS_PX_PER_M / view.px_per_m
    soft = cv2.GaussianBlur(layer, (0, 0), max(sigma, 0.3))
    return cast(Image, cv2.remap(soft, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def drawn(
    window: Window, oversampling: int, outlines: Sequence[Floats], values: Sequence[Sequence[float]], dtype: Any
) -> Image:
    """The window with the outlines filled one over the other; the last channel is coverage, the others carry it."""
    rows, columns = (side.stop - side.start for side in window)
    layer = np.zeros((rows * oversampling, columns * oversampling, len(values[0])), dtype)
    corner = np.array([window[1].start, window[0].start]) - 0.5
    for outline, value in zip(outlines, values, strict=True):
        fill(layer, (outline - corner) * oversampling - 0.5, value)
    return cast(Image, cv2.resize(layer, (columns, rows), interpolation=cv2.INTER_AREA))


def tile_shape(size: Size) -> tuple[int, int]:
    return size[1] + PLACES[0], size[0] + PLACES[1]


def cut(tile: Image, size: Size, number: int) -> Image:
    """A picture-sized piece of a larger noise tile, at a place that jumps about as the number counts up."""
    top, left = divmod(number * 5417 % (PLACES[0] * PLACES[1]), PLACES[1])
    return tile[top : top + size[1], left : left + size[0]]
