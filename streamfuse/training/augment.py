"""How the images of a pair are varied, each a function of an image and a source of chance. All images H W in [0, 1]."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.training.pairs import Grey
from streamfuse.training.settings import AugmentConfig

Image = NDArray[np.float32]
Chance = np.random.Generator
STOPS = 2.0


def cut(images: tuple[Grey, Grey], side: int, settings: AugmentConfig, chance: Chance) -> tuple[Image, Image]:
    """The same random square of thermal and visible, scaled to `side` pixels, flipped and turned alike.

    Only `misregistration` parts them: it moves the thermal square by a fraction of its size.
    """
    thermal, visible = images
    height, width = thermal.shape
    scale = max(side / min(height, width), chance.uniform(settings.smallest, 1.0))
    taken = min(round(side / scale), height, width)
    x, y = (math.floor(chance.random() * (room + 1)) for room in (width - taken, height - taken))
    down, across = (1 if chance.random() < 0.5 else -1 for _ in range(2))
    turned = chance.random() < settings.turn
    apart = chance.uniform(-1, 1, size=2) * settings.misregistration / scale

    def shaped(square: Grey) -> Image:
        way = cv2.INTER_AREA if taken > side else cv2.INTER_LINEAR
        scaled = square if taken == side else cast(Grey, cv2.resize(square, (side, side), interpolation=way))
        flipped = scaled[::down, ::across]
        shown = cast(Grey, flipped.T if turned else flipped)
        return (np.ascontiguousarray(shown) / np.float32(255)).astype(np.float32)

    seen = visible[y : y + taken, x : x + taken]
    if not settings.misregistration:
        return shaped(thermal[y : y + taken, x : x + taken]), shaped(seen)
    middle = (float(x + (taken - 1) / 2 + apart[0]), float(y + (taken - 1) / 2 + apart[1]))
    return shaped(cast(Grey, cv2.getRectSubPix(thermal, (taken, taken), middle))), shaped(seen)


def varied(thermal: Image, visible: Image, settings: AugmentConfig, chance: Chance) -> tuple[Image, Image]:
    """What other cameras would show of the same scene: other tones, wrong exposure, night, hot as black, glare."""
    if chance.random() < settings.tone:
        thermal, visible = toned(thermal, chance), toned(visible, chance)
    if chance.random() < settings.exposure:
        visible = np.minimum(visible * np.float32(2 ** chance.uniform(-STOPS, STOPS)), np.float32(1))
    if chance.random() < settings.night:
        visible = visible * np.float32(chance.uniform(0, 0.4))
    if chance.random() < settings.inversion:
        thermal = (1 - thermal).astype(np.float32)
    if settings.glare and chance.random() < settings.glare:  # without it no chance is used up
        visible = glaring(visible, thermal, chance)
    return thermal, visible


def toned(image: Image, chance: Chance) -> Image:
    """Another camera's tone curve: gamma, contrast and brightness, still in [0, 1]."""
    gamma, contrast, brightness = np.exp(chance.normal(0, 0.25)), chance.uniform(0.6, 1.2), chance.normal(0, 0.05)
    return np.clip(contrast * image**gamma + brightness, 0, 1).astype(np.float32)


def glaring(visible: Image, thermal: Image, chance: Chance) -> Image:
    """One to three lamps shine into the visible camera: white in the middle, a veil around; each at something warm.

    Warm: among the hottest 3 % of the thermal image, as headlights and people beside them are.
    """
    height, width = visible.shape
    warm = np.flatnonzero(thermal >= np.quantile(thermal, 0.97))
    light = np.zeros_like(visible)
    for _ in range(chance.integers(1, 4)):
        y, x = divmod(int(chance.choice(warm)), width)
        strength, reach = chance.uniform(1, 4), chance.uniform(0.02, 0.15) * min(height, width)
        away = np.hypot(*np.ogrid[-y : height - y, -x : width - x])
        light += (strength / (1 + (away / reach) ** 3)).astype(np.float32)
    return np.minimum(visible + light, np.float32(1))


def noisy(image: Image, strength: float, chance: Chance) -> Image:
    """Sensor noise of standard deviation `strength`."""
    if not strength:
        return image
    return np.clip(image + strength * chance.standard_normal(image.shape, np.float32), 0, 1).astype(np.float32)
