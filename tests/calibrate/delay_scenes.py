"""Two cameras whose delay is known: the synthetic street under a hand-held rig, and a lamp that blinks before it.

Stamps, exposures, drift and jitter are those of `streamfuse.sources.synthetic`; the street itself stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from streamfuse.frames import Modality
from streamfuse.sources.synthetic import SceneConfig, SyntheticPair, open_synthetic
from streamfuse.sources.synthetic.truth import Timing

MARGIN = 12  # of RGB pixels that the rig may turn away by
EXPOSURE_NS = 8_000_000
Show = Callable[[np.ndarray, int, Modality], np.ndarray]


@dataclass(frozen=True)
class Shot:
    """What one camera delivers: frames (made when asked for) and the stamp of each."""

    frames: Callable[[], Iterator[tuple[np.ndarray, int]]]


def scene(seed: int, *, seconds: float = 20.0, delay_ms: float = 0.0, **changes: Any) -> SyntheticPair:
    """A street without moving actors; the thermal camera exposes at its own phase and stamps `delay_ms` late."""
    phase_ns = int(np.random.default_rng([seed, 9]).uniform(0, 33e6))
    asked = {"thermal_size": (160, 128), "rgb_size": (320, 192), "jitter_ns": 300_000, "noise": 0.0, **changes}
    return open_synthetic(
        SceneConfig(
            seed=seed, duration_s=seconds, thermal_offset_ns=round(delay_ms * 1e6), thermal_phase_ns=phase_ns, **asked
        ),
        pace="fast",
    )


def shots(pair: SyntheticPair, show: Show, seed: int) -> dict[Modality, Shot]:
    """Both cameras with noise and lost frames; `show` makes a frame of the still picture at a true time (ns)."""
    return {
        source.modality: shot(source, pair.truth.timings[source.modality], source.info.frames, show, seed)
        for source in (pair.thermal, pair.rgb)
    }


def shot(source: Any, timing: Timing, count: int, show: Show, seed: int, drops: float = 0.02) -> Shot:
    """`count` frames of one camera, less those that are lost, exposed and stamped as `timing` says."""
    still = source.frame(0).pixels
    noise = 5.0 if source.modality is Modality.THERMAL else 4.0  # centikelvin, grey levels

    def frames() -> Iterator[tuple[np.ndarray, int]]:
        rng = np.random.default_rng([seed, still.ndim])
        tile = noise * rng.standard_normal((still.shape[0] + 40, still.shape[1] + 40, *still.shape[2:]), np.float32)
        for number in range(count):
            if rng.random() < drops:
                continue
            picture = show(still, timing.exposed_ns(number), source.modality).astype(np.float32)
            top, left = rng.integers(0, 40, 2)
            noisy = picture + tile[top : top + picture.shape[0], left : left + picture.shape[1]]
            yield noisy.clip(0, np.iinfo(still.dtype).max).astype(still.dtype), timing.stamp_ns(number)

    return Shot(frames)


def hand_held(seed: int, pixels: float = 4.0) -> Show:
    """The rig turns: slow sway and a tremor, random in frequency and phase; `pixels` of the RGB image."""
    rng = np.random.default_rng([seed, 5])
    hertz = np.concatenate([rng.uniform(0.15, 0.9, (2, 3)), rng.uniform(1.0, 4.0, (2, 4))], axis=1)
    size = np.concatenate([rng.uniform(0.5, 1, (2, 3)), rng.uniform(0.05, 0.25, (2, 4))], axis=1) * pixels / 2
    phase = rng.uniform(0, 2 * np.pi, hertz.shape)

    def show(still: np.ndarray, time_ns: int, modality: Modality) -> np.ndarray:
        x, y = (size * np.sin(2 * np.pi * hertz * time_ns / 1e9 + phase)).sum(axis=1)
        scale, margin = (0.5, MARGIN // 2) if modality is Modality.THERMAL else (1.0, MARGIN)
        move = np.array([[1, 0, np.clip(x * scale, -margin, margin)], [0, 1, np.clip(y * scale, -margin, margin)]])
        moved = cv2.warpAffine(still, move, still.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return moved[margin:-margin, margin:-margin]

    return show


def blinking(seed: int, *, period_s: float | None = None) -> Show:
    """A lamp goes on and off, irregularly unless it has a period; both cameras collect it over their exposure."""
    rng = np.random.default_rng([seed, 6])
    steps = np.full(4000, period_s / 2) if period_s else rng.uniform(0.1, 0.4, 4000)
    edges = np.cumsum(steps) * 1e9
    at_edges = np.concatenate([[0.0], np.cumsum(np.where(np.arange(len(steps)) % 2, steps, 0.0))]) * 1e9
    times = np.concatenate([[0.0], edges])

    def show(still: np.ndarray, time_ns: int, modality: Modality) -> np.ndarray:
        start, end = np.interp([time_ns - EXPOSURE_NS / 2, time_ns + EXPOSURE_NS / 2], times, at_edges)
        share = (end - start) / EXPOSURE_NS
        picture = still.astype(np.float32)
        height, width = still.shape[:2]
        lamp = picture[height // 3 : height // 3 + height // 8, width // 2 : width // 2 + width // 10]
        lamp += share * (800 if modality is Modality.THERMAL else 90)
        return picture

    return show


def still(picture: np.ndarray, time_ns: int, modality: Modality) -> np.ndarray:
    """Nothing happens."""
    return picture
