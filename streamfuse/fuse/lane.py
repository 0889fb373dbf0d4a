"""The lane of a frame through an accelerator: static buffers, filled, uploaded, computed and brought back.

A slot is one set of buffers with the work captured on them. With one slot a frame is done before the next begins
(latency); with two, one is uploaded while the other is computed (throughput, `Pipelined`). What is computed is given
from outside; the lane knows nothing of compilers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamfuse.frames import Pixels, Size, WarpMap
from streamfuse.fuse.device_graph import widened
from streamfuse.fuse.graph import change_share, sampling_grid, warped
from streamfuse.fuse.planar import rounded
from streamfuse.fuse.streams import STAGES, Mark, Streams
from streamfuse.thermal import ToneCurve

LEVELS = 65536


@dataclass(frozen=True)
class Geometry:
    """The map as the graph reads it, on the device, at addresses that never change: `grid` 1 H W 2, `strength` and
    `valid` 1 1 H W, all float32."""

    grid: Tensor
    strength: Tensor
    valid: Tensor

    @classmethod
    def of(cls, size: Size, device: str) -> Geometry:
        rows, columns = size[1], size[0]
        shapes = ((1, rows, columns, 2), (1, 1, rows, columns), (1, 1, rows, columns))
        return cls(*(torch.zeros(shape, device=device) for shape in shapes))

    def set_warp(self, warp: WarpMap) -> None:
        self.grid[0].copy_(torch.from_numpy(sampling_grid(warp)))
        self.strength[0, 0].copy_(torch.from_numpy(change_share(warp)))
        self.valid[0, 0].copy_(torch.from_numpy(warp.valid))


@dataclass(frozen=True)
class Inputs:
    """What the captured work reads: counts 1 1 h w (bits of uint16 in int16), lut 65536 float32, rgb 1 H W 3 uint8."""

    counts: Tensor
    lut: Tensor
    rgb: Tensor
    geometry: Geometry


Work = Callable[[], Tensor]
Prepare = Callable[[Inputs], Work]
"""Gives the work on these inputs: enqueued on the current stream when called, returns fused H W 3 uint8."""


class Slot:
    """One frame's buffers on both sides, and the work captured on them."""

    def __init__(self, sizes: tuple[Size, Size], geometry: Geometry, streams: Streams, prepare: Prepare) -> None:
        (columns, rows), (width, height) = sizes
        self.counts = torch.zeros((1, 1, rows, columns), dtype=torch.int16, pin_memory=streams.pinned)
        self.lut = torch.zeros(LEVELS, pin_memory=streams.pinned)
        self.rgb = torch.zeros((1, height, width, 3), dtype=torch.uint8, pin_memory=streams.pinned)
        self.fused = torch.zeros((height, width, 3), dtype=torch.uint8, pin_memory=streams.pinned)
        counts, lut, rgb = (torch.zeros_like(each, device=streams.device) for each in (self.counts, self.lut, self.rgb))
        self.inputs = Inputs(counts, lut, rgb, geometry)
        self.marks = {name: streams.mark() for name in ("begun", *STAGES)}
        self.curve: ToneCurve | None = None
        self.levels = 0
        streams.settle()
        self.run = streams.captured(prepare(self.inputs))

    def fill(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels | None) -> None:
        """Into the host's buffers; a curve only where it is another one than this slot's last."""
        np.copyto(self.counts.numpy().view(np.uint16)[0, 0], thermal)
        self.levels = 0 if curve is self.curve else curve.levels
        if self.levels:
            self.lut.numpy()[: curve.levels] = curve.lut
            self.curve = curve
        if rgb is not None:
            np.copyto(self.rgb.numpy()[0], rgb)

    def upload(self, *, rgb: bool) -> None:
        self.inputs.counts.copy_(self.counts, non_blocking=True)
        if self.levels:
            self.inputs.lut[: self.levels].copy_(self.lut[: self.levels], non_blocking=True)
        if rgb:
            self.inputs.rgb.copy_(self.rgb, non_blocking=True)


class Lane:
    """`slots` frames of one pair of sizes (thermal, output) at a time, with the work that `prepare` gives for each."""

    def __init__(self, sizes: tuple[Size, Size], streams: Streams, prepare: Prepare, slots: int = 1) -> None:
        self._streams = streams
        self._geometry = Geometry.of(sizes[1], streams.device)
        with torch.no_grad():
            self.slots = [Slot(sizes, self._geometry, streams, prepare) for _ in range(slots)]

    def set_warp(self, warp: WarpMap) -> None:
        self._streams.settle()
        self._geometry.set_warp(warp)
        self._streams.settle()

    def submit(self, slot: Slot, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> None:
        """Start one frame in a slot whose last result was taken."""
        uploaded = self._uploaded(slot, thermal, curve, rgb)
        marks, streams = slot.marks, self._streams
        with torch.no_grad(), streams.on("compute", after=uploaded):
            fused = slot.run()
            marks["compute"].record()
        with streams.on("download", after=marks["compute"]):
            slot.fused.copy_(fused, non_blocking=True)
            marks["download"].record()

    def result(self, slot: Slot) -> Pixels:
        """The frame of this slot once it is there: H W 3 uint8, the caller's to keep."""
        slot.marks["download"].synchronize()
        return np.array(slot.fused.numpy())

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        """Thermal on the output grid, H W uint8; not captured, since few frames need it."""
        slot, geometry = self.slots[0], self._geometry
        uploaded = self._uploaded(slot, thermal, curve, None)
        with torch.no_grad(), self._streams.on("compute", after=uploaded):
            toned = warped(widened(slot.inputs.counts), slot.inputs.lut, geometry.grid)
            shown: Pixels = rounded(toned * geometry.valid * 255)[0, 0].cpu().numpy()
            return shown

    def last_ms(self, slot: Slot) -> dict[str, float]:
        """How long the device took for this slot's last frame, by stage, waiting between stages included."""
        names = ("begun", *STAGES)
        return {
            name: slot.marks[before].elapsed_time(slot.marks[name]) for before, name in zip(names, STAGES, strict=False)
        }

    def _uploaded(self, slot: Slot, thermal: Pixels, curve: ToneCurve, rgb: Pixels | None) -> Mark:
        slot.fill(thermal, curve, rgb)
        with self._streams.on("upload"):
            slot.marks["begun"].record()
            slot.upload(rgb=rgb is not None)
            slot.marks["upload"].record()
        return slot.marks["upload"]


class Pipelined:
    """Throughput: every frame comes back one call later, and its upload overlaps the computation before it."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._free = deque(lane.slots)
        self._under_way: deque[Slot] = deque()

    def put(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels | None:
        """Start this frame and return the oldest one under way, once no slot is free for another."""
        slot = self._free.popleft()
        self._lane.submit(slot, thermal, curve, rgb)
        self._under_way.append(slot)
        return None if self._free else self.take()

    def take(self) -> Pixels | None:
        """The oldest frame under way; None where none is."""
        if not self._under_way:
            return None
        slot = self._under_way.popleft()
        pixels = self._lane.result(slot)
        self._free.append(slot)
        return pixels
