"""Two cameras looking at the plane: exact geometry, then what a thermal and an RGB sensor make of it.

Every picture is a pure function of scene time and exposure number. Knows nothing of stamps, clocks or threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.frames import Size
from streamfuse.lens import Lens, Pose
from streamfuse.sources.synthetic.scene import Floats, Light, Part, Scene, fill

Image8 = NDArray[np.uint8]
Image32 = NDArray[np.float32]
Bools = NDArray[np.bool_]
Window = tuple[slice, slice]
"""Rows and columns of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One camera's exact geometry: plane metres to pixels and back. `rgb_from_camera` is None for the RGB camera."""

    lens: Lens
    rgb_from_camera: Pose | None
    depth_m: float

    def pixels(self, points: Floats) -> tuple[Floats, Bools]:
        """Plane points (... 2) to pixels (... 2), and where that is valid."""
        depth = np.full((*points.shape[:-1], 1), self.depth_m)
        world = np.concatenate([points, depth], axis=-1)
        if self.rgb_from_camera:
            world = (world - self.rgb_from_camera.translation_vector) @ self.rgb_from_camera.rotation_matrix
        return self.lens.project(world)

    def plane(self, pixels: Floats) -> tuple[Floats, Bools]:
        """Pixels (... 2) to the plane points (... 2) they show, and where there is one."""
        rays, valid = self.lens.rays(pixels)
        ray = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1)
        start = np.zeros(3)
        if self.rgb_from_camera:
            ray = ray @ self.rgb_from_camera.rotation_matrix.T
            start = self.rgb_from_camera.translation_vector
        ahead = ray[..., 2] > 1e-9
        scale = (self.depth_m - start[2]) / np.where(ahead, ray[..., 2], 1.0)
        return (start + ray * scale[..., None])[..., :2], valid & ahead

    def grid(self, oversampling: int = 1) -> Floats:
        """Pixel coordinates of every pixel, or of every sub-pixel, H W 2."""
        width, height = self.lens.size
        x = (np.arange(width * oversampling) + 0.5) / oversampling - 0.5
        y = (np.arange(height * oversampling) + 0.5) / oversampling - 0.5
        return np.stack(np.meshgrid(x, y), axis=-1)

    @property
    def px_per_m(self) -> float:
        return self.lens.fx / self.depth_m


def project_parts(view: View, parts: Sequence[Part]) -> list[Floats]:
    """Outlines in pixels, all in one call."""
    if not parts:
        return []
    pixels, _ = view.pixels(np.concatenate([part.outline for part in parts]))
    return np.split(pixels, np.cumsum([len(part.outline) for part in parts])[:-1])


def window_of(outlines: Sequence[Floats], size: Size, margin: int) -> Window | None:
    """The part of the image that the outlines touch, or None."""
    points = np.concatenate(outlines)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin + 1, size)
    if (low >= high).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _stamp(layer: NDArray[Any], window: Window, oversampling: int, outlines: Sequence[Floats], values: Any) -> None:
    """Draw the outlines, one value each, onto an oversampled picture of the window."""
    corner = np.array([window[1].start, window[0].start])
    for outline, value in zip(outlines, values, strict=True):
        fill(layer, (outline - corner + 0.5) * oversampling - 0.5, value)


def _blank(window: Window, oversampling: int, channels: int, dtype: Any) -> NDArray[Any]:
    rows, columns = (side.stop - side.start for side in window)
    return np.zeros((rows * oversampling, columns * oversampling, channels), dtype)


def _reduced(layer: NDArray[Any], oversampling: int) -> NDArray[Any]:
    size = (layer.shape[1] // oversampling, layer.shape[0] // oversampling)
    return cv2.resize(layer, size, interpolation=cv2.INTER_AREA)


def _seen(layer: NDArray[Any], scene: Scene, view: View, oversampling: int) -> NDArray[Any]:
    """The backdrop's layer as the camera sees it, still oversampled."""
    plane, _ = view.plane(view.grid(oversampling))
    maps = scene.backdrop.canvas_from_plane(plane).astype(np.float32)
    return cv2.remap(layer, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class ThermalCamera:
    """Temperature through a soft lens onto a noisy bolometer; `exposure` gives kelvin, `counts` what the camera sends."""

    oversampling = 4
    blur_px = 0.62
    temporal_k = 0.05
    pattern_k = 0.045

    def __init__(self, scene: Scene, view: View, *, seed: int, bits: int, noise: float) -> None:
        self.view = view
        self._scene = scene
        self._bits = bits
        self._noise = noise
        kelvin = self._soft(_seen(scene.backdrop.kelvin, scene, view, self.oversampling))
        self._still = cast(Image32, _reduced(kelvin, self.oversampling))
        rng = np.random.default_rng([seed, 2])
        width, height = view.lens.size
        self._temporal = rng.standard_normal((height + 97, width + 89), dtype=np.float32)
        self._pattern = rng.standard_normal((height + 97, width + 89), dtype=np.float32)
        self._pattern += 1.2 * rng.standard_normal((1, width + 89), dtype=np.float32)

    def picture(self, time_s: float, exposure: int, shutter: int) -> NDArray[Any]:
        """What the camera sends: H W uint16 (centikelvin) or uint8 (stretched to the picture's own range)."""
        kelvin = self.kelvin(time_s) + self._disturbance(exposure, shutter)
        if self._bits == 16:
            return (kelvin * 100 + 0.5).astype(np.uint16)
        low, high, _, _ = cv2.minMaxLoc(_reduced(kelvin, 4))
        return ((kelvin - low) * (255 / max(high - low, 1e-3)) + 0.5).clip(0, 255).astype(np.uint8)

    def kelvin(self, time_s: float) -> Image32:
        """Noise-free apparent temperature, H W float32."""
        image = self._still.copy()
        for actor in self._scene.actors:
            self._add(image, actor.parts(time_s))
        return image

    def _add(self, image: Image32, parts: Sequence[Part]) -> None:
        outlines = project_parts(self.view, parts)
        window = window_of(outlines, self.view.lens.size, margin=3)
        if window is None:
            return
        layer = _blank(window, self.oversampling, 2, np.float32)
        _stamp(layer, window, self.oversampling, outlines, [(part.kelvin, 1.0) for part in parts])
        soft = _reduced(self._soft(layer), self.oversampling)
        image[window] = image[window] * (1 - soft[..., 1]) + soft[..., 0]

    def _soft(self, layer: NDArray[Any]) -> NDArray[Any]:
        return cv2.GaussianBlur(layer, (0, 0), self.blur_px * self.oversampling)

    def _disturbance(self, exposure: int, shutter: int) -> Image32:
        """Noise of this exposure plus the fixed pattern, which every closing of the shutter measures anew."""
        temporal = _cut(self._temporal, self.view.lens.size, exposure)
        pattern = _cut(self._pattern, self.view.lens.size, 7 * shutter)
        return (self._noise * self.temporal_k) * temporal + (self._noise * self.pattern_k) * pattern


class RgbCamera:
    """Colour under what light there is, glare where there is too much, shot noise where there is too little."""

    oversampling = 2
    blur_px = 0.45
    noise_levels = 5.0

    def __init__(self, scene: Scene, view: View, *, seed: int, night: bool, noise: float) -> None:
        self.view = view
        self._scene = scene
        self._night = night
        self._still = self._reduced_8(scene.backdrop.visible)
        self._light = self._reduced_8(scene.backdrop.light)
        self._glows = {}
        rng = np.random.default_rng([seed, 3])
        width, height = view.lens.size
        grain = rng.standard_normal((height + 97, width + 89, 3), dtype=np.float32)
        grain = cv2.GaussianBlur(grain, (0, 0), 0.55) * (noise * self.noise_levels * (2.0 if night else 0.6))
        self._brighter = grain.clip(0, 255).round().astype(np.uint8)
        self._darker = (-grain).clip(0, 255).round().astype(np.uint8)

    def picture(self, time_s: float, exposure: int) -> Image8:
        """What the camera sends: H W 3 uint8."""
        image = self._still.copy()
        lights: list[Light] = []
        for actor in self._scene.actors:
            parts = actor.parts(time_s)
            self._add(image, [part for part in parts if not part.shines], lit=True)
            self._add(image, [part for part in parts if part.shines], lit=False)
            lights += actor.lights(time_s)
        for light in lights if self._night else ():
            self._shine(image, light)
        cv2.add(image, _cut(self._brighter, self.view.lens.size, exposure), dst=image)
        return cast(Image8, cv2.subtract(image, _cut(self._darker, self.view.lens.size, exposure), dst=image))

    def _reduced_8(self, layer: Image8) -> Image8:
        seen = _seen(layer, self._scene, self.view, self.oversampling)
        soft = cv2.GaussianBlur(seen, (0, 0), self.blur_px * self.oversampling)
        return cast(Image8, _reduced(soft, self.oversampling))

    def _add(self, image: Image8, parts: Sequence[Part], *, lit: bool) -> None:
        outlines = project_parts(self.view, parts)
        window = window_of(outlines, self.view.lens.size, margin=2) if outlines else None
        if window is None:
            return
        layer = _blank(window, self.oversampling, 4, np.uint8)
        _stamp(layer, window, self.oversampling, outlines, [(*part.colour, 255) for part in parts])
        small = _reduced(layer, self.oversampling)
        colour, cover = small[..., :3], cv2.cvtColor(small[..., 3], cv2.COLOR_GRAY2RGB)
        if lit:
            colour = cv2.multiply(colour, self._light[window], scale=1 / 255)
        behind = cv2.multiply(image[window], cv2.bitwise_not(cover), scale=1 / 255)
        image[window] = cv2.add(behind, colour)

    def _shine(self, image: Image8, light: Light) -> None:
        """Brighten what the beam falls on, then lay the glare over it."""
        pixel, _ = self.view.pixels(np.array([light.position]))
        centre = np.round(pixel[0]).astype(int)
        gain, glare = self._glow(light)
        reach = gain.shape[0] // 2
        low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, self.view.lens.size)
        if (low >= high).any():
            return
        here = slice(low[1], high[1]), slice(low[0], high[0])
        there = tuple(slice(low[i] - centre[i] + reach, high[i] - centre[i] + reach) for i in (1, 0))
        image[here] = cv2.add(cv2.multiply(image[here], gain[there], scale=1 / 32), glare[there])

    def _glow(self, light: Light) -> tuple[Image8, Image8]:
        """Gain (32 = none) and glare around a light, square with the light in its middle; drawn once."""
        key = (light.colour, light.reach_m, light.aim)
        if key not in self._glows:
            self._glows[key] = _draw_glow(light, round(light.reach_m * self.view.px_per_m), self.view.px_per_m)
        return self._glows[key]


def _draw_glow(light: Light, reach_px: int, px_per_m: float) -> tuple[Image8, Image8]:
    side = np.arange(-reach_px, reach_px + 1) / px_per_m
    x, y = np.meshgrid(side, side)
    away = np.hypot(x, y)
    fade = (1 - away / light.reach_m).clip(0, 1) ** 1.5
    tint = np.array(light.colour) / 255
    glare = 255 * np.exp(-((away / 0.11) ** 2)) + 105 * np.exp(-away / 0.28) + 22 * np.exp(-away / 1.1)
    gain = np.zeros_like(x)
    if light.aim:
        ahead = np.maximum(x * light.aim, 1e-6)
        spread = np.exp(-(((y - 0.10 * ahead) / (0.10 + 0.16 * ahead)) ** 2)) * (x * light.aim > 0)
        gain = 2.6 * spread * (1 - np.exp(-ahead / 0.5))
        glare = glare + 16 * spread
    gain_8 = 32 * (1 + (gain * fade)[..., None] * tint)
    return _to_8(gain_8), _to_8((glare * fade)[..., None] * tint)


def _to_8(values: Floats) -> Image8:
    return values.clip(0, 255).round().astype(np.uint8)


def _cut(tile: NDArray[Any], size: Size, number: int) -> NDArray[Any]:
    """A picture-sized piece of a larger noise tile: 97 x 89 places, visited in an order that does not show."""
    place = number * 5417 % (97 * 89)
    top, left = divmod(place, 89)
    return tile[top : top + size[1], left : left + size[0]]
