"""Batches of crops, a pure function of (seed, step): a resumed run sees what an uninterrupted one would have seen.

A batch holds what the network is given and what its output is compared with. Both differ where an input is degraded:
noise is to be left out, and a thermal image that shows nothing is to be ignored. A visible image that shows nothing
gets no such treatment: taught to ignore one, a network takes a clear sky for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamfuse.errors import UserError
from streamfuse.training.pairs import Pair
from streamfuse.training.settings import AugmentConfig

Image = NDArray[np.float32]
Chance = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """All N 1 H W in [0, 1]: the network's inputs, and the sources that the loss compares its output with."""

    thermal: Tensor
    visible: Tensor
    wanted_thermal: Tensor
    wanted_visible: Tensor

    def to(self, device: str) -> Batch:
        images = (self.thermal, self.visible, self.wanted_thermal, self.wanted_visible)
        return Batch(*(image.to(device) for image in images))


class Crops:
    """Draws the batch of a step from `pairs`; those smaller than a crop are enlarged to it."""

    def __init__(self, pairs: Sequence[Pair], augment: AugmentConfig, *, crop: int, batch: int, seed: int) -> None:
        if not pairs:
            raise UserError("no pair is left to train on; add sets or lower `validation`")
        self.pairs, self.augment, self.crop, self.batch, self.seed = pairs, augment, crop, batch, seed
        shares = np.array([pair.share for pair in pairs])
        self._odds = shares / shares.sum()

    def at(self, step: int) -> Batch:
        chance = np.random.default_rng((self.seed, step))
        chosen = chance.choice(len(self.pairs), size=self.batch, p=self._odds)
        samples = [self._sample(self.pairs[int(index)], chance) for index in chosen]
        return Batch(*(torch.from_numpy(np.stack(images))[:, None] for images in zip(*samples, strict=True)))

    def _sample(self, pair: Pair, chance: Chance) -> tuple[Image, Image, Image, Image]:
        augment = self.augment
        thermal, visible = cut(pair, self.crop, augment.smallest, chance)
        if chance.random() < augment.tone:
            thermal, visible = toned(thermal, chance), toned(visible, chance)
        if chance.random() < augment.night:
            visible = visible * np.float32(chance.uniform(0, 0.4))
        given = [thermal, visible]
        wanted = [thermal, visible]
        if chance.random() < augment.blank:
            given[0] = np.full_like(thermal, chance.uniform())
            wanted[0] = visible
        if chance.random() < augment.noise:
            given = [noisy(image, chance) for image in given]
        images = [np.ascontiguousarray(image, dtype=np.float32) for image in (*given, *wanted)]
        return images[0], images[1], images[2], images[3]


def cut(pair: Pair, crop: int, smallest: float, chance: Chance) -> tuple[Image, Image]:
    """The same random crop of both images of a pair, scaled and flipped alike, in [0, 1]."""
    height, width = pair.thermal.shape
    scale = max(crop / min(height, width), chance.uniform(smallest, 1.0))
    size = (max(crop, round(width * scale)), max(crop, round(height * scale)))
    x, y = chance.integers(size[0] - crop + 1), chance.integers(size[1] - crop + 1)
    flips = [slice(None, None, step) for step in chance.choice((1, -1), size=2)]

    def taken(image: NDArray[Any]) -> Image:
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        return (scaled[y : y + crop, x : x + crop][flips[0], flips[1]] / 255).astype(np.float32)

    return taken(pair.thermal), taken(pair.visible)


def toned(image: Image, chance: Chance) -> Image:
    """Another camera's tone curve: gamma, contrast and brightness, still in [0, 1]."""
    gamma, contrast, brightness = np.exp(chance.normal(0, 0.25)), chance.uniform(0.6, 1.2), chance.normal(0, 0.05)
    return np.clip(contrast * image**gamma + brightness, 0, 1).astype(np.float32)


def noisy(image: Image, chance: Chance) -> Image:
    """Sensor noise of at most 10 grey levels."""
    noise = chance.normal(0, chance.uniform(0, 0.04), image.shape)
    return np.clip(image + noise, 0, 1).astype(np.float32)
