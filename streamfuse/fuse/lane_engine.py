"""An Engine over a lane: what the compiled engines of an accelerator share. It knows no compiler."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from streamfuse.errors import EngineError
from streamfuse.frames import Pixels, Size, WarpMap
from streamfuse.fuse.lane import Lane, Pipelined, Prepare
from streamfuse.fuse.streams import Streams
from streamfuse.thermal import ToneCurve


class LaneEngine:
    """Runs what `prepare` gives, which a subclass says; one lane for each pair of sizes (thermal, output).

    `fuse` returns the frame it was given. `pipelined()` is the other way, one frame late.
    """

    name: str
    streams: Streams
    slots: int
    lane: Lane | None = None
    sizes: tuple[Size, Size] | None = None

    def prepare(self, sizes: tuple[Size, Size]) -> Prepare:
        """How to make work for frames of these sizes. Raises EngineError where that cannot be done."""
        raise NotImplementedError

    def set_warp(self, warp: WarpMap) -> None:
        """Take over a map; only one of other sizes than before compiles."""
        sizes = (warp.thermal_size, warp.grid.size)
        try:
            if sizes != self.sizes or self.lane is None:
                self.lane = self.sizes = None
                self.lane = Lane(sizes, self.streams, self.prepare(sizes), self.slots)
                self.sizes = sizes
            self.lane.set_warp(warp)
        except torch.cuda.OutOfMemoryError as error:
            raise EngineError(out_of_memory(sizes)) from error

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        lane = self._lane()
        lane.submit(lane.slots[0], thermal, curve, rgb)
        return lane.result(lane.slots[0])

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        return self._lane().align(thermal, curve)

    def marks_ns(self) -> Mapping[str, int]:
        """What the device says of the last `fuse`: upload, compute, download; nothing on the CPU, which does not."""
        if self.lane is None or self.streams.device == "cpu":
            return {}
        return {name: round(ms * 1e6) for name, ms in self.lane.last_ms(self.lane.slots[0]).items()}

    def pipelined(self) -> Pipelined:
        """Double buffering over this engine's slots (at least two make sense), once its map is known."""
        return Pipelined(self._lane())

    def close(self) -> None:
        self.lane = self.sizes = None

    def _lane(self) -> Lane:
        if self.lane is None:
            raise EngineError(f"engine {self.name} was closed, or no map was given to it yet")
        return self.lane


def out_of_memory(sizes: tuple[Size, Size]) -> str:
    thermal, output = (f"{width}x{height}" for width, height in sizes)
    return (
        f"the GPU has not enough memory for thermal {thermal} on output {output}; "
        "end what else uses it, lower output.size, or choose precision fp16"
    )
