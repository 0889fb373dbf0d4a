"""The fusion graph as compilers want it: everything that changes is an input, colours lie in planes, sizes are fixed.

The pixel work is graph.py's; here is only the shape of it, and its export.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamfuse.frames import Pixels, Size, WarpMap
from streamfuse.fuse.graph import LUMA, change_share, luma_change, sampling_grid, warped
from streamfuse.thermal import ToneCurve

Inputs = dict[str, NDArray[Any]]
"""Name -> array of the right shape and type, in the order in which a graph takes them."""
LEVELS = 65536


class PlanarGraph(nn.Module):
    """FusionGraph with all that changes as inputs, and colour as planes.

    Planes, because a compiler's own transposition of bytes costs ten times what OpenCV needs for it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, counts: Tensor, lut: Tensor, grid: Tensor, strength: Tensor, planes: Tensor) -> Tensor:
        """Counts 1 1 h w int32, lut (levels,), grid 1 H W 2, strength 1 1 H W, planes 1 3 H W uint8 -> planes."""
        return rounded(self.mix(counts, lut, grid, strength, planes))

    def mix(self, counts: Tensor, lut: Tensor, grid: Tensor, strength: Tensor, planes: Tensor) -> Tensor:
        """`forward` before it is clipped and rounded: 1 3 H W float, 0 = black, 255 = white."""
        colour = planes.float()
        red, green, blue = colour[:, 0:1], colour[:, 1:2], colour[:, 2:3]
        luma = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) * (1 / 255)
        return colour + luma_change(self.network, warped(counts, lut, grid), luma, strength)


class AlignedGraph(nn.Module):
    """Thermal alone on the output grid."""

    def forward(self, counts: Tensor, lut: Tensor, grid: Tensor, valid: Tensor) -> Tensor:
        """As in PlanarGraph, valid 1 1 H W in {0, 1} -> 1 1 H W uint8."""
        return rounded(warped(counts, lut, grid) * valid * 255)


@dataclass(frozen=True)
class Buffers:
    """The arrays that the compiled graphs read, filled in place: one set for each pair of sizes."""

    thermal: Inputs
    geometry: Inputs
    planes: NDArray[np.uint8]

    @classmethod
    def of(cls, thermal: Size, output: Size) -> Buffers:
        rows, columns = output[1], output[0]
        return cls(
            thermal={
                "counts": np.zeros((1, 1, thermal[1], thermal[0]), np.int32),
                "lut": np.zeros(LEVELS, np.float32),
            },
            geometry={
                "grid": np.zeros((1, rows, columns, 2), np.float32),
                "strength": np.zeros((1, 1, rows, columns), np.float32),
                "valid": np.zeros((1, 1, rows, columns), np.float32),
            },
            planes=np.zeros((1, 3, rows, columns), np.uint8),
        )

    @property
    def fusion(self) -> Inputs:
        geometry = {name: self.geometry[name] for name in ("grid", "strength")}
        return {**self.thermal, **geometry, "planes": self.planes}

    @property
    def alignment(self) -> Inputs:
        return {**self.thermal, **{name: self.geometry[name] for name in ("grid", "valid")}}

    def set_thermal(self, counts: Pixels) -> None:
        np.copyto(self.thermal["counts"][0, 0], counts)

    def set_curve(self, curve: ToneCurve) -> None:
        """Of whatever sensor: counts that it cannot say are never looked up."""
        self.thermal["lut"][: curve.levels] = curve.lut

    def set_rgb(self, rgb: Pixels) -> None:
        cv2.split(rgb, list(self.planes[0]))

    def set_warp(self, warp: WarpMap) -> None:
        self.geometry["grid"][0] = sampling_grid(warp)
        self.geometry["strength"][0, 0] = change_share(warp)
        self.geometry["valid"][0, 0] = warp.valid


def rounded(values: Tensor) -> Tensor:
    """What graph.as_bytes does, without its detour over int32, which only PyTorch converts fast."""
    return whole(values).to(torch.uint8)


def whole(values: Tensor) -> Tensor:
    """0..255 float -> the same as whole numbers: clipped, rounded half up."""
    return (values.clamp(0, 255) + 0.5).floor()


def exported(module: nn.Module, inputs: Inputs) -> torch.export.ExportedProgram:
    """The module for inputs of these sizes, with padding as compilers run it fast.

    PyTorch's own decomposition of replicated borders gathers every pixel by its index, which costs as much as the
    rest of a pyramid.
    """
    with torch.no_grad():
        program = torch.export.export(module, tuple(torch.from_numpy(array) for array in inputs.values()))
    composite, replicated = torch.ops.aten.pad.default, torch.ops.aten.replication_pad2d.default
    known = torch.export.default_decompositions()
    for operator in [name for name in known if name != composite]:
        known.pop(operator)
    known[replicated] = _replicated
    return program.run_decompositions(known)


def _replicated(image: Tensor, sides: list[int]) -> Tensor:
    """N C H W with its border repeated outwards: left, right, top, bottom."""
    left, right, top, bottom = sides
    if left or right:
        image = torch.cat([image[..., :1]] * left + [image] + [image[..., -1:]] * right, dim=-1)
    if top or bottom:
        image = torch.cat([image[..., :1, :]] * top + [image] + [image[..., -1:, :]] * bottom, dim=-2)
    return image
