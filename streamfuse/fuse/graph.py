"""FusionGraph: the one module that is compiled, from sensor counts and RGB bytes to fused RGB bytes.

tone curve -> warp onto the output grid -> network on luminance -> colour recombination -> uint8. The network sees
thermal and BT.601 luma (full range, as JPEG has it); its change of luma is added to all three channels alike, which
keeps every colour difference and leaves grey grey. Outside the warp's valid mask the RGB image passes unchanged.

It knows nothing of frames, time or engines; it is a plain module, exportable, without control flow on values.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from streamfuse.frames import WarpMap

LUMA = (0.299, 0.587, 0.114)
FEATHER_PX = 8
"""Inside the border of the thermal image the fusion fades in over so many output pixels, so that no seam shows."""


class FusionGraph(nn.Module):
    """The graph around one network; `set_warp` gives it its geometry before the first frame and whenever that changes.

    Buffers: `grid` 1 H W 2, the warp in grid_sample's coordinates (align_corners=False); `strength` 1 1 H W, what
    share of the network's change is applied, exactly 0 outside the valid mask; `valid` 1 1 H W, that mask as 0 or 1.
    """

    grid: Tensor
    strength: Tensor
    valid: Tensor
    luma_weights: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name in ("grid", "strength", "valid"):
            self.register_buffer(name, torch.empty(0), persistent=False)
        self.register_buffer("luma_weights", torch.tensor(LUMA), persistent=False)

    def set_warp(self, warp: WarpMap) -> None:
        """Take over a map; one of the same size is copied in place, so that a compiled graph goes on using it."""
        self._replace("grid", sampling_grid(warp)[None])
        self._replace("strength", change_share(warp)[None, None])
        self._replace("valid", warp.valid.astype(np.float32)[None, None])

    def forward(self, counts: Tensor, lut: Tensor, rgb: Tensor) -> Tensor:
        """Thermal counts 1 1 h w int32, lut (levels,) float32, RGB on the output grid 1 H W 3 uint8 -> the same."""
        return as_bytes(self.mix(counts, lut, rgb))

    def mix(self, counts: Tensor, lut: Tensor, rgb: Tensor) -> Tensor:
        """`forward` before it is clipped and rounded: 1 H W 3 float, 0 = black, 255 = white."""
        colour = rgb.float()
        luma = (colour @ self.luma_weights * (1 / 255))[:, None]
        change = luma_change(self.network, self.warp(counts, lut), luma, self.strength)
        return colour + change[:, 0, :, :, None]

    def warp(self, counts: Tensor, lut: Tensor) -> Tensor:
        """Thermal 1 1 H W in [0, 1] on the output grid; beyond the thermal image its border goes on."""
        return warped(counts, lut, self.grid)

    def aligned(self, counts: Tensor, lut: Tensor) -> Tensor:
        """Thermal 1 1 H W uint8 on the output grid, black outside the valid mask."""
        return as_bytes(self.warp(counts, lut) * self.valid * 255)

    def _replace(self, name: str, array: NDArray[np.float32]) -> None:
        old: Tensor = getattr(self, name)
        new = torch.tensor(array)  # a copy: the arrays of a map are shared
        if old.shape == new.shape:
            old.copy_(new)
        else:
            setattr(self, name, new.to(old.device))


def warped(counts: Tensor, lut: Tensor, grid: Tensor) -> Tensor:
    """Counts 1 1 h w int32 through the tone curve (levels,), then sampled at `grid` 1 H W 2: 1 1 H W in [0, 1]."""
    toned = lut.index_select(0, counts.flatten()).view(counts.shape)
    return F.grid_sample(toned, grid, mode="bilinear", padding_mode="border", align_corners=False)


def luma_change(network: nn.Module, thermal: Tensor, luma: Tensor, strength: Tensor) -> Tensor:
    """What fusion adds to all three channels, 1 1 H W in grey levels; thermal, luma and strength 1 1 H W in [0, 1]."""
    fused: Tensor = network(thermal, luma)
    return (fused - luma) * strength * 255


def as_bytes(values: Tensor) -> Tensor:
    """0..255 float -> uint8: clipped, rounded half up. By way of int32, which PyTorch converts three times as fast."""
    return (values.clamp(0, 255) + 0.5).to(torch.int32).to(torch.uint8)


@lru_cache(maxsize=2)
def sampling_grid(warp: WarpMap) -> NDArray[np.float32]:
    """The map in grid_sample's coordinates, in which -1 and 1 are the outer edges of the border pixels: H W 2.

    Remembered, as `change_share` is, so that it can be made before the map is used; not to be written into.
    """
    size = np.array(warp.thermal_size, dtype=np.float64)
    return ((2 * warp.thermal_from_output.astype(np.float64) + 1) / size - 1).astype(np.float32)


@lru_cache(maxsize=2)
def change_share(warp: WarpMap) -> NDArray[np.float32]:
    """What share of the network's change is applied: H W float32."""
    return feathered(warp.valid)


def feathered(valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """0 outside the mask, rising from its border to 1 over FEATHER_PX pixels: H W float32."""
    if valid.all():
        return np.ones(valid.shape, dtype=np.float32)
    distance = cv2.distanceTransform(valid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.minimum(distance / FEATHER_PX, 1).astype(np.float32)
