"""The fusion graph once more, in plain numpy float64: slow and obvious."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from streamfuse.frames import WarpMap
from streamfuse.models import build
from streamfuse.thermal import ToneCurve

FEATHER_PX = 8
KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def mix(thermal: np.ndarray, curve: ToneCurve, rgb: np.ndarray, geometry: WarpMap, model: str) -> np.ndarray:
    """Fused RGB before it is clipped and rounded, 0..255: H W 3 float64."""
    luma = rgb.astype(float) @ np.array([0.299, 0.587, 0.114]) / 255
    fused = FUSIONS[model](warped(thermal, curve, geometry), luma)
    return rgb + 255 * ((fused - luma) * strength(geometry.valid))[..., None]


def as_bytes(values: np.ndarray) -> np.ndarray:
    return np.floor(values.clip(0, 255) + 0.5).astype(np.uint8)


def warped(thermal: np.ndarray, curve: ToneCurve, geometry: WarpMap) -> np.ndarray:
    """Bilinear at the map's coordinates, which are first moved onto the thermal image."""
    toned = np.interp(thermal, curve.counts.astype(float), curve.values.astype(float))
    last = np.array(geometry.thermal_size) - 1
    x, y = np.moveaxis(geometry.thermal_from_output.astype(float).clip(0, last), -1, 0)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, last[0]), np.minimum(top + 1, last[1])
    across, down = x - left, y - top
    above = toned[top, left] * (1 - across) + toned[top, right] * across
    below = toned[bottom, left] * (1 - across) + toned[bottom, right] * across
    return above * (1 - down) + below * down


def strength(valid: np.ndarray) -> np.ndarray:
    """Distance to the nearest pixel outside the mask over FEATHER_PX, at most 1."""
    outside = np.argwhere(~valid)
    if len(outside) == 0:
        return np.ones(valid.shape)
    inside = np.argwhere(valid)
    nearest = np.array([np.hypot(*(outside - pixel).T).min() for pixel in inside])
    made = np.zeros(valid.shape)
    made[tuple(inside.T)] = np.minimum(nearest / FEATHER_PX, 1)
    return made


def average(thermal: np.ndarray, visible: np.ndarray) -> np.ndarray:
    return (thermal + visible) / 2


def laplacian(thermal: np.ndarray, visible: np.ndarray, details: int = 4) -> np.ndarray:
    """By recursion: the stronger detail of this level on the fusion of the next coarser one."""

    def fused(a: np.ndarray, b: np.ndarray, left: int) -> np.ndarray:
        if left == 0:
            return (a + b) / 2
        coarse_a, coarse_b = _halved(a), _halved(b)
        detail_a, detail_b = a - _doubled(coarse_a, a.shape), b - _doubled(coarse_b, b.shape)
        detail = np.where(np.abs(detail_a) >= np.abs(detail_b), detail_a, detail_b)
        return _doubled(fused(coarse_a, coarse_b, left - 1), a.shape) + detail

    return fused(thermal, visible, details).clip(0, 1)


def _blurred(image: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, KERNEL, "valid")
    return image


def _halved(image: np.ndarray) -> np.ndarray:
    return _blurred(np.pad(image, 2, mode="edge"))[::2, ::2]


def _doubled(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    padded = np.pad(image, 1, mode="edge")
    spread = np.zeros((padded.shape[0] * 2, padded.shape[1] * 2))
    spread[::2, ::2] = padded
    return 4 * _blurred(spread)[: shape[0], : shape[1]]


def trained(model: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A network has no plainer twin than itself in double precision."""

    def fused(thermal: np.ndarray, visible: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images = [torch.from_numpy(image)[None, None] for image in (thermal, visible)]
            return build(model).double()(*images)[0, 0].numpy()

    return fused


FUSIONS = {"average": average, "laplacian": laplacian, "streamfuse-s": trained("streamfuse-s")}
