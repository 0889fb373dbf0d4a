"""The demo's two pictures: a moment of the real recording, and the synthetic scene with its measured error.

Both go through the ordinary pipeline, in order and in one thread, so that they are the same on every run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.assemble import scene_of
from streamfuse.config import OutputConfig, RunConfig, SyntheticConfig
from streamfuse.errors import StreamfuseError
from streamfuse.frames import FusedFrame, Modality
from streamfuse.pipeline import Limits, run
from streamfuse.publish import Dropped, Sent
from streamfuse.register import Registrar
from streamfuse.sources.synthetic import open_synthetic
from streamfuse.triptych import triptych, write_image

REAL_MOMENT = 80
SYNTHETIC_MOMENT = 90
SYNTHETIC_SIZE = (800, 450)  # the scene's whole width: somebody stands in the dark alley on the right
WINDOW = 12
LAYERS = frozenset({"thermal", "visible"})


class LastFrame:
    """A sink that keeps the newest output with all its layers."""

    endpoint = "memory"

    def __init__(self, on_sent: Sent, _on_dropped: Dropped) -> None:
        self._on_sent = on_sent
        self.frame: FusedFrame | None = None

    def __enter__(self) -> LastFrame:
        return self

    def __exit__(self, *_: Any) -> None:
        return

    def wanted(self) -> frozenset[str]:
        return LAYERS

    def interrupt(self) -> None:
        return

    def expire(self) -> None:
        return

    def send(self, frame: FusedFrame) -> None:
        self.frame = frame
        self._on_sent(frame)


def moment(config: RunConfig, outputs: int) -> FusedFrame:
    """The output number `outputs` of a run, with its layers."""
    kept: list[LastFrame] = []

    def keep(on_sent: Sent, on_dropped: Dropped) -> LastFrame:
        kept.append(LastFrame(on_sent, on_dropped))
        return kept[0]

    report = run(config, limits=Limits(frames=outputs), sink=keep)
    if report.error or kept[0].frame is None:
        raise StreamfuseError(report.error or "the recording gave no output")
    return kept[0].frame


def show_real(config: RunConfig, path: Path) -> dict[str, Any]:
    """thermal | visible | fused of the shipped recording; its alignment is inferred, and the caption says so."""
    source = config.source.model_copy(update={"pace": "every", "loop": False})
    fused = moment(config.model_copy(update={"source": source}), REAL_MOMENT)
    captions = ("thermal, aligned (approximate)", "visible", f"fused: {fused.model}")
    write_image(path, triptych(fused, captions))
    return {"path": str(path), "says": "real recording, alignment inferred and approximate"}


def show_synthetic(config: RunConfig, path: Path) -> dict[str, Any]:
    """thermal | visible | fused of the synthetic scene, with the registration error that was measured in it."""
    source = SyntheticConfig(kind="synthetic", pace="every")
    changes = {"source": source, "rig": None, "output": OutputConfig(size=SYNTHETIC_SIZE)}
    synthetic = config.model_copy(update=changes)
    fused = moment(synthetic, SYNTHETIC_MOMENT)
    error_px = registration_error_px(synthetic, source)
    captions = ("thermal, aligned", "visible", f"fused: {fused.model}; registration error {error_px:.2f} px")
    write_image(path, triptych(fused, captions))
    return {"path": str(path), "says": f"registration error {error_px:.2f} px", "registration_error_px": error_px}


def registration_error_px(config: RunConfig, source: SyntheticConfig) -> float:
    """RMS distance, in output pixels, between where warm discs are put and where the RGB camera sees them.

    Their true RGB positions are known. Where they are put is the centroid of each disc in the thermal counts, warped
    with the run's own map; counts, because a tone curve would let the background pull at the centroid.
    """
    marked = source.model_copy(update={"markers": True, "people": 0, "vehicles": 0})
    pair = open_synthetic(scene_of(marked), pace="every")
    warp = Registrar(pair.rig, size=config.output.size, fit=config.output.fit).warp
    with pair.thermal:
        counts = pair.thermal.frame(0).pixels.astype(np.float32)
    x, y = warp.thermal_from_output[..., 0], warp.thermal_from_output[..., 1]
    aligned = cv2.remap(counts, x, y, cv2.INTER_LINEAR)
    rgb_from_output = warp.grid.rgb_from_output
    in_rgb = pair.truth.pixel(Modality.RGB, pair.truth.markers_m)
    on_grid = (in_rgb - rgb_from_output[:2, 2]) / np.array([rgb_from_output[0, 0], rgb_from_output[1, 1]])
    inside = (on_grid > WINDOW).all(axis=1) & (on_grid < np.array(warp.grid.size) - 1 - WINDOW).all(axis=1)
    missed: NDArray[np.float64] = np.array([_centroid(aligned, centre) - centre for centre in on_grid[inside]])
    if not len(missed):
        raise StreamfuseError("no marker of the synthetic scene lies on the output grid")
    return math.sqrt(float((missed * missed).sum(axis=1).mean()))


def _centroid(image: NDArray[Any], near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted centre of the disc around `near`; what is nearer the background than the peak weighs nothing."""
    x, y = np.rint(near).astype(int)
    window = image[y - WINDOW : y + WINDOW + 1, x - WINDOW : x + WINDOW + 1]
    weight = np.clip(window - (np.median(window) + window.max()) / 2, 0, None)
    rows, columns = np.mgrid[-WINDOW : WINDOW + 1, -WINDOW : WINDOW + 1]
    return np.array([x + np.average(columns, weights=weight), y + np.average(rows, weights=weight)])
