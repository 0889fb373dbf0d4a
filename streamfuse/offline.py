"""`streamfuse fuse`: recorded pairs to fused images, every pair, the same bytes on every run.

The same pipeline as live, in one thread and in the order of time, with a folder in place of the socket.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from streamfuse.config import FuseConfig, RecordingConfig, RunConfig, ToneConfig
from streamfuse.errors import UserError
from streamfuse.frames import FusedFrame, Pixels, Reason, State
from streamfuse.live import progress_line
from streamfuse.pipeline import run
from streamfuse.publish import Dropped, Sent
from streamfuse.triptych import write_image

VIDEO_SUFFIXES = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".ts"}


class FolderSink:
    """A sink that writes `<pair's name>.png`; a lone frame is no pair: it is counted and not written."""

    def __init__(self, folder: Path, on_sent: Sent, on_dropped: Dropped) -> None:
        self.endpoint = str(folder)
        self._folder = folder
        self._on_sent = on_sent
        self._on_dropped = on_dropped
        self._names: set[str] = set()

    def __enter__(self) -> FolderSink:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {self._folder}: cannot be made: {error.strerror}") from error
        return self

    def __exit__(self, *_: Any) -> None:
        return

    def wanted(self) -> frozenset[str]:
        return frozenset()

    def interrupt(self) -> None:
        return

    def send(self, frame: FusedFrame) -> None:
        if frame.state in (State.THERMAL_ONLY, State.VISIBLE_ONLY):
            self._on_dropped(frame, Reason.LONE)
            return
        name = frame.name or f"{frame.sequence:06d}"
        if name in self._names:
            raise UserError(f"two pairs are called {name}; give the files of {self._folder} different names")
        self._names.add(name)
        write_image(self._folder / f"{name}.png", grey_if_grey(frame.pixels))
        self._on_sent(frame)


def grey_if_grey(pixels: Pixels) -> Pixels:
    """H W where all three channels are equal (a grey visible stays grey), else H W 3 as it is."""
    red = pixels[..., 0]
    return red if np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]) else pixels


def fuse_files(
    thermal: Path,
    visible: Path,
    out: Path,
    *,
    model: str,
    rig: Path | None,
    tone: str,
    sequence: bool | None,
    stop: threading.Event,
    console: Console,
) -> dict[str, Any]:
    """Fuse two images, folders or videos into `out`; the report as a dictionary. Raises UserError for bad input."""
    in_time = _is_video(thermal) if sequence is None else sequence
    config = RunConfig(
        source=RecordingConfig(
            kind="recording", thermal=str(thermal.absolute()), rgb=str(visible.absolute()), pace="every"
        ),
        rig=str(rig.absolute()) if rig else None,
        tone=ToneConfig.model_validate({"method": tone, "time_constant_s": 1.0 if in_time else 0.0}),
        fuse=FuseConfig(model=model, engine="eager"),  # the same bytes everywhere, and sizes may differ per pair
    )
    with progress_line(console) as watch:
        report = run(config, stop=stop, watch=watch, sink=functools.partial(FolderSink, out))
    told = {**report.as_dict(), "out": str(out)}
    for live in ("latency_ms", "stages_ms", "fps", "endpoint"):  # a frame read from a file has no age
        del told[live]
    console.print(f"{told['published']} fused images in {out} ({told['seconds']:.1f} s)")
    for warning in report.warnings:
        console.print(f"[yellow]note:[/] {warning}")
    return told


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
