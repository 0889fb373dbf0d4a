"""`streamfuse roofline`: count, measure, compare; a table, a plot and one JSON object.

The time of an engine here is that of its `fuse` call in a closed loop, nothing else of the pipeline around it. The
bound is the longer of two times: the operations at the machine's peak in that precision, and the bytes that must move
at the machine's bandwidth. No engine can be faster; `reached` says how much of that speed it has.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import Size
from streamfuse.fuse.ahead import size_of
from streamfuse.fuse.available import lacks
from streamfuse.fuse.process import prepare_process
from streamfuse.fuse.rungs import ENGINES, OFFERS, open_engine
from streamfuse.models import MODELS, build, identity, split, untrained
from streamfuse.roofline.ceilings import Ceilings, measure
from streamfuse.roofline.count import Need, count
from streamfuse.terminal import make_folder, note, print_wide

SHOWN = ("streamfuse-s", "streamfuse-q", "laplacian", "average")
ON_GPU = frozenset({"tensorrt", "inductor"})
SECONDS, FEWEST, WARM = 2.0, 5, 3
PEAK_OF = {"int8": "bf16", "auto": "fp32"}
"""int8 has no product in PyTorch to measure by: it is set against the next wider one, and may exceed it."""


def run_roofline(models: Sequence[str], out: Path, *, size: str, threads: int, console: Console) -> dict[str, Any]:
    """Write roofline.json and roofline.png into `out`; what they hold, as a dictionary.

    Raises UserError for an unknown model or size, for a bad folder, and where the plot's library is missing.
    """
    from streamfuse.roofline.plot import draw

    prepare_process()
    import torch

    sides = size_of(size, "--size")
    make_folder(out)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    ceilings = {device: measure(device, threads) for device in devices}
    rows = [row for model in models or SHOWN for row in rows_of(model, sides, ceilings, threads, console)]
    told = {
        "size": list(sides),
        "threads": threads,
        "ceilings": [as_dict(one) for one in ceilings.values()],
        "rows": rows,
    }
    draw(out / "roofline.png", list(ceilings.values()), rows)
    (out / "roofline.json").write_text(json.dumps(told, indent=1))
    show(console, told)
    return {**told, "out": str(out)}


def rows_of(
    model: str, size: Size, ceilings: dict[str, Ceilings], threads: int, console: Console
) -> Iterator[dict[str, Any]]:
    """One row for each engine and precision that runs here."""
    network = opened(model, console)
    need, seen = count(network, size, size), set[str]()
    for engine in ENGINES:
        if lacks(engine):
            continue
        for precision in OFFERS[engine]:
            try:
                with console.status(escape(f"{model} on {engine} {precision}")):
                    name, seconds = timed(engine, network, precision, size, threads)
            except (EngineError, UserError) as error:
                note(console, f"{model} on {engine} {precision}: {error}")
                continue
            if name in seen:  # nothing in this model that computes in another precision
                continue
            seen.add(name)
            ceiling = ceilings["cuda" if engine in ON_GPU else "cpu"]
            yield {"model": identity(model), "engine": name, **judged(need, seconds, precision, ceiling)}


def timed(engine: str, network: Any, precision: str, size: Size, threads: int) -> tuple[str, float]:
    """The engine's full name and the median time of a frame in seconds."""
    import numpy as np

    from streamfuse.stretch import StretchRegistrar
    from streamfuse.thermal import ToneMapper

    random = np.random.default_rng(0)
    thermal = random.integers(0, 65536, (size[1], size[0]), dtype=np.uint16)
    rgb = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    curve, opened = ToneMapper().update(thermal, 0), open_engine(engine, network, precision, threads)
    try:
        opened.set_warp(StretchRegistrar(size, size).warp)
        times: list[float] = []
        end = time.perf_counter() + SECONDS
        while len(times) < WARM + FEWEST or time.perf_counter() < end:
            start = time.perf_counter()
            opened.fuse(thermal, curve, rgb)
            times.append(time.perf_counter() - start)
        return opened.name, statistics.median(times[WARM:])
    finally:
        opened.close()


def judged(need: Need, seconds: float, precision: str, ceiling: Ceilings) -> dict[str, Any]:
    """The need of a frame, its time, the bound that the machine sets, and the share of that speed that was reached."""
    compute = need.operations / ceiling.peaks[PEAK_OF.get(precision, precision)]
    memory = need.least_bytes / ceiling.bandwidth
    return {
        "precision": precision,
        "device": ceiling.device,
        "operations": need.operations,
        "least_bytes": need.least_bytes,
        "unfused_bytes": need.unfused_bytes,
        "intensity": need.intensity,
        "ms": seconds * 1e3,
        "bound_ms": max(compute, memory) * 1e3,
        "bound_by": "compute" if compute > memory else "memory",
        "memory_ms": memory * 1e3,
        "reached": max(compute, memory) / seconds,
    }


def opened(model: str, console: Console) -> nn.Module:
    """The network, untrained where no weights ship with it: time does not depend on them. Raises UserError."""
    try:
        return build(model)
    except UserError as error:
        if split(model)[0] not in MODELS:
            raise
        network = untrained(model).eval().requires_grad_(False)
        note(console, f"{error}. Timed untrained, which takes as long")
        return network


def as_dict(ceilings: Ceilings) -> dict[str, Any]:
    return {"device": ceilings.device, "bandwidth": ceilings.bandwidth, "peaks": ceilings.peaks}


def show(console: Console, told: dict[str, Any]) -> None:
    for one in told["ceilings"]:
        peaks = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in one["peaks"].items())
        console.print(f"{one['device']}: copy {one['bandwidth'] / 1e9:.1f} GB/s, products {peaks}", highlight=False)
    table = Table(box=None)
    for heading in ("model", "engine", "MFLOP", "MB least", "MB all", "ms", "bound ms", "by", "reached"):
        table.add_column(heading, no_wrap=True)
    for row in told["rows"]:
        sizes = (row[name] / 1e6 for name in ("operations", "least_bytes", "unfused_bytes"))
        table.add_row(
            *(row["model"], row["engine"], *(f"{value:.1f}" for value in sizes)),
            *(f"{row['ms']:.2f}", f"{row['bound_ms']:.2f}", row["bound_by"], f"{row['reached']:.0%}"),
        )
    print_wide(console, table)
