"""What a run tells at its end: both ledgers, latency, stages; a table for people, a dictionary for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamfuse.frames import Stamps
from streamfuse.terminal import counted, note
from streamfuse.timing import STAGES, percentile_summary, stage_durations_ns

Percentiles = Mapping[str, float | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts are frames (`frames_in`, `dropped`), pairs (`matched`), lone frames, and outputs (`published`, ...).

    `latency_ms`: from the scheduled capture time to the socket. `balanced`: both ledgers add up to the frame.
    `cpu_cores`: this process's CPU time by wall time, set-up left out.
    `sources`: state, reconnects and last error of each supervised source.
    """

    frames_in: Mapping[str, int]
    matched: int
    lone: Mapping[str, int]
    dropped: Mapping[str, int]
    published: int
    outputs_dropped: Mapping[str, int]
    balanced: bool
    latency_ms: Percentiles
    stages_ms: Mapping[str, Percentiles]
    fps: float | None
    seconds: float
    cpu_cores: float
    engine: str
    model: str
    endpoint: str
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    warnings: tuple[str, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Timings:
    """Latency, stages and rate, from the stamps of every frame that reached the stage `until`."""

    latency_ms: Percentiles
    stages_ms: Mapping[str, Percentiles]
    fps: float | None


def timings(stamps: Sequence[Stamps], *, until: str) -> Timings:
    """Percentiles over `stamps`; fps is counted from the first to the last arrival at `until`."""
    complete = [stamp for stamp in stamps if "offered" in stamp and until in stamp]
    durations = [stage_durations_ns(stamp) for stamp in complete]
    stages = {
        stage: percentile_summary([taken[stage] for taken in durations if stage in taken])
        for stage in STAGES
        if any(stage in taken for taken in durations)
    }
    latency = percentile_summary([stamp[until] - stamp["offered"] for stamp in complete])
    span_s = (complete[-1][until] - complete[0][until]) / 1e9 if len(complete) > 1 else 0.0
    return Timings(latency, stages, round((len(complete) - 1) / span_s, 2) if span_s else None)


def print_report(console: Console, told: Mapping[str, Any]) -> None:
    """The report as a person reads it, on `console` (stderr)."""
    for warning in told.get("warnings", ()):
        note(console, warning)
    console.print(_counts(told))
    console.print(_stages(told))


def _counts(told: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("frames in", listed(told["frames_in"]))
    table.add_row("matched", counted(told["matched"], "pair"))
    table.add_row("lone", listed(told["lone"]))
    table.add_row("dropped frames", listed(told["dropped"]))
    rate = "" if told["fps"] is None else f" at {told['fps']} fps"
    table.add_row("published", f"{told['published']}{rate}; dropped {listed(told['outputs_dropped'])}")
    if "received" in told:
        table.add_row("received", f"{told['received']}, lost {told['lost']}")
    for name, source in told.get("sources", {}).items():
        error = f"; last error: {source['last_error']}" if source["last_error"] else ""
        table.add_row(name, escape(f"{source['state']}, {counted(source['reconnects'], 'reconnect')}{error}"))
    table.add_row("ledgers", "balanced" if told["balanced"] else "[red]NOT balanced[/]")
    table.add_row("engine, model", f"{told['engine']}, {told['model']}; {told['cpu_cores']:.2f} of a core")
    return table


def _stages(told: Mapping[str, Any]) -> Table:
    until = "subscriber" if "received" in told else "socket"
    table = Table("ms", "p50", "p95", "p99", "n", title=f"capture to {until}", title_justify="left")
    for name, row in {**told["stages_ms"], "total": told["latency_ms"]}.items():
        cells = ["-" if row[key] is None else f"{row[key]:.2f}" for key in ("p50", "p95", "p99")]
        table.add_row(name, *cells, str(row["n"]), style="bold" if name == "total" else None)
    return table


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"
