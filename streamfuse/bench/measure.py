"""One cell, measured once in this process: the ordinary pipeline between scheduled cameras and real subscribers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import ValidationError

from streamfuse import assemble
from streamfuse.bench.consumer import Consumers, ThreadSink
from streamfuse.bench.figures import (
    RESIDUAL_PERCENT,
    Rows,
    frames_told,
    latency_ns,
    measured,
    of_cameras,
    row_of,
    slope,
    stages_ns,
    summary,
    table,
)
from streamfuse.bench.gauges import open_gauge, told
from streamfuse.bench.matrix import Cell, Protocol
from streamfuse.bench.meter import MeteredFuser
from streamfuse.bench.offered import Offer, draw, offer
from streamfuse.bench.opening import open_timed
from streamfuse.bench.sampler import Sampler, spent
from streamfuse.bench.schedule import Schedule, schedule
from streamfuse.config import CurveConfig, FuseConfig, OutputConfig, PublishConfig, RunConfig, SyntheticConfig
from streamfuse.curve import ReaderKeys
from streamfuse.errors import UserError
from streamfuse.frames import FusedFrame
from streamfuse.keys import make_keys
from streamfuse.pipeline import run
from streamfuse.publish import Dropped, Sent
from streamfuse.report import Report
from streamfuse.sink import Sink
from streamfuse.yamlfile import explain


@dataclass(slots=True)
class Bench:
    """One run of one cell: what is offered, and what is noted while it flows."""

    cell: Cell
    plan: Schedule
    offered: Offer
    fuser: MeteredFuser | None = None
    opening: dict[str, float] = field(default_factory=dict[str, float])
    depths: list[int] = field(default_factory=list[int])
    engines: list[str] = field(default_factory=list[str])
    sent: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    config: RunConfig | None = None

    @property
    def warm_ns(self) -> int:
        return self.offered.clock.start_ns + self.plan.due_ns[self.plan.warm]

    @property
    def end_ns(self) -> int:
        return self.offered.clock.start_ns + self.plan.due_ns[-1]

    def graph_ns(self) -> int:
        return self.fuser.meter.cpu_ns if self.fuser else 0

    def open_fuser(self, config: RunConfig) -> MeteredFuser:
        self.fuser, self.opening = open_timed(config, self.offered)
        return self.fuser

    def open_sink(self, on_sent: Sent, on_dropped: Dropped) -> Sink:
        """The cell's publisher, or a thread; what is sent is noted beside."""
        assert self.fuser is not None, "the Fuser is opened before the sink"
        assert self.config is not None, "the config is made before the run"

        def noted(frame: FusedFrame) -> None:
            self.sent.append(row_of(frame))
            on_sent(frame)

        if self.cell.transport == "thread":
            return ThreadSink(noted, on_dropped)
        return assemble.open_publisher(self.config, self.offered.rig, self.fuser, noted, on_dropped)

    def note(self, frame: FusedFrame) -> None:
        """How many RGB frames (thermal ones without RGB) wait behind the one just made, and which engine made it."""
        lone = self.cell.cameras == "thermal"
        shown, source = (frame.thermal, self.offered.thermal) if lone else (frame.rgb, self.offered.rgb)
        if shown is None or shown.sequence < self.plan.warm:
            return
        self.depths.append(source.handed - shown.sequence - 1)
        if frame.engine not in self.engines:
            self.engines.append(frame.engine)


def measure(cell: Cell, protocol: Protocol, raw: Path | None = None) -> dict[str, Any]:
    """Run the cell once and tell what came out; stamps of the measured frames go to `raw` (npz).

    Raises UserError for a cell that this machine cannot run.
    """
    plan = planned(cell, protocol)
    pictures = draw(cell, seed=protocol.seed)
    bench = Bench(cell, plan, offer(pictures, plan.due_ns, cell.rate_hz, cell.phase_ms, cell.cameras))
    gauge, no_gauge = open_gauge()
    sampler = Sampler(gauge, bench.graph_ns)
    try:
        with sampler:
            report, tables = _run(bench)
    finally:
        if gauge is not None:
            gauge.close()
    if raw is not None:
        write_raw(raw, tables[0], bench)
    stamps = frames_told(tables[0], plan, bench.offered.clock.start_ns, cell.until)
    if cell.cameras != "both":
        stamps["skew_ms"] = summary(np.empty(0, dtype=np.int64))
    readings = [reading for reading in sampler.readings if bench.warm_ns <= reading.at_ns <= bench.end_ns]
    return {
        **stamps,
        **_outcome(report, bench),
        **_cost(bench, sampler),
        "opening": bench.opening,
        "inside_ms": _inside(bench),
        "subscribers_p99_ms": [_latency(rows, bench)["p99"] for rows in tables],
        "gpu": told(readings, stamps["frames"]["fused"]),
        "gpu_note": gauge.about if gauge is not None else no_gauge,
        "faults": _faults(stamps, report, bench),
    }


def planned(cell: Cell, protocol: Protocol) -> Schedule:
    return schedule(
        cell.arrivals,
        cell.rate_hz,
        seconds=protocol.seconds,
        warmup_s=protocol.warmup_s,
        warmup_frames=protocol.warmup_frames,
        seed=protocol.seed,
    )


def run_config(cell: Cell, endpoint: str) -> RunConfig:
    """The run file that this cell stands for; its cameras are replaced by the scheduled ones."""
    asked = {"model": cell.model, "engine": cell.engine, "precision": cell.precision, "threads": cell.threads}
    try:
        fuse = FuseConfig.model_validate(asked)
    except ValidationError as error:
        raise UserError(explain(error, FuseConfig, "not offered here")) from error
    return RunConfig(
        source=SyntheticConfig(kind="synthetic", thermal_size=cell.thermal, rgb_size=cell.rgb),
        policy="newest",
        output=OutputConfig(size=cell.output),
        fuse=fuse,
        publish=PublishConfig(endpoint=endpoint, codec=cell.codec),
    )


def _run(bench: Bench) -> tuple[Report, list[Rows]]:
    """The pipeline until its schedule is through; the table of every consumer, or of what was sent."""
    count = 0 if bench.cell.transport == "thread" else bench.cell.subscribers
    with TemporaryDirectory(prefix="streamfuse-") as name:
        local = bench.cell.transport == "ipc" and os.name != "nt"
        config = run_config(bench.cell, f"ipc://{name}/bench.sock" if local else "tcp://127.0.0.1:*")
        keys: ReaderKeys | None = None
        if bench.cell.transport == "curve":
            config, keys = _encrypted(config, Path(name))
        bench.config = config
        with Consumers(count, Path(name), keys) as consumers:
            report = _flowed(bench, config, consumers.join if count else lambda _: None)
            rows = consumers.tables() if count else [table(bench.sent)]
    return report, [of_cameras(each, bench.cell.cameras) for each in rows]


def _encrypted(config: RunConfig, folder: Path) -> tuple[RunConfig, ReaderKeys]:
    """The same run with keys made for it in `folder`. Raises UserError where this libzmq cannot encrypt."""
    files = make_keys(folder / "keys")
    curve = CurveConfig(secret_key_file=str(files["publisher_secret"]), clients=str(files["readers"]))
    publish = config.publish.model_copy(update={"curve": curve})
    reader = ReaderKeys(files["publisher_public"], files["reader_secret"])
    return config.model_copy(update={"publish": publish}), reader


def _flowed(bench: Bench, config: RunConfig, ready: Callable[[Any], None]) -> Report:
    return run(
        config,
        cameras=lambda _: bench.offered.cameras(),
        fusion=bench.open_fuser,
        sink=bench.open_sink,
        ready=ready,
        watch=bench.note,
    )


def _inside(bench: Bench) -> dict[str, dict[str, float | int | None]]:
    """What the parts of the engine's calls took while it was measured, in ms; empty where it does not say."""
    kept = bench.fuser.meter.marks if bench.fuser else ()
    marks = [one for at_ns, one in kept if bench.warm_ns <= at_ns <= bench.end_ns]
    names = marks[0] if marks else ()
    return {name: summary(np.array([one[name] for one in marks], dtype=np.int64)) for name in names}


def write_raw(path: Path, rows: Rows, bench: Bench) -> None:
    """Latency and stages of every measured frame in ns, for plots and for whoever wants to look closer."""
    kept, until = measured(rows, bench.plan, bench.cell.until), bench.cell.until
    latency = latency_ns(kept, bench.plan, bench.offered.clock.start_ns, until)
    np.savez(path, number=kept[:, 0], latency=latency, **stages_ns(kept, until))  # type: ignore[arg-type]


def _latency(rows: Rows, bench: Bench) -> dict[str, float | int | None]:
    kept = measured(rows, bench.plan, bench.cell.until)
    return summary(latency_ns(kept, bench.plan, bench.offered.clock.start_ns, bench.cell.until))


def _outcome(report: Report, bench: Bench) -> dict[str, Any]:
    """Ledgers of the whole run, warm-up included, and what stood in queues while it was measured."""
    depths = np.array(bench.depths or [0])
    return {
        "engine": bench.engines[-1] if bench.engines else report.engine,
        "model": report.model,
        "dropped": {"frames": dict(report.dropped), "outputs": dict(report.outputs_dropped), "lone": dict(report.lone)},
        "balanced": report.balanced,
        "queue_frames": {"mean": round(float(depths.mean()), 3), "max": int(depths.max())},
    }


def _cost(bench: Bench, sampler: Sampler) -> dict[str, Any]:
    """CPU time and memory over the measured part.

    `overhead` is everything but capture and the graph: matching, maps, tone curve, crop, publishing, this language.
    """
    cost = spent(sampler.samples, bench.warm_ns, bench.end_ns)
    if cost is None:
        return {"cpu": None, "rss": None}
    inside = [sample for sample in sampler.samples if bench.warm_ns <= sample.at_ns <= bench.end_ns]
    first_ns, last_ns = inside[0].at_ns, inside[-1].at_ns
    made = sum(first_ns < row[-2] <= last_ns for row in bench.sent)  # by the stamp "sent"
    ours, graph = cost.process - cost.measuring, cost.graph + cost.workers
    parts = {"all": ours, "capture": cost.capture, "graph": graph, "overhead": ours - cost.capture - graph}
    memory = [(sample.at_ns, sample.rss_bytes / 2**20) for sample in inside if sample.rss_bytes is not None]
    risen = slope([at_ns for at_ns, _ in memory], [mb for _, mb in memory])
    return {
        "cpu": {
            "percent": round(100 * ours / cost.span_ns, 1),
            "ms_per_frame": {name: round(ns / 1e6 / made, 3) for name, ns in parts.items()} if made else None,
            "threads_percent": {name: round(100 * ns / cost.span_ns, 2) for name, ns in sorted(cost.threads.items())},
        },
        "rss": {
            "start_mb": round(memory[0][1], 1),
            "end_mb": round(memory[-1][1], 1),
            "slope_mb_per_h": None if risen is None else [round(part, 2) for part in risen],
        }
        if memory
        else None,
    }


def _faults(stamps: dict[str, Any], report: Report, bench: Bench) -> list[str]:
    """What makes these figures untrustworthy, in words."""
    faults = [report.error] if report.error else []
    residual = stamps["residual_percent"]
    if residual is None:
        faults.append("no frame arrived after the warm-up")
    elif residual > RESIDUAL_PERCENT:
        faults.append(f"the stages do not add up to the total: {residual:g} % apart, allowed {RESIDUAL_PERCENT:g} %")
    if not report.balanced:
        faults.append("the ledgers do not balance")
    if len(bench.engines) > 1:
        faults.append(f"the engine changed while it was measured: {', '.join(bench.engines)}")
    return faults
