"""What a benchmark file means as processes, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamfuse.bench.matrix import BenchConfig, Cell, Protocol, cells_of, sweep_cells

STARTING_S = 7.0
"""What a measuring process needs besides the time it measures: libraries, pictures, engine from the cache, goodbye."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process: what it measures, and where its answer belongs."""

    group: str  # cell, peer or sweep
    name: str
    kind: str
    cell: Cell
    protocol: Protocol
    repeat: int = 0
    all_threads: bool = False

    @property
    def seconds(self) -> float:
        warm_up_s = max(self.protocol.warmup_s, self.protocol.warmup_frames / self.cell.rate_hz)
        return STARTING_S + warm_up_s + self.protocol.seconds

    def request(self, raw: Path) -> dict[str, Any]:
        asked = {"cell": self.cell.model_dump(), "protocol": self.protocol.model_dump()}
        return {"kind": self.kind, "all_threads": self.all_threads, "raw": str(raw), **asked}


def jobs(config: BenchConfig) -> list[Job]:
    """Every process of a run, in order."""
    protocol = config.protocol
    cells = cells_of(config)
    repeats = [
        [Job("cell", cell.key, "cell", cell, protocol, repeat=repeat) for cell in cells]
        for repeat in range(protocol.repeats)
    ]
    return [
        *repeats[0],
        *_peer_jobs(config, cells[0]),
        *_sweep_jobs(config),
        *(job for one in repeats[1:] for job in one),
    ]


def _peer_jobs(config: BenchConfig, cell: Cell) -> Iterator[Job]:
    if config.peers is None:
        return
    protocol = config.protocol.model_copy(update={"seconds": config.peers.seconds})
    for name in config.peers.run:
        kind = "plain" if name.startswith("plain") else name
        yield Job("peer", name, kind, cell, protocol, all_threads=name == "plain-n")


def _sweep_jobs(config: BenchConfig) -> Iterator[Job]:
    if config.sweep is None:
        return
    protocol = config.protocol.model_copy(update={"seconds": config.sweep.seconds})
    for cell in sweep_cells(config):
        yield Job("sweep", f"{cell.rate_hz:g}", "cell", cell, protocol)
