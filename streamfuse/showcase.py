"""The demo's two pictures: a moment of the real recording, and the synthetic scene with its measured error.

Both go through the ordinary pipeline, in order and in one thread, so that they are the same on every run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamfuse.assemble import scene_of
from streamfuse.config import RunConfig, SyntheticConfig
from streamfuse.errors import StreamfuseError
from streamfuse.frames import FusedFrame, Modality, Size
from streamfuse.pipeline import Limits, run
from streamfuse.publish import Dropped, Sent
from streamfuse.register import output_grid
from streamfuse.sources.synthetic import open_synthetic
from streamfuse.triptych import triptych, write_image

REAL_MOMENT = 80
SYNTHETIC_MOMENT = 90
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
    synthetic = config.model_copy(update={"source": source, "rig": None})
    fused = moment(synthetic, SYNTHETIC_MOMENT)
    error_px = registration_error_px(synthetic, source)
    captions = ("thermal, aligned", "visible", f"fused: {fused.model}; registration error {error_px:.2f} px")
    write_image(path, triptych(fused, captions))
    return {"path": str(path), "says": f"registration error {error_px:.2f} px", "registration_error_px": error_px}


def registration_error_px(config: RunConfig, source: SyntheticConfig) -> float:
    """RMS distance, in output pixels, of warm discs in the aligned thermal image from where they are seen in RGB.

    The discs' true RGB positions are known; where the pipeline put them is their centroid in the thermal layer.
    """
    marked = source.model_copy(update={"markers": True, "people": 0, "vehicles": 0})
    thermal = moment(config.model_copy(update={"source": marked}), 1).layers["thermal"].astype(np.float64)
    pair = open_synthetic(scene_of(marked), pace="every")
    grid = output_grid(marked.rgb_size, config.output.size, config.output.fit)
    truth = pair.truth.pixel(Modality.RGB, pair.truth.markers_m)
    on_grid = np.column_stack([truth, np.ones(len(truth))]) @ np.linalg.inv(grid.rgb_from_output).T
    found = [(_centroid(thermal, centre), centre) for centre in on_grid[:, :2] if _inside(centre, grid.size)]
    if not found:
        raise StreamfuseError("no marker of the synthetic scene lies on the output grid")
    return float(np.sqrt(np.mean([np.sum((seen - true) ** 2) for seen, true in found])))


def _inside(centre: NDArray[np.float64], size: Size) -> bool:
    return bool((centre > WINDOW).all() and (centre < np.array(size) - 1 - WINDOW).all())


def _centroid(image: NDArray[np.float64], near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brightness-weighted centre of the disc in a window around `near`; its darker half counts as background."""
    x, y = np.rint(near).astype(int)
    window = image[y - WINDOW : y + WINDOW + 1, x - WINDOW : x + WINDOW + 1]
    weight = np.clip(window - (window.min() + window.max()) / 2, 0, None)
    rows, columns = np.mgrid[-WINDOW : WINDOW + 1, -WINDOW : WINDOW + 1]
    return np.array([x + np.average(columns, weights=weight), y + np.average(rows, weights=weight)])
