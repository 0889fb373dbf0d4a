"""What one frame needs: arithmetic and traffic of the fusion graph, counted from its operators at a given size.

Operations: PyTorch's counter, which knows convolutions and matrix products (a multiply-add is two); whatever else
makes floating-point values counts one for each value made. Bytes, two figures: `least`, every input and output of the
whole graph once and every weight once, as a graph fused into one kernel would move; `unfused`, what every operator
reads and writes for itself, views left out, as eager moves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from streamfuse.frames import Size
from streamfuse.fuse.planar import Buffers, PlanarGraph

COUNTED = ("convolution", "mm", "bmm", "addmm")
"""Operators that PyTorch's counter knows."""


@dataclass(frozen=True, slots=True)
class Need:
    """Of one frame: floating-point operations, bytes."""

    operations: int
    least_bytes: int
    unfused_bytes: int

    @property
    def intensity(self) -> float:
        """Operations per byte that must move at least."""
        return self.operations / self.least_bytes


def count(network: nn.Module, thermal_size: Size, output_size: Size) -> Need:
    """What the graph around `network` needs for a frame of these sizes."""
    graph = PlanarGraph(network).eval()
    inputs = tuple(torch.from_numpy(array) for array in Buffers.of(thermal_size, output_size).fusion.values())
    traffic, known = Traffic(), FlopCounterMode(display=False)
    with torch.no_grad(), known, traffic:
        output: Tensor = graph(*inputs)
    weights = [*graph.parameters(), *graph.buffers()]
    least = sum(map(size_of, [*inputs, output, *weights])) - lut_never_read(inputs[1], inputs[0])
    return Need(int(known.get_total_flops()) + traffic.values, least, traffic.bytes)


def size_of(tensor: Tensor) -> int:
    """In bytes, of its elements (a view of one pixel is one pixel)."""
    return tensor.numel() * tensor.element_size()


def lut_never_read(lut: Tensor, counts: Tensor) -> int:
    """A frame of few pixels cannot read all of the tone curve."""
    return max(0, size_of(lut) - counts.numel() * lut.element_size())


class Traffic(TorchDispatchMode):
    """Counts what every operator reads and writes, and the values made by operators PyTorch's counter leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        read, written = tensors(args), tensors((made,))
        places = {tensor.untyped_storage().data_ptr() for tensor in read}
        if all(tensor.untyped_storage().data_ptr() in places for tensor in written) and not func._schema.is_mutable:
            return made  # a view moves nothing
        self.bytes += sum(map(size_of, [*read, *written]))
        if not any(name in func.__name__ for name in COUNTED):
            self.values += sum(tensor.numel() for tensor in written if tensor.is_floating_point())
        return made


def tensors(values: Any) -> list[Tensor]:
    """All tensors among an operator's arguments, in lists too."""
    if isinstance(values, Tensor):
        return [values]
    if not isinstance(values, (list, tuple)):
        return []
    return [tensor for value in cast("list[Any]", values) for tensor in tensors(value)]
