"""Three pictures: how latency is distributed, where it is spent, at which rate it breaks. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

MOST_LINES = 10
DPI = 110


def draw_plots(told: Mapping[str, Any], out: Path) -> list[Path]:
    """Write what there is to show as PNG into `out`; the paths."""
    measured = [cell for cell in told["cells"] if cell["status"] == "measured"][:MOST_LINES]
    pictures: list[Path] = []
    if measured:
        pictures += [_latencies(measured, out), _stages(measured, out)]
    if told["sweep"] and told["sweep"]["points"]:
        pictures.append(_knee(told["sweep"], out))
    return pictures


def _latencies(cells: list[Any], out: Path) -> Path:
    """Share of frames by latency, all repeats together; the scale shows the tail, where trouble is."""
    figure, axes = _axes(9, 5)
    for cell in cells:
        values = np.sort(np.concatenate([_raw(out, repeat["raw"]) for repeat in cell["repeats"]])) / 1e6
        above = 1 - np.arange(len(values)) / len(values)
        axes.step(values, above, where="post", label=cell["label"], linewidth=1.4)
    axes.set_yscale("log")
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set_yticks([1, 0.5, 0.05, 0.01, 0.001], ["all", "p50", "p95", "p99", "p99.9"])
    axes.set_xlabel("latency from the scheduled capture time, ms")
    axes.set_ylabel("frames slower than this")
    axes.legend(fontsize=7)
    return _written(figure, out / "latency_cdf.png")


def _stages(cells: list[Any], out: Path) -> Path:
    """Mean time in every stage: the bars add up to the mean latency."""
    figure, axes = _axes(9, 1.5 + 0.5 * len(cells))
    names = list(dict.fromkeys(stage for cell in cells for stage in cell["repeats"][0]["stages_ms"]))
    left = np.zeros(len(cells))
    for name in names:
        width = np.array([_mean(cell, name) for cell in cells])
        axes.barh(range(len(cells)), width, left=left, label=name)
        left += width
    axes.set_yticks(range(len(cells)), [cell["label"] for cell in cells], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("mean time in each stage, ms (a stage lasts until its stamp)")
    figure.legend(fontsize=7, ncols=9, loc="outside lower center")
    return _written(figure, out / "stages.png")


def _knee(sweep: Mapping[str, Any], out: Path) -> Path:
    figure, axes = _axes(7, 4.5)
    rates = [point["rate_hz"] for point in sweep["points"]]
    for name in ("p50_ms", "p95_ms"):
        axes.plot(rates, [_known(point[name]) for point in sweep["points"]], marker="o", label=name.removesuffix("_ms"))
    lost = axes.twinx()
    lost.bar(rates, [point["not_fused_percent"] for point in sweep["points"]], width=2, alpha=0.3, color="#c0392b")
    lost.set_ylabel("frames not fused, %")
    lost.set_ylim(0, 100)
    if sweep["knee_hz"]:
        axes.axvline(sweep["knee_hz"], color="#7f8c8d", linestyle="--", label=f"holds up to {sweep['knee_hz']:g} Hz")
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    axes.set_xlabel("offered rate, Hz")
    axes.set_ylabel("latency, ms")
    axes.set_title(sweep["cell"], fontsize=8)
    axes.legend(fontsize=8, loc="upper left")
    return _written(figure, out / "knee.png")


def _plain_numbers(axis: Any) -> None:
    """1, 2, 5, 10, ... on a logarithmic scale, written as such."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _raw(out: Path, name: str) -> NDArray[np.int64]:
    with np.load(out / "raw" / name) as file:
        return file["latency"]


def _mean(cell: Mapping[str, Any], stage: str) -> float:
    values = [repeat["stages_ms"][stage]["mean"] for repeat in cell["repeats"] if stage in repeat["stages_ms"]]
    return float(np.mean([value for value in values if value is not None] or [0.0]))


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _written(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    return path
