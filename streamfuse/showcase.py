"""The demo's two pictures: a moment of the real recording, and the synthetic scene with its measured error.

Both go through the ordinary pipeline, in order and in one thread, so that they are the same on every run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamfuse.config import OutputConfig, RunConfig, SyntheticConfig
from streamfuse.errors import StreamfuseError
from streamfuse.frames import FusedFrame
from streamfuse.pipeline import Limits, run
from streamfuse.publish import Dropped, Sent
from streamfuse.register import Registrar
from streamfuse.triptych import triptych, write_image

REAL_MOMENT = 80
SYNTHETIC_MOMENT = 90
LAYERS = frozenset({"thermal", "visible"})


class LastFrame:
    """A sink that keeps the newest output with all its layers."""

    endpoint = "memory"

    def __init__(self, on_sent: Sent, _on_dropped: Dropped) -> None:
        self._on_sent = on_sent
        self.frame: FusedFrame | None = None

    def __enter__(self) -> LastFrame:
        return self

    def __exit__(self, *_: object) -> None:
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
    """thermal | visible | fused of the synthetic scene, with the distance between map and truth in output pixels."""
    scene = SyntheticConfig(kind="synthetic", pace="every")
    synthetic = config.model_copy(update={"source": scene, "rig": None, "output": OutputConfig()})
    fused = moment(synthetic, SYNTHETIC_MOMENT)
    error_px = registration_error_px()
    captions = ("thermal, aligned", "visible", f"fused: {fused.model}; registration error {error_px:.3f} px")
    write_image(path, triptych(fused, captions))
    return {"path": str(path), "says": f"registration error {error_px:.3f} px", "registration_error_px": error_px}
