"""Pairs with known pixels and known geometry for the tests of the graph, the engines and the Fuser."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from streamfuse.frames import AlignedPair, Clock, Frame, FramePair, LoneFrame, Modality, OutputGrid, Size, WarpMap
from streamfuse.fuse import on_grid
from streamfuse.register import Registrar
from streamfuse.sources.synthetic import SceneConfig, open_synthetic


def warp(thermal_size: Size, size: Size, *, tilt: float = 0.03, scale: float = 0.9, revision: int = 0) -> WarpMap:
    """Output pixels to thermal ones: scaled to cover more than the thermal image, rotated a little, exact mask."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) / max(1, width - 1) - 0.5, np.arange(height) / max(1, height - 1) - 0.5)
    turned = np.stack((x + tilt * y, y - tilt * x), axis=-1) / scale + 0.5
    last = np.array(thermal_size) - 1.0
    coordinates = (turned * last).astype(np.float32)
    coordinates[np.abs(coordinates) < 1e-4] = 0
    valid = ((coordinates >= 0) & (coordinates <= last)).all(axis=-1)
    return WarpMap(coordinates, valid, thermal_size, OutputGrid(size, size, (0, 0, *size)), "rig-hash", 10.0, revision)


def thermal_frame(size: Size, sequence: int = 0, *, seed: int = 0, bits: int = 16) -> Frame:
    """Every count from 0 to the largest is possible; the first two are the extremes."""
    top = 2**bits - 1
    pixels = np.random.default_rng(seed).integers(0, top, size[::-1], endpoint=True)
    pixels.flat[0], pixels.flat[-1] = 0, top
    return _frame(Modality.THERMAL, pixels.astype(np.uint16 if bits == 16 else np.uint8), sequence)


def rgb_frame(size: Size, sequence: int = 0, *, seed: int = 0, grey: bool = False) -> Frame:
    """Noise between black and white, both present."""
    pixels = np.random.default_rng(seed + 100).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    pixels[0, 0], pixels[-1, -1] = 0, 255
    return _frame(Modality.RGB, np.repeat(pixels[..., :1], 3, axis=2) if grey else pixels, sequence)


def pair(thermal: Frame, rgb: Frame, geometry: WarpMap, *, held: bool = False) -> AlignedPair:
    return AlignedPair(
        frames=FramePair(thermal=thermal, rgb=rgb, skew_ns=-4_000_000, held=held),
        warp=geometry,
        confidence=0.75,
        stamps={"offered": 1, "captured": 2},
    )


def lone(frame: Frame, geometry: WarpMap) -> AlignedPair:
    return AlignedPair(frames=LoneFrame(frame=frame, why="no partner"), warp=geometry, confidence=0.75)


@cache
def street() -> AlignedPair:
    """A picture as cameras make it: people and cars at night, 16-bit counts, registered by the rig it was made with."""
    sources = open_synthetic(SceneConfig(thermal_size=(160, 128), rgb_size=(320, 256)), pace="fast")
    with sources.thermal as thermal, sources.rgb as rgb:
        frames = [next(item for item in source if isinstance(item, Frame)) for source in (thermal, rgb)]
    registrar = Registrar(sources.rig, size=(120, 96), thermal_size=(160, 128), rgb_size=(320, 256))
    aligned = registrar.register(FramePair(thermal=frames[0], rgb=frames[1], skew_ns=0))
    seen = replace(frames[1], pixels=on_grid(frames[1].pixels, aligned.warp.grid))
    whole = replace(aligned.warp, grid=OutputGrid((120, 96), (120, 96), (0, 0, 120, 96)))
    return replace(aligned, frames=replace(aligned.frames, rgb=seen), warp=whole)


def _frame(modality: Modality, pixels: np.ndarray, sequence: int) -> Frame:
    return Frame(
        modality=modality,
        pixels=pixels,
        capture_ns=1_000_000_000 + sequence * 40_000_000 + (0 if modality is Modality.RGB else 4_000_000),
        capture_error_ns=500,
        recording_ns=sequence * 40_000_000,
        sequence=sequence,
        clock=Clock.SENSOR,
        name=f"{modality.value}-{sequence:03d}",
    )
