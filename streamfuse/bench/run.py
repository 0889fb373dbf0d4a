"""`streamfuse bench`: every cell, peer and rate in a process of its own, then the table, the plots and one JSON line.

The first repeat of every cell comes first, then peers and sweep, then the other repeats: whatever ends the run early,
each cell was measured once, and repeats lie as far apart as they can. What cannot be run is told with its reason.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from streamfuse.bench.children import run_child
from streamfuse.bench.jobs import Job, jobs
from streamfuse.bench.machine import identity
from streamfuse.bench.matrix import BenchConfig
from streamfuse.bench.outcome import Ledger, error_of, told_of
from streamfuse.bench.report import print_bench
from streamfuse.clock import now_ns
from streamfuse.errors import UserError
from streamfuse.terminal import passing_bar

SCHEMA = 1
PATIENCE, PATIENCE_S = 2.0, 900.0
"""A child has failed after that many times its time, plus this: an engine may be built in it for the first time."""


def run_bench(config: BenchConfig, out: Path, *, stop: threading.Event, console: Console) -> dict[str, Any]:
    """Measure everything the file names; the whole report, also written to `out`/result.json with plots and a page.

    Raises UserError where `out` cannot be written. Ctrl-C (`stop`) leaves what was measured.
    """
    raw = out / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write into {out}: {error.strerror}; name another folder with --out") from error
    machine, began_ns = identity(), now_ns()
    ledger = _measured(config, raw, stop, console)
    told = {
        "schema": SCHEMA,
        "kind": "streamfuse-bench",
        "machine": machine,
        "protocol": {**config.protocol.model_dump(), "latency": "open loop, from the scheduled capture time"},
        **told_of(config, ledger),
        "seconds": round((now_ns() - began_ns) / 1e9, 1),
        "stopped": stop.is_set(),
        "out": str(out),
    }
    told["error"] = error_of(told)
    (out / "result.json").write_text(json.dumps(told) + "\n", encoding="utf-8")
    print_bench(console, told)
    _illustrated(told, out, console)
    return told


def _measured(config: BenchConfig, raw: Path, stop: threading.Event, console: Console) -> Ledger:
    ledger, queue = Ledger(), jobs(config)
    planned_s, began_ns = sum(job.seconds for job in queue), now_ns()
    limit_s = config.protocol.minutes * 60 if config.protocol.minutes else float("inf")
    console.print(
        f"{len(queue)} runs, about {planned_s / 60:.1f} minutes; Ctrl-C ends early and keeps what was measured"
    )
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with passing_bar(console, *columns) as bar:
        task = bar.add_task("", total=planned_s)
        for number, job in enumerate(queue):
            done_s = sum(earlier.seconds for earlier in queue[:number])
            if stop.is_set():
                break
            if ledger.hopeless(job):
                continue
            if (now_ns() - began_ns) / 1e9 + job.seconds > limit_s:
                if job.repeat == 0:
                    ledger.add(job, {"skipped": f"the time limit of {config.protocol.minutes:g} minutes was reached"})
                continue
            ledger.add(job, _answer(job, raw / f"{job.group}-{number}.npz", stop, bar, task, done_s))
    return ledger


def _answer(job: Job, raw: Path, stop: threading.Event, bar: Progress, task: TaskID, done_s: float) -> dict[str, Any]:
    repeat = f", repeat {job.repeat + 1}" if job.protocol.repeats > 1 and job.group == "cell" else ""
    bar.update(task, completed=done_s, description=f"{job.group} {job.name}{repeat}")

    def tick(passed_s: float) -> None:
        bar.update(task, completed=done_s + min(passed_s, job.seconds))

    answer = run_child(job.request(raw), limit_s=PATIENCE * job.seconds + PATIENCE_S, stop=stop, tick=tick)
    if "result" in answer:
        answer["result"]["raw"] = raw.name if raw.exists() else None
        answer["result"]["not_fused_percent"] = _not_fused_percent(answer["result"])
    return answer


def _not_fused_percent(result: dict[str, Any]) -> float | None:
    frames = result["frames"]
    offered = frames.get("offered")
    return round(100 * (offered - frames["fused"]) / offered, 3) if offered else None


def _illustrated(told: dict[str, Any], out: Path, console: Console) -> None:
    """Plots and the page; without matplotlib the page alone."""
    from streamfuse.bench.page import write_page

    try:
        from streamfuse.bench.plots import draw_plots

        pictures = draw_plots(told, out)
    except ImportError:
        pictures = []
        console.print("plots are left out: pip install 'streamfuse[bench]'", markup=False)
    page = write_page(told, pictures, out / "report.html")
    console.print(f"written: {out / 'result.json'}, {page}", markup=False, highlight=False)
