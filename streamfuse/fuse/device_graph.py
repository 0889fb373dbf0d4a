"""The fusion graph as an accelerator takes it: frames as cameras deliver them, so that the host only moves bytes.

Sixteen bits a count go up instead of thirty-two, colours stay interleaved, and the network alone computes in half
precision: tone curve, warp and colour are cheap and keep the reference's accuracy.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from streamfuse.fuse.planar import PlanarGraph

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class DeviceGraph(nn.Module):
    """PlanarGraph around `network` between raw bytes and raw bytes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.planar = PlanarGraph(network)

    def forward(self, counts: Tensor, lut: Tensor, grid: Tensor, strength: Tensor, rgb: Tensor) -> Tensor:
        """Counts 1 1 h w as the bits of uint16, rgb 1 H W 3 uint8, the others as in PlanarGraph -> H W 3 uint8."""
        return interleaved(self.planar(widened(counts), lut, grid, strength, planes(rgb)))


class InPrecision(nn.Module):
    """A copy of a network that computes in another floating-point type and is spoken to in float32."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.number = TYPES[precision]
        self.network = deepcopy(network).to(self.number)

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        """1 1 H W float32 in [0, 1] each -> the same."""
        fused: Tensor = self.network(thermal.to(self.number), visible.to(self.number))
        return fused.float()


def in_precision(network: nn.Module, precision: str) -> nn.Module:
    """A copy, ready for inference: it will be moved to the device, and the original serves another engine."""
    return (deepcopy(network) if precision == "fp32" else InPrecision(network, precision)).eval()


def widened(counts: Tensor) -> Tensor:
    """The bits of uint16 in int16 -> int32: neither PyTorch's compiler nor TensorRT computes in uint16."""
    return counts.to(torch.int32) & 0xFFFF


def planes(rgb: Tensor) -> Tensor:
    """1 H W 3 -> 1 3 H W, not yet moved."""
    return rgb.permute(0, 3, 1, 2)


def interleaved(fused: Tensor) -> Tensor:
    """1 3 H W -> H W 3, contiguous."""
    return fused[0].permute(1, 2, 0).contiguous()


def fixed(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """The module traced whole for inputs of these sizes; every call gives code of its own to a compiler's cache."""
    with torch.no_grad():
        return torch.export.export(module.eval(), inputs).module()
