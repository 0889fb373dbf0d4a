"""Fuser: AlignedPair in, FusedFrame out; and the contract of the engines that do its pixel work.

The Fuser decides nothing about pixels: it keeps the tone curve, knows which frames were shown before, hands arrays to
an engine and writes down where they came from. Engines know arrays and a warp map, nothing of frames or time.

    with open_fuser(model="laplacian") as fuser:
        fused = fuser.fuse(aligned)

Importing this package loads no torch; `open_fuser` does.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import cv2
import numpy as np

from streamfuse.clock import now_ns
from streamfuse.errors import EngineError
from streamfuse.frames import (
    AlignedPair,
    Frame,
    FramePair,
    FusedFrame,
    InputInfo,
    LoneFrame,
    Modality,
    OutputGrid,
    Pixels,
    Size,
    State,
    WarpMap,
)
from streamfuse.fuse.ladder import Ladder
from streamfuse.fuse.process import prepare_process
from streamfuse.fuse.rungs import ENGINES, OFFERS, PRECISIONS, check_choice, existing, rung
from streamfuse.models import build, identity
from streamfuse.thermal import ToneCurve, ToneMapper

__all__ = ["ENGINES", "LAYERS", "OFFERS", "PRECISIONS", "Engine", "Fuser", "on_grid", "open_fuser"]
LAYERS = frozenset({"thermal", "visible", "thermal-raw"})


class Engine(Protocol):
    """Runs one FusionGraph. `set_warp` comes before the first frame and whenever the map changes.

    `name` says what computes, with its precision; it may become more exact with the first map.
    """

    @property
    def name(self) -> str: ...

    def set_warp(self, warp: WarpMap) -> None: ...

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        """Counts h w, RGB on the output grid H W 3 uint8 -> fused H W 3 uint8, contiguous, the caller's to keep."""
        ...

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        """Counts h w -> thermal on the output grid, H W uint8, black outside the valid mask."""
        ...

    def close(self) -> None: ...


class Fuser:
    """One stream of aligned pairs to one stream of fused frames; a context manager.

    `engine` and `model` are the names of what runs; the engine's may change when one gives way to another.
    """

    def __init__(self, engine: Engine, model: str, tone: ToneMapper) -> None:
        self.model = model
        self._engine = engine
        self._tone = tone
        self._warp: WarpMap | None = None
        self._shown: dict[Modality, int] = {}
        self._sequence = 0

    def __enter__(self) -> Fuser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._engine.close()

    @property
    def engine(self) -> str:
        return self._engine.name

    def prepare(self, warp: WarpMap) -> None:
        """Get ready for frames with this map, so that the first one does not wait for a compiler.

        Raises EngineError when the engine cannot.
        """
        if self._warp is warp:
            return
        try:
            self._engine.set_warp(warp)
        except EngineError:
            raise
        except Exception as failure:
            raise EngineError(f"engine {self.engine!r} cannot run model {self.model!r}: {failure}") from failure
        self._warp = warp

    def foresee(self, warp: WarpMap) -> None:
        """Do beforehand what a new map of the same size costs, from any thread, so that no frame waits for it."""
        from streamfuse.fuse.graph import change_share, sampling_grid

        sampling_grid(warp)
        change_share(warp)

    def reset(self) -> None:
        """Forget the streams (time jumped, a source was replaced); the output's sequence goes on."""
        self._tone.reset()
        self._shown.clear()

    def fuse(self, aligned: AlignedPair, *, layers: frozenset[str] = frozenset()) -> FusedFrame:
        """The fused frame, with those further `layers` (of `LAYERS`) that somebody asked for and its inputs allow.

        Raises EngineError when the engine fails.
        """
        frames = aligned.frames
        curve = None
        if frames.thermal is not None:
            curve = self._tone.update(frames.thermal.pixels, frames.thermal.capture_ns)
        aligned = aligned.stamped("toned", now_ns())
        try:
            pixels, made = self._compute(aligned, curve, layers)
        except Exception as failure:
            raise EngineError(
                f"engine {self.engine!r} failed on model {self.model!r}, frame {frames.reference.sequence}: {failure}; "
                "try another engine (fuse.engine in the run file)"
            ) from failure
        aligned = aligned.stamped("computed", now_ns())
        return self._described(aligned, curve, pixels, made).stamped("fused", now_ns())

    def _compute(
        self, aligned: AlignedPair, curve: ToneCurve | None, layers: frozenset[str]
    ) -> tuple[Pixels, dict[str, Pixels]]:
        """The output's pixels and the layers asked for."""
        thermal, rgb, warp = aligned.frames.thermal, aligned.frames.rgb, aligned.warp
        _check_size(thermal, warp.thermal_size)
        _check_size(rgb, warp.grid.rgb_size)
        self.prepare(warp)
        made: dict[str, Pixels] = {}
        if rgb is not None:
            made["visible"] = on_grid(rgb.pixels, warp.grid)
        if thermal is not None and curve is not None:
            made["thermal-raw"] = thermal.pixels
            if rgb is None or "thermal" in layers:
                made["thermal"] = self._engine.align(thermal.pixels, curve)
        if thermal is not None and curve is not None and rgb is not None:
            pixels = self._engine.fuse(thermal.pixels, curve, made["visible"])
        else:
            pixels = made["visible"] if rgb is not None else np.repeat(made["thermal"][..., None], 3, axis=2)
        return pixels, {name: layer for name, layer in made.items() if name in layers}

    def _described(
        self, aligned: AlignedPair, curve: ToneCurve | None, pixels: Pixels, layers: dict[str, Pixels]
    ) -> FusedFrame:
        """The output frame: pixels, and where they came from."""
        frames, reference = aligned.frames, aligned.frames.reference
        self._sequence += 1
        return FusedFrame(
            pixels=pixels,
            stream="fused",
            sequence=self._sequence - 1,
            capture_ns=reference.capture_ns,
            clock=reference.clock,
            state=_state(frames, curve),
            thermal=self._input(frames.thermal, repeated=curve is not None and curve.held),
            rgb=self._input(frames.rgb),
            skew_ns=frames.skew_ns if isinstance(frames, FramePair) else None,
            capture_error_ns=reference.capture_error_ns,
            recording_ns=reference.recording_ns,
            name=reference.name,
            engine=self.engine,
            model=self.model,
            calibration=aligned.warp.calibration,
            confidence=aligned.confidence,
            alignment=aligned.alignment,
            stamps=aligned.stamps,
            layers=layers,
            tone=(curve.counts, curve.values) if curve is not None else None,
            radiometric=frames.thermal.radiometric if frames.thermal is not None else None,
        )

    def _input(self, frame: Frame | None, *, repeated: bool = False) -> InputInfo | None:
        if frame is None:
            return None
        held = repeated or self._shown.get(frame.modality) == frame.sequence
        self._shown[frame.modality] = frame.sequence
        return InputInfo(
            sequence=frame.sequence, capture_ns=frame.capture_ns, recording_ns=frame.recording_ns, held=held
        )


def open_fuser(
    *,
    model: str = "laplacian",
    engine: str = "auto",
    precision: str = "auto",
    tone: ToneMapper | None = None,
    threads: int = 1,
) -> Fuser:
    """A Fuser with this model on this engine; "auto" takes the best that loads here, and the next one should it fail.

    An engine asked for by name is that one or an error. `precision` (auto, fp32, bf16, fp16, int8) is what compiled
    engines compute in; with "auto" as engine, those that offer it are tried, and eager (fp32) is what is left.
    Raises UserError for an unknown model, engine or precision and one that is not offered, EngineError for an engine
    that does not load.
    """
    check_choice(engine, precision)
    prepare_process()
    network = build(model)
    names = existing(precision) if engine == "auto" else (engine,)
    rungs = [rung(name, network, precision, threads) for name in names]
    chosen = Ladder(rungs) if engine == "auto" else rungs[0].open()
    return Fuser(chosen, identity(model), tone or ToneMapper())


def on_grid(rgb: Pixels, grid: OutputGrid) -> Pixels:
    """RGB H W 3 uint8 cropped and scaled to the output grid, contiguous; averaged where it shrinks twofold or more."""
    x, y, width, height = grid.crop
    cropped = rgb[y : y + height, x : x + width]
    if (width, height) == grid.size:
        return np.ascontiguousarray(cropped)
    shrinks = min(width / grid.size[0], height / grid.size[1]) >= 2
    return cv2.resize(cropped, grid.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _check_size(frame: Frame | None, expected: Size) -> None:
    if frame is not None and frame.size != expected:
        found, wanted = (f"{width}x{height}" for width, height in (frame.size, expected))
        raise ValueError(f"the {frame.modality.value} frame is {found}, the warp map is for {wanted}")


def _state(frames: FramePair | LoneFrame, curve: ToneCurve | None) -> State:
    if isinstance(frames, LoneFrame):
        return State.VISIBLE_ONLY if curve is None else State.THERMAL_ONLY
    return State.STALE if frames.held or (curve is not None and curve.held) else State.FUSED
