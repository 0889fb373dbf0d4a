"""The whole runtime: sources -> PairMatcher -> Registrar -> Fuser -> Publisher, each a verb; threads and clocks here.

`run` opens the parts, `_Flow` is the data's way, `Report` is what is told at the end.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from streamfuse import assemble
from streamfuse.capture import Capture, InOrder, Item, StreamEnd
from streamfuse.clock import now_ns
from streamfuse.config import RunConfig, resolve
from streamfuse.correction import Correction
from streamfuse.errors import StreamfuseError
from streamfuse.frames import DroppedFrame, Frame, FramePair, FusedFrame, LoneFrame, Reason, Stamps
from streamfuse.fuse import Fuser
from streamfuse.health import Health
from streamfuse.ledger import FrameLedger, OutputLedger
from streamfuse.publish import Dropped, Sent
from streamfuse.register import Registrar
from streamfuse.report import Report, timings
from streamfuse.sink import OpenSink, Sink, interrupted_by
from streamfuse.sources import SourceChange, SourceState
from streamfuse.stretch import StretchRegistrar
from streamfuse.sync import Outcome, PairMatcher

KEPT_STAMPS = 100_000
"""Percentiles are taken over this many newest outputs, so that a run of weeks stays small."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends by itself: after so many outputs, or so many seconds after its first item."""

    frames: int | None = None
    seconds: float | None = None


@dataclass(slots=True)
class _Flow:
    """One run: the stages, both ledgers, and the stamps of what was sent."""

    intake: Capture | InOrder
    matcher: PairMatcher
    registrar: Registrar | StretchRegistrar
    correction: Correction | None
    fuser: Fuser
    sink: Sink
    frames: FrameLedger
    outputs: OutputLedger
    limits: Limits
    stop: threading.Event
    watch: Callable[[FusedFrame], None]
    paced: bool
    health: Health
    made: int = 0
    started_ns: int = 0
    started_cpu_ns: int = 0

    def run(self) -> str | None:
        """Until the streams end, a limit or a stop; the text of the error that ended it, if one did."""
        error = None
        self.started_ns, self.started_cpu_ns = now_ns(), time.process_time_ns()
        try:
            for item in self.intake:
                self.emit(self.leaving(item))
                if self.finished():
                    break
            else:
                self.emit(self.matcher.flush())
        except StreamfuseError as failure:
            error = str(failure)
        self.drain()
        return error

    def leaving(self, item: Item | None) -> list[Outcome]:
        """What leaves the matcher because of this item."""
        match item:
            case None:
                return self.matcher.advance(now_ns()) if self.paced else []
            case Frame():
                self.health.note_frame(item.modality)
                self.frames.enter(item)
                outcomes = self.matcher.push(item)
                # Not now: what still waits in the inbox came before now.
                return outcomes + (self.matcher.advance(item.stamps["captured"]) if self.paced else [])
            case StreamEnd():
                self.health.note_end(item.modality)
                return self.matcher.end(item.modality)
            case DroppedFrame():
                self.frames.enter(item)
                return [item]
            case SourceChange():
                self.health.note(item)
                gone = item.state in (SourceState.STALLED, SourceState.FAILED)
                return self.matcher.end(item.modality) if gone else []

    def emit(self, outcomes: list[Outcome]) -> None:
        """Write all of them into both ledgers, then make outputs of them while the run lasts."""
        for outcome in outcomes:
            self.frames.leave(outcome)
        waiting = deque(outcome for outcome in outcomes if not isinstance(outcome, DroppedFrame))
        self.outputs.enter(len(waiting))
        try:
            while waiting and not self.finished():
                self.output(waiting.popleft())
        finally:
            self.outputs.dropped(Reason.SHUTDOWN, len(waiting))

    def output(self, outcome: FramePair | LoneFrame) -> None:
        """Register, fuse, send: each stage stamped when it is done."""
        try:
            matched = outcome.stamped("matched", now_ns())
            aligned = self.registrar.register(matched).stamped("registered", now_ns())
            if self.correction is not None:
                self.correction.offer(outcome)
            fused = self.fuser.fuse(aligned, layers=self.sink.wanted())
            self.made += 1
            self.sink.send(replace(fused, drops={**self.frames.dropped, **self.outputs.dropped_by_reason}))
        except StreamfuseError:
            self.outputs.dropped(Reason.FAILED)
            raise
        self.watch(fused)

    def finished(self) -> bool:
        return self.late() or self.made == self.limits.frames or self.stop.is_set()

    def late(self) -> bool:
        if self.limits.seconds is None or not self.started_ns:
            return False
        return now_ns() - self.started_ns >= self.limits.seconds * 1e9

    def drain(self) -> None:
        """What was still on its way leaves as shut down: every frame has one ledger entry."""
        self.intake.stop()
        for left in self.matcher.reset():
            self.frames.leave(replace(left, reason=Reason.SHUTDOWN) if isinstance(left, DroppedFrame) else left)
        for item in self.intake.rest():
            if isinstance(item, Frame | DroppedFrame):
                self.frames.enter(item)
                self.frames.leave(item.dropped(Reason.SHUTDOWN) if isinstance(item, Frame) else item)


def run(
    config: RunConfig,
    *,
    limits: Limits | None = None,
    stop: threading.Event | None = None,
    sink: OpenSink | None = None,
    cameras: Callable[[RunConfig], assemble.Cameras] | None = None,
    fusion: Callable[[RunConfig], Fuser] | None = None,
    ready: Callable[[Any], None] = lambda _: None,
    watch: Callable[[FusedFrame], None] = lambda _: None,
) -> Report:
    """Run the pipeline of a run file until its streams end, a limit is reached or `stop` is set.

    `sink`, `cameras` and `fusion` replace the publisher, the sources and the Fuser of the run file. `ready` is called
    with the sink once everything is open and before the first frame flows (a demo waits there for its subscriber);
    `watch` is called with every output. Raises UserError before anything flows; a part that breaks later ends the run,
    and the report says so in `error`.
    """
    outputs, stamps, health = OutputLedger(), deque[Stamps](maxlen=KEPT_STAMPS), Health()
    with ExitStack() as opened:
        found = (cameras or assemble.open_cameras)(config)
        intake = opened.enter_context(assemble.open_intake(config, found))
        rig = assemble.open_rig(config, found)
        thermal, rgb = found.thermal.info, found.rgb.info
        registrar = assemble.open_registrar(config, found, rig, thermal, rgb)
        fuser = opened.enter_context((fusion or assemble.open_fusion)(config))
        fuser.prepare(registrar.warp)
        correction = assemble.open_correction(config, found, registrar, fuser)
        opened.enter_context(assemble.open_depth_link(config, registrar))
        publisher = functools.partial(assemble.open_publisher, config, rig, fuser, sources=lambda: health.states)
        flow = _Flow(
            intake=intake,
            matcher=assemble.open_matcher(config.match, rig, thermal, rgb),
            registrar=registrar,
            correction=opened.enter_context(correction) if correction else None,
            fuser=fuser,
            sink=(sink or publisher)(*_recorders(outputs, stamps)),
            frames=opened.enter_context(FrameLedger(resolve(config, config.ledger) if config.ledger else None)),
            outputs=outputs,
            limits=limits or Limits(),
            stop=stop or threading.Event(),
            watch=watch,
            paced=found.paced,
            health=health,
        )
        with flow.sink, interrupted_by(flow.stop, flow.late, flow.sink):
            ready(flow.sink)
            error = flow.run()
        stretched = registrar.warnings() if isinstance(registrar, StretchRegistrar) else ()
        return _report(flow, list(stamps), error, found.warnings + stretched)


def _recorders(outputs: OutputLedger, stamps: deque[Stamps]) -> tuple[Sent, Dropped]:
    """What a sink calls for a frame that went out, and for one that did not."""

    def on_sent(frame: FusedFrame) -> None:
        outputs.published()
        stamps.append(frame.stamps)

    def on_dropped(_frame: FusedFrame, reason: Reason) -> None:
        outputs.dropped(reason)

    return on_sent, on_dropped


def _report(flow: _Flow, sent: list[Stamps], error: str | None, warnings: tuple[str, ...]) -> Report:
    timed, outputs = timings(sent, until="sent"), flow.outputs
    took_ns = now_ns() - flow.started_ns
    return Report(
        frames_in=dict(flow.frames.frames_in),
        matched=flow.frames.pairs,
        lone=dict(flow.frames.lone),
        dropped=dict(flow.frames.dropped),
        published=outputs.published_count,
        outputs_dropped=outputs.dropped_by_reason,
        balanced=flow.frames.in_flight == outputs.in_flight == 0,
        latency_ms=timed.latency_ms,
        stages_ms=timed.stages_ms,
        fps=timed.fps,
        seconds=round(took_ns / 1e9, 2),
        cpu_cores=round((time.process_time_ns() - flow.started_cpu_ns) / took_ns, 3),
        engine=flow.fuser.engine,
        model=flow.fuser.model,
        endpoint=flow.sink.endpoint,
        sources=flow.health.as_dict(),
        warnings=warnings,
        error=error,
    )
