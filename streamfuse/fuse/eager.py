"""The eager engine: the graph as plain PyTorch on the CPU. It runs anywhere and defines what is right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from streamfuse.clock import now_ns
from streamfuse.frames import Pixels, WarpMap
from streamfuse.fuse.graph import FusionGraph
from streamfuse.thermal import ToneCurve

PARTS = ("warp", "network", "colour")


class _Timed(nn.Module):
    """The network with a watch around it. A module of its own: other engines may compile the same network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.begun_ns = self.done_ns = 0

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        self.begun_ns = now_ns()
        fused: Tensor = self.network(thermal, visible)
        self.done_ns = now_ns()
        return fused


class EagerEngine:
    """Runs the graph as it stands, on `threads` cores; outputs are new arrays every time."""

    name = "eager"

    def __init__(self, network: nn.Module, *, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self._timed = _Timed(network)
        self.graph = FusionGraph(self._timed).eval()
        self._marks: dict[str, int] = {}

    def set_warp(self, warp: WarpMap) -> None:
        self.graph.set_warp(warp)

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        begun_ns, timed = now_ns(), self._timed
        with torch.inference_mode():
            fused: Tensor = self.graph(counts_tensor(thermal), torch.from_numpy(curve.lut), rgb_tensor(rgb))
        pixels: Pixels = fused[0].numpy()
        parts = (timed.begun_ns - begun_ns, timed.done_ns - timed.begun_ns, now_ns() - timed.done_ns)
        self._marks = dict(zip(PARTS, parts, strict=True))
        return pixels

    def marks_ns(self) -> Mapping[str, int]:
        """What the parts of the last `fuse` took: tone curve and warp, network, colour and bytes."""
        return self._marks

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        with torch.inference_mode():
            aligned = self.graph.aligned(counts_tensor(thermal), torch.from_numpy(curve.lut))
        return aligned[0, 0].numpy()

    def close(self) -> None:
        """Nothing to give back."""


def counts_tensor(thermal: Pixels) -> Tensor:
    """H W uint8 or uint16 -> 1 1 H W int32: TensorRT has no uint16."""
    return torch.from_numpy(thermal.astype(np.int32))[None, None]


def rgb_tensor(rgb: Pixels) -> Tensor:
    """H W 3 uint8 -> 1 H W 3, sharing memory unless that is read-only, which torch warns of."""
    return torch.from_numpy(rgb if rgb.flags.writeable else rgb.copy())[None]
