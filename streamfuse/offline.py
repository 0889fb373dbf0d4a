"""`streamfuse fuse`: recorded pairs to fused images, every pair, the same bytes on every run.

The same pipeline as live, in one thread and in the order of time, with a folder in place of the socket.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from streamfuse.assemble import open_fusion
from streamfuse.config import FuseConfig, RecordingConfig, RunConfig, ToneConfig
from streamfuse.errors import UserError
from streamfuse.flow import ParallaxFlow
from streamfuse.frames import AlignedPair, FramePair, FusedFrame, Pixels, Reason, State, WarpMap
from streamfuse.fuse import Engine, Fuser
from streamfuse.fuse.process import prepare_process
from streamfuse.live import progress_line
from streamfuse.models import build, identity
from streamfuse.pipeline import run
from streamfuse.publish import Dropped, Sent
from streamfuse.report import listed
from streamfuse.rig import Rig
from streamfuse.terminal import counted, make_folder, note
from streamfuse.thermal import ToneMapper
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
        make_folder(self._folder)
        return self

    def __exit__(self, *_: Any) -> None:
        return

    def wanted(self) -> frozenset[str]:
        return frozenset()

    def interrupt(self) -> None:
        return

    def expire(self) -> None:
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


class FlowFuser(Fuser):
    """Fuses each pair with a map of its own, by the flow on the rig's; `moved_px`: mean displacement of each pair."""

    def __init__(self, engine: Engine, model: str, tone: ToneMapper, rig: Rig) -> None:
        super().__init__(engine, model, tone)
        self.moved_px: list[float] = []
        self._rig = rig
        self._flow: ParallaxFlow | None = None

    def prepare(self, warp: WarpMap) -> None:
        """The first map is the rig's, before any pair comes. Raises UserError for a rig that knows no depths."""
        self._flow = self._flow or ParallaxFlow(self._rig, warp)
        super().prepare(warp)

    def fuse(self, aligned: AlignedPair, *, layers: frozenset[str] = frozenset()) -> FusedFrame:
        if isinstance(aligned.frames, FramePair) and self._flow is not None:
            flow = self._flow.flow(aligned.frames.thermal.pixels, aligned.frames.rgb.pixels)
            self.moved_px.append(float(flow.moved_px.mean()))
            aligned = replace(aligned, warp=flow.warp)
        return super().fuse(aligned, layers=layers)


def grey_if_grey(pixels: Pixels) -> Pixels:
    """H W where all three channels are equal (a grey visible stays grey), else H W 3 as it is."""
    red = pixels[..., 0]
    return red if np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2]) else pixels


def fuse_files(
    thermal: Path,
    visible: Path,
    out: Path,
    model: str,
    rig: Path | None,
    *,
    tone: str,
    sequence: bool | None,
    stop: threading.Event,
    console: Console,
    flow: bool = False,
) -> dict[str, Any]:
    """Fuse two images, folders or videos into `out`; the report as a dictionary. Raises UserError for bad input.

    `flow`: draw near objects onto their place, pair by pair (`streamfuse.flow`); needs a full rig.
    """
    in_time = _is_video(thermal) if sequence is None else sequence
    config = RunConfig(
        source=RecordingConfig(
            kind="recording", thermal=str(thermal.absolute()), rgb=str(visible.absolute()), pace="every"
        ),
        rig=str(rig.absolute()) if rig else None,
        tone=ToneConfig.model_validate({"method": tone, "time_constant_s": 1.0 if in_time else 0.0}),
        fuse=FuseConfig(model=model, engine="eager"),  # the same bytes everywhere, and sizes may differ per pair
    )
    fuser = _flow_fuser(config, rig) if flow else None

    def fusion(asked: RunConfig) -> Fuser:
        return fuser or open_fusion(asked)

    with progress_line(console) as watch:
        report = run(config, stop=stop, watch=watch, sink=functools.partial(FolderSink, out), fusion=fusion)
    told: dict[str, Any] = {**report.as_dict(), "out": str(out)}
    if fuser:
        told["flow"] = _flow_told(fuser.moved_px, console)
    for live in ("latency_ms", "stages_ms", "fps", "endpoint"):  # a frame read from a file has no age
        del told[live]
    if stop.is_set() and not told["error"]:
        told["error"] = "stopped before every pair was fused; run it again"
    console.print(
        f"{counted(report.published, 'fused image')} in {out} ({told['seconds']:.1f} s)", markup=False, highlight=False
    )
    if report.dropped:
        note(console, f"frames that are in no image: {listed(report.dropped)}")
    for warning in report.warnings:
        note(console, warning)
    return told


def _flow_fuser(config: RunConfig, rig: Path | None) -> FlowFuser:
    """The fuser of `assemble.open_fusion`, with flow."""
    if rig is None:
        raise UserError(
            "--flow needs --rig with both lenses and their pose: without it nobody knows in which direction near "
            "objects are shifted, and flow in any direction made registered pairs worse (docs/registration.md)"
        )
    prepare_process()
    from streamfuse.fuse.eager import EagerEngine

    tone = ToneMapper(config.tone.method, time_constant_s=config.tone.time_constant_s)
    return FlowFuser(EagerEngine(build(config.fuse.model)), identity(config.fuse.model), tone, Rig.load(rig))


def _flow_told(moved_px: list[float], console: Console) -> dict[str, Any]:
    touched = [moved for moved in moved_px if moved > 0]
    mean_px = round(float(np.mean(touched)), 2) if touched else 0.0
    console.print(f"flow: {len(touched)} of {len(moved_px)} pairs changed, those by {mean_px} px on average")
    return {"pairs": len(moved_px), "changed": len(touched), "mean_px": mean_px}


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
