"""The inductor engine: the whole graph through torch.compile, captured as one CUDA graph and replayed per frame.

On an NVIDIA GPU a frame costs one upload, one launch and one download. What torch.compile made is kept on disk by
PyTorch itself (`inductor` in the folder of compiled engines). On the CPU the same without streams and capture, which
serves to check the graph where there is no GPU; it is no rung of the ladder there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import Size
from streamfuse.fuse.available import inductor_lacks, remedy
from streamfuse.fuse.device_graph import TYPES, DeviceGraph, fixed, in_precision
from streamfuse.fuse.engine_files import cache_folder
from streamfuse.fuse.lane import Inputs, Prepare, Work
from streamfuse.fuse.lane_engine import LaneEngine
from streamfuse.fuse.streams import CudaStreams, NoStreams

log = logging.getLogger(__name__)

Compiler = Callable[[Any], Any]


class InductorEngine(LaneEngine):
    """Runs the graph compiled by PyTorch; compiling takes some ten seconds, again for each pair of sizes.

    `precision`: "auto" = fp16 on a GPU and fp32 on the CPU; "fp32", "fp16", "bf16": what the network computes in, the
    rest is float32. `slots`: frames that may be under way (1: latency; 2: `pipelined`). `compiler`: torch.compile, or
    what stands in for it. Raises EngineError where there is no GPU, or no compiler for the CPU.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        precision: str = "auto",
        device: str = "cuda",
        slots: int = 1,
        compiler: Compiler | None = None,
    ) -> None:
        if (lack := inductor_lacks(device)) and compiler is None:
            raise EngineError(f"engine inductor cannot run here: {lack}; {remedy(lack)}")
        if precision not in ("auto", *TYPES):
            raise UserError(f"engine inductor does not compute in {precision!r}; it offers: auto, {', '.join(TYPES)}")
        self.precision = ("fp16" if device == "cuda" else "fp32") if precision == "auto" else precision
        self.name = f"inductor-{self.precision}"
        self.slots = slots
        self.streams = CudaStreams() if device == "cuda" else NoStreams()
        self._network = in_precision(network, self.precision)
        self._compiler = compiler or compiled

    def prepare(self, sizes: tuple[Size, Size]) -> Prepare:
        (columns, rows), (width, height) = sizes
        log.info("compiling the graph for thermal %dx%d on output %dx%d; takes some ten seconds", *sum(sizes, ()))
        if self.precision == "fp32":
            exact()
        graph, device = DeviceGraph(self._network).to(self.streams.device), self.streams.device
        shapes = {
            "counts": ((1, 1, rows, columns), torch.int16),
            "lut": ((65536,), torch.float32),
            "grid": ((1, height, width, 2), torch.float32),
            "strength": ((1, 1, height, width), torch.float32),
            "rgb": ((1, height, width, 3), torch.uint8),
        }
        example = tuple(torch.zeros(shape, dtype=kind, device=device) for shape, kind in shapes.values())
        run = self._compiler(fixed(graph, example))

        def work_on(inputs: Inputs) -> Work:
            geometry = inputs.geometry
            return lambda: run(inputs.counts, inputs.lut, geometry.grid, geometry.strength, inputs.rgb)

        return work_on


def compiled(module: Any) -> Any:
    """For one size, in one piece or not at all; its kernels kept with the other compiled engines."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))
    return torch.compile(module, fullgraph=True, dynamic=False)


def exact() -> None:
    """Convolutions in float32 as such: NVIDIA GPUs otherwise take ten bits of mantissa, which is not the reference."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
