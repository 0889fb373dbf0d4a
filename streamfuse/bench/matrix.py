"""What a benchmark file may say: the protocol, a sparse matrix of cells, a sweep of rates, the peers.

In a cell every key may hold a list: the cell then stands for each combination. Only what is written is run.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError

from streamfuse.config import Positive, Section
from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.yamlfile import explain, read_yaml

SizeText = Annotated[str, Field(pattern=r"^[1-9]\d{1,3}x[1-9]\d{1,3}$")]
SMALLEST_RGB = (1280, 720)
Peer = Literal["plain-1", "plain-n", "gstreamer", "closed-loop"]


class Protocol(Section):
    """How long and how often. Two runs are comparable where this is equal."""

    seconds: Positive = 12.0
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    warmup_s: Annotated[float, Field(ge=0)] = 2.0
    warmup_frames: Annotated[int, Field(ge=0)] = 100
    seed: int = 0
    minutes: Positive | None = None  # what has not begun by then is skipped, and said to be


class Cell(Section):
    """One thing that is measured: two cameras of these sizes, this model on this engine, published like this."""

    model: str = "streamfuse-s"
    engine: str = "auto"
    precision: str = "auto"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    size: SizeText = "640x512"  # of the output
    thermal_size: SizeText = "640x512"
    rgb_size: SizeText | None = None  # 1280x720, or as large as the output
    rate_hz: Positive = 30.0
    phase_ms: Annotated[float, Field(ge=0)] = 0.0  # the thermal camera triggers this much later
    arrivals: Literal["fixed", "poisson", "bursts"] = "fixed"
    codec: Literal["raw", "jpeg"] = "raw"
    subscribers: Annotated[int, Field(ge=0, le=64)] = 1
    cameras: Literal["both", "thermal", "rgb"] = "both"  # one: the other has failed, and every output is of this one
    transport: Literal["ipc", "tcp", "curve", "thread"] = "ipc"  # thread: a consumer in the same process, no network

    @property
    def output(self) -> Size:
        return pixels(self.size)

    @property
    def thermal(self) -> Size:
        return pixels(self.thermal_size)

    @property
    def rgb(self) -> Size:
        if self.rgb_size is not None:
            return pixels(self.rgb_size)
        larger = all(have >= wanted for have, wanted in zip(SMALLEST_RGB, self.output, strict=True))
        return SMALLEST_RGB if larger else self.output

    @property
    def key(self) -> str:
        """The cell in words that stay the same from run to run."""
        parts = [self.model, self.engine, self.precision, self.size, f"{self.rate_hz:g}Hz", self.arrivals]
        parts += [self.codec, f"{self.transport}x{self.subscribers}"]
        return " ".join((*parts, *self._named_extras()))

    @property
    def label(self) -> str:
        """The cell in few words: model, size, rate, and what is not as usual."""
        usual, told = Cell(), (self.model, self.size, f"{self.rate_hz:g}Hz")
        names = ("engine", "precision", "arrivals", "codec", "transport")
        unusual = [str(getattr(self, name)) for name in names if getattr(self, name) != getattr(usual, name)]
        readers = [f"x{self.subscribers}"] if self.subscribers != usual.subscribers else []
        return " ".join((*told, *unusual, *readers, *self._named_extras()))

    def _named_extras(self) -> list[str]:
        """Unusual values that need their name to be understood."""
        usual, names = Cell(), ("threads", "thermal_size", "rgb_size", "phase_ms", "cameras")
        return [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) != getattr(usual, name)]

    @property
    def until(self) -> str:
        """The stage at which latency ends."""
        return "received" if self.subscribers or self.transport == "thread" else "sent"


class Sweep(Section):
    """The same cell at rising rates, to find the knee: shorter runs, one each."""

    cell: dict[str, Any] = Field(default_factory=dict)
    rates_hz: Annotated[list[Positive], Field(min_length=2)]
    seconds: Positive = 5.0


class Peers(Section):
    """What the first cell is held against, in the same run."""

    run: tuple[Peer, ...] = ("plain-1", "plain-n", "gstreamer", "closed-loop")
    seconds: Positive = 8.0


class BenchConfig(Section):
    protocol: Protocol = Protocol()
    cells: Annotated[list[dict[str, Any]], Field(min_length=1)]
    sweep: Sweep | None = None
    peers: Peers | None = None


def load_bench(path: Path) -> BenchConfig:
    """Read and check a benchmark file. Raises UserError naming file, key, value and what is allowed."""
    config = read_yaml(path, BenchConfig, "benchmark file")
    cells_of(config, str(path))
    sweep_cells(config, str(path))
    return config


def cells_of(config: BenchConfig, where: str = "benchmark") -> list[Cell]:
    """Every cell once, in the order of the file."""
    cells = [
        cell for index, group in enumerate(config.cells) for cell in _expanded(group, f"{where}: cells, entry {index}")
    ]
    return list(dict.fromkeys(cells))


def sweep_cells(config: BenchConfig, where: str = "benchmark") -> list[Cell]:
    """The sweep's cells by rising rate; none without a sweep."""
    if config.sweep is None:
        return []
    (cell, *more) = _expanded(config.sweep.cell, f"{where}: sweep.cell")
    if more:
        raise UserError(f"{where}: sweep.cell stands for {1 + len(more)} cells; a sweep has one, at several rates")
    return [cell.model_copy(update={"rate_hz": rate}) for rate in sorted(set(config.sweep.rates_hz))]


def pixels(text: str) -> Size:
    """640x512 -> (640, 512)."""
    width, height = text.split("x")
    return int(width), int(height)


def _expanded(group: Mapping[str, Any], where: str) -> list[Cell]:
    axes = [_values(values) for values in group.values()]
    return [_cell(dict(zip(group, chosen, strict=True)), where) for chosen in itertools.product(*axes)]


def _values(written: Any) -> list[Any]:
    return cast("list[Any]", written) if isinstance(written, list) else [written]


def _cell(chosen: dict[str, Any], where: str) -> Cell:
    try:
        return Cell.model_validate(chosen)
    except ValidationError as error:
        raise UserError(explain(error, Cell, where)) from error
