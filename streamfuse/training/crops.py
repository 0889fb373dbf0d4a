"""Batches of crops, a pure function of (seed, step): a resumed run sees what an uninterrupted one would have seen.

A batch holds what the network is given and what its output is compared with. Both differ where an input is degraded:
noise is to be left out, and a thermal image that shows nothing is to be ignored. A visible image that shows nothing
gets no such treatment: taught to ignore one, a network takes a clear sky for one. Everything else that varies the
inputs varies what is wanted alike, misregistration too: the network cannot know where the edge ought to be, so what it
is to learn is up to the loss's tolerance.

Every sample of a step has a number, and its own chance: N processes of a batch of B draw what one of N * B would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from streamfuse.errors import UserError
from streamfuse.training.augment import Chance, Image, cut, noisy, varied
from streamfuse.training.pairs import Pair
from streamfuse.training.settings import AugmentConfig

MOST_NOISE = 0.04
"""10 grey levels."""


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """The same places a frame earlier: the inputs then, N 1 H W.

    `flow` N 2 H W in pixels (x, y): where each pixel of now was then; `mask` N 1 H W: 1 where that lies in the picture.
    """

    thermal: Tensor
    visible: Tensor
    flow: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """All N 1 H W in [0, 1]: the network's inputs, and the sources that the loss compares its output with."""

    thermal: Tensor
    visible: Tensor
    wanted_thermal: Tensor
    wanted_visible: Tensor
    earlier: Earlier | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Every image of the batch by its name."""
        named = {name: getattr(self, name) for name in ("thermal", "visible", "wanted_thermal", "wanted_visible")}
        if self.earlier is not None:
            then = self.earlier
            named |= {f"earlier_{name}": getattr(then, name) for name in ("thermal", "visible", "flow", "mask")}
        return named

    def to(self, device: str) -> Batch:
        there = {name: image.to(device) for name, image in self.tensors().items()}
        then = {name.removeprefix("earlier_"): there.pop(name) for name in tuple(there) if name.startswith("earlier_")}
        return Batch(**there, earlier=Earlier(**then) if then else None)


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop, H W: what is given and wanted now, and what was given a frame earlier."""

    given: tuple[Image, Image]
    wanted: tuple[Image, Image]
    earlier: tuple[Image, Image] | None = None
    shift: tuple[int, int] = (0, 0)


class Crops:
    """Draws the batch of a step from `pairs`; those smaller than a crop are enlarged to it. `first`: sample number."""

    def __init__(
        self, pairs: Sequence[Pair], augment: AugmentConfig, *, crop: int, batch: int, seed: int, first: int = 0
    ) -> None:
        if not pairs:
            raise UserError("no pair is left to train on; add sets or lower `validation`")
        self.pairs, self.augment, self.crop, self.batch = pairs, augment, crop, batch
        self.seed, self.first = seed, first
        shares = np.array([pair.share for pair in pairs])
        self._odds = np.cumsum(shares / shares.sum())

    def at(self, step: int) -> Batch:
        moving = np.random.default_rng((self.seed, step)).random() < self.augment.motion
        numbers = range(self.first, self.first + self.batch)
        samples = [self._sample(np.random.default_rng((self.seed, step, number)), moving) for number in numbers]
        given, wanted = [one.given for one in samples], [one.wanted for one in samples]
        then = [one.earlier for one in samples if one.earlier is not None]
        batch = Batch(*_stacked(given), *_stacked(wanted))
        if not then:
            return batch
        flow, mask = _flows([one.shift for one in samples], self.crop)
        return replace(batch, earlier=Earlier(*_stacked(then), flow, mask))

    def _sample(self, chance: Chance, moving: bool) -> Sample:
        augment = self.augment
        pair = self.pairs[min(int(np.searchsorted(self._odds, chance.random(), side="right")), len(self.pairs) - 1)]
        room = augment.motion_px if moving else 0
        images = cut(pair.images(), self.crop + room, augment, chance)
        thermal, visible = varied(*images, augment, chance)
        wanted = (thermal, visible)
        if chance.random() < augment.blank:
            thermal, wanted = np.full_like(thermal, chance.uniform()), (visible, visible)
        strength = chance.uniform(0, MOST_NOISE, size=2) * (chance.random() < augment.noise)
        now, before = (chance.integers(room + 1, size=2) for _ in range(2))

        def given(place: tuple[int, int]) -> tuple[Image, Image]:
            parts = (self._part(thermal, place), self._part(visible, place))
            return noisy(parts[0], strength[0], chance), noisy(parts[1], strength[1], chance)

        here, there = (int(now[0]), int(now[1])), (int(before[0]), int(before[1]))
        shown = (self._part(wanted[0], here), self._part(wanted[1], here))
        if not moving:
            return Sample(given(here), shown)
        return Sample(given(here), shown, given(there), (here[0] - there[0], here[1] - there[1]))

    def _part(self, image: Image, place: tuple[int, int]) -> Image:
        return image[place[1] : place[1] + self.crop, place[0] : place[0] + self.crop]


class Ahead:
    """Hands out the batch of a step while a thread prepares the next: the same batches, sooner."""

    def __init__(self, at: Callable[[int], Batch]) -> None:
        self._at = at
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next: tuple[int, Future[Batch]] | None = None

    def at(self, step: int) -> Batch:
        asked = self._next
        ready = asked[1] if asked is not None and asked[0] == step else self._thread.submit(self._at, step)
        batch = ready.result()
        self._next = (step + 1, self._thread.submit(self._at, step + 1))
        return batch

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def _stacked(pairs: Sequence[tuple[Image, Image]]) -> tuple[Tensor, Tensor]:
    thermal, visible = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(thermal))[:, None], torch.from_numpy(np.stack(visible))[:, None]


def _flows(shifts: Sequence[tuple[int, int]], side: int) -> tuple[Tensor, Tensor]:
    """Flow N 2 side side and mask N 1 side side of whole pictures that moved by `shifts` (x, y)."""
    flow = torch.tensor(shifts, dtype=torch.float32)[:, :, None, None].expand(-1, 2, side, side).contiguous()
    place = torch.arange(side, dtype=torch.float32)
    inside = [(place + flow[:, axis, :1, :1]).clamp(0, side - 1) == place + flow[:, axis, :1, :1] for axis in (0, 1)]
    mask = inside[1][..., :, None] & inside[0][..., None, :]
    return flow, mask.reshape(-1, 1, side, side).float()
