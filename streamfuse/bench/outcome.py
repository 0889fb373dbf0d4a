"""From the answers of all processes to one report: cells with median and noise, peers, ratios, sweep and knee."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streamfuse.bench.jobs import Job
from streamfuse.bench.knee import Point, knee
from streamfuse.bench.matrix import BenchConfig, Cell, cells_of, sweep_cells
from streamfuse.bench.metrics import collected


@dataclass(slots=True)
class Ledger:
    """Answers so far, by group and name, in the order of their jobs."""

    answers: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict[tuple[str, str], list[Any]])

    def add(self, job: Job, answer: dict[str, Any]) -> None:
        self.answers.setdefault((job.group, job.name), []).append(answer)

    def hopeless(self, job: Job) -> bool:
        """What could not be run once is not tried again."""
        return any("skipped" in answer or "failed" in answer for answer in self.answers.get((job.group, job.name), []))

    def results(self, group: str, name: str) -> list[dict[str, Any]]:
        return [answer["result"] for answer in self.answers.get((group, name), []) if "result" in answer]

    def reason(self, group: str, name: str) -> tuple[str, str]:
        """Status and why, of something without a result."""
        for answer in self.answers.get((group, name), []):
            for status in ("skipped", "failed", "stopped"):
                if status in answer:
                    return status, str(answer[status])
        return "skipped", "interrupted before it began"


def told_of(config: BenchConfig, ledger: Ledger) -> dict[str, Any]:
    cells = [_cell_told(cell, ledger) for cell in cells_of(config)]
    peers = [_peer_told(name, ledger) for name in (config.peers.run if config.peers else ())]
    return {
        "cells": cells,
        "peers": peers,
        "ratios": ratios(cells[0], peers),
        "sweep": _sweep_told(config, ledger) if config.sweep else None,
    }


def _cell_told(cell: Cell, ledger: Ledger) -> dict[str, Any]:
    repeats = ledger.results("cell", cell.key)
    told: dict[str, Any] = {"key": cell.key, "label": cell.label, "cell": cell.model_dump(), "until": cell.until}
    if not repeats:
        status, reason = ledger.reason("cell", cell.key)
        return {**told, "status": status, "reason": reason}
    faults = [fault for repeat in repeats for fault in repeat["faults"]]
    summary = collected(repeats)
    return {**told, "status": "measured", "summary": summary, "faults": faults, "repeats": repeats}


def _peer_told(name: str, ledger: Ledger) -> dict[str, Any]:
    results = ledger.results("peer", name)
    if results:
        return {"name": name, "status": "measured", **results[0]}
    status, reason = ledger.reason("peer", name)
    return {"name": name, "status": status, "reason": reason}


def _sweep_told(config: BenchConfig, ledger: Ledger) -> dict[str, Any]:
    points: list[Point] = []
    skipped: dict[str, str] = {}
    for cell in sweep_cells(config):
        name = f"{cell.rate_hz:g}"
        results = ledger.results("sweep", name)
        if results:
            latency = results[0]["latency_ms"]
            points.append(Point(cell.rate_hz, latency["p50"], latency["p95"], results[0]["not_fused_percent"]))
        else:
            skipped[name] = ledger.reason("sweep", name)[1]
    named = [{slot: getattr(point, slot) for slot in Point.__slots__} for point in points]
    label = sweep_cells(config)[0].model_copy(update={"rate_hz": 1.0}).label.replace(" 1Hz", "")
    return {"cell": label, "points": named, "skipped": skipped, "knee_hz": knee(points)}


def ratios(cell: dict[str, Any], peers: list[dict[str, Any]]) -> dict[str, float]:
    """CPU time per frame of each peer in units of ours: 2.0 = it takes twice as much."""
    ours = cell.get("summary", {}).get("CPU", {}).get("median")
    spent = {peer["name"]: peer.get("cpu_ms_per_frame") for peer in peers}
    return {name: round(taken / ours, 2) for name, taken in spent.items() if taken and ours}


def error_of(told: dict[str, Any]) -> str | None:
    measured = [cell for cell in told["cells"] if cell["status"] == "measured"]
    if not measured:
        return f"no cell could be measured; the first: {told['cells'][0]['reason']}"
    wrong = [f"{cell['key']}: {cell['faults'][0]}" for cell in measured if cell["faults"]]
    return f"figures that cannot be trusted: {'; '.join(wrong)}" if wrong else None
