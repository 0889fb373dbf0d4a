"""Both cameras of a run or a recording, watched for some seconds; and what their signals say of the delay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from streamfuse.assemble import Cameras, open_cameras, open_intake
from streamfuse.calibrate.delay import Delay, estimate_delay
from streamfuse.calibrate.delay_edges import refine
from streamfuse.calibrate.delay_watch import Region, Watch
from streamfuse.config import LiveConfig, RecordingConfig, RunConfig, load_run
from streamfuse.errors import UserError
from streamfuse.frames import Clock, Frame, Modality
from streamfuse.rig import Calibration, Rig

By = Literal["auto", "blink", "energy", "shift"]
SETTLE_S = 6.0  # a live camera's clock is not understood before (see `drift`)
DRIFT_PPM = 20.0  # less is not worth a word
LEAST_FRAMES = 50
WITNESS = 0.7
"""Correlation from which another signal may contradict a lamp's edges: what a lamp that blinks seems to move reaches
0.6, a rig that moves 0.8 (docs/registration.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What both cameras showed."""

    thermal: Watch
    rgb: Watch
    origin_ns: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """The delay by the kind of signal that knows it best, and what every kind said."""

    by: str
    delay: Delay
    all: dict[str, Delay]


def run_of(inputs: list[Path]) -> RunConfig:
    """One run file, or a thermal and a visible recording; recordings are read as fast as they can be."""
    if len(inputs) == 1:
        config = load_run(inputs[0])
    elif len(inputs) == 2:
        thermal, rgb = (str(path.resolve()) for path in inputs)
        config = RunConfig(source=RecordingConfig(kind="recording", thermal=thermal, rgb=rgb))
    else:
        raise UserError(f"found {len(inputs)} paths; give a run file, or a thermal and a visible recording")
    if isinstance(config.source, LiveConfig):
        return config
    return config.model_copy(update={"source": config.source.model_copy(update={"pace": "every"})})


def watch_run(
    config: RunConfig,
    seconds: float,
    *,
    regions: tuple[Region | None, Region | None] = (None, None),
    told: Callable[[float], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Watched:
    """Open the run's cameras and watch them for so long by their own stamps; `told` hears how far it is."""
    cameras = open_cameras(config)
    watches = {Modality.THERMAL: Watch(regions[0]), Modality.RGB: Watch(regions[1])}
    live = isinstance(config.source, LiveConfig)
    first_ns: int | None = None
    arrivals: set[Modality] = set()
    with open_intake(config, cameras) as intake:
        deadline = time.monotonic() + 2 * seconds + 30 if live else float("inf")
        for item in intake:
            if stopped() or time.monotonic() > deadline:
                break
            if not isinstance(item, Frame):
                continue
            stamp_ns = item.capture_ns if item.recording_ns is None else item.recording_ns
            first_ns = stamp_ns + round(SETTLE_S * 1e9 if live else 0) if first_ns is None else first_ns
            if stamp_ns < first_ns and live:
                continue
            if stamp_ns - first_ns > seconds * 1e9:
                break
            if item.clock is Clock.ARRIVAL:
                arrivals.add(item.modality)
            watches[item.modality].add(item.pixels, stamp_ns)
            told((stamp_ns - first_ns) / 1e9)
    return _watched(watches, first_ns or 0, _notes(cameras, arrivals))


def measure(watched: Watched, *, by: By = "auto", within_s: float = 0.5, opposite: bool = False) -> Measured:
    """The delay by one kind of signal, or by whichever is surest; refused where two sure ones contradict each other.

    Raises UserError where too little was seen for any answer.
    """
    if by not in get_args(By):
        raise UserError(f"--by {by!r} is unknown; choose one of {', '.join(get_args(By))}")
    thermal, rgb = watched.thermal.signals(watched.origin_ns), watched.rgb.signals(watched.origin_ns)
    kinds = [kind for kind in thermal if by in ("auto", kind)]
    found = {
        kind: estimate_delay(thermal[kind], rgb[kind], within_s=within_s, opposite=opposite and kind == "blink")
        for kind in kinds
    }
    lamp = None
    if "blink" in found:
        lamp = refine(found["blink"], thermal["blink"], rgb["blink"], opposite=opposite)
        found["blink"] = lamp or found["blink"]
    sure = sorted((kind for kind in kinds if not found[kind].refused), key=lambda kind: found[kind].error_ms)
    if lamp:  # other signals of a lamp come from the same edges, and do not see that equal rates sample them alike
        sure.sort(key=lambda kind: kind != "blink")
    if not sure:
        best = max(kinds, key=lambda kind: found[kind].peak)
        return Measured(best, found[best], found)
    best = sure[0]
    others = [(kind, found[kind]) for kind in sure[1:] if not lamp or found[kind].peak >= WITNESS]
    return Measured(best, _unless_contradicted(found[best], others), found)


def written(rig: Rig, delay: Delay) -> Rig:
    """The rig with this delay. Raises UserError where the delay was refused."""
    if delay.refused:
        raise UserError(f"rig {rig.name} keeps its delay: {delay.refused}")
    error_ms = delay.error_ms + (abs(delay.drift_ppm) * delay.seconds / 2e3 if drifts(delay) else 0.0)
    record = (rig.calibration or Calibration()).model_copy(update={"delay_error_ms": round(error_ms, 3)})
    return rig.model_copy(update={"thermal_delay_ms": round(delay.delay_ms, 3), "calibration": record})


def drifts(delay: Delay) -> bool:
    """Do the two clocks run apart, as far as this record can tell?"""
    return delay.drifts and abs(delay.drift_ppm) > DRIFT_PPM


def _unless_contradicted(best: Delay, others: Iterable[tuple[str, Delay]]) -> Delay:
    for kind, other in others:
        apart = abs(best.delay_ms - other.delay_ms)
        if apart > 3 * (best.error_ms + other.error_ms) and apart > 10:
            return replace(
                best,
                refused=f"contradiction: {best.delay_ms:.1f} ms, but {other.delay_ms:.1f} ms by {kind}; "
                "say which to believe (--by)",
            )
    return best


def _watched(watches: dict[Modality, Watch], origin_ns: int, notes: tuple[str, ...]) -> Watched:
    for modality, watch in watches.items():
        if watch.frames < LEAST_FRAMES:
            raise UserError(
                f"different frames of the {modality.value} camera: {watch.frames}, at least {LEAST_FRAMES} are "
                "needed: record longer, and see whether it delivers (streamfuse doctor)"
            )
    return Watched(watches[Modality.THERMAL], watches[Modality.RGB], origin_ns, notes)


def _notes(cameras: Cameras, arrivals: set[Modality]) -> tuple[str, ...]:
    late = tuple(
        f"the {modality.value} stamps are times of arrival: the delay holds the transport too, for this set-up only"
        for modality in sorted(arrivals)
    )
    return (*cameras.warnings, *late)
