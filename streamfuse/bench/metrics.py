"""The figures that are told of a cell and compared between runs: where each stands, which way is better, how sure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

ENOUGH_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Metric:
    """`path` leads into the result of one repeat, `interval` to its bootstrap interval there."""

    path: str
    unit: str
    less_is_better: bool = True
    interval: str = ""


METRICS = {
    "p50": Metric("latency_ms/p50", "ms", interval="intervals_ms/p50"),
    "p95": Metric("latency_ms/p95", "ms", interval="intervals_ms/p95"),
    "p99": Metric("latency_ms/p99", "ms", interval="intervals_ms/p99"),
    "p99.9": Metric("latency_ms/p99.9", "ms", interval="intervals_ms/p99.9"),
    "max": Metric("latency_ms/max", "ms"),
    "jitter sd": Metric("jitter_ms/sd", "ms"),
    "rate": Metric("rate_hz/achieved", "Hz", less_is_better=False),
    "not fused": Metric("not_fused_percent", "%"),
    "CPU": Metric("cpu/ms_per_frame/all", "ms a frame"),
    "CPU graph": Metric("cpu/ms_per_frame/graph", "ms a frame"),
    "CPU overhead": Metric("cpu/ms_per_frame/overhead", "ms a frame"),
    "RSS": Metric("rss/end_mb", "MB"),
    "energy": Metric("gpu/mj_per_frame", "mJ a frame"),
    "engine ready": Metric("opening/engine_s", "s"),
    "first inference": Metric("opening/first_inference_ms", "ms"),
}


def collected(repeats: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Median and noise of every metric that some repeat knows.

    Noise is the range over three repeats or more; with fewer, the hull of the bootstrap intervals, where there are
    any; else nothing is known of it ("none").
    """
    found: dict[str, dict[str, Any]] = {}
    for name, metric in METRICS.items():
        values = [value for repeat in repeats if (value := looked_up(repeat, metric.path)) is not None]
        if values:
            low, high, basis = _noise(values, [looked_up(repeat, metric.interval) for repeat in repeats])
            median = round(statistics.median(values), 3)
            found[name] = {"median": median, "low": low, "high": high, "basis": basis, "repeats": len(values)}
    return found


def looked_up(result: Mapping[str, Any], path: str) -> Any:
    """What stands at a path like "latency_ms/p50"; None where nothing does."""
    at: Any = result
    for part in path.split("/"):
        at = cast("Mapping[str, Any]", at).get(part) if isinstance(at, Mapping) else None
    return at


def _noise(values: Sequence[float], bounds: Sequence[Any]) -> tuple[float | None, float | None, str]:
    if len(values) >= ENOUGH_REPEATS:
        return min(values), max(values), "range"
    known = [bound for bound in bounds if bound]
    if not known:
        return None, None, "none"
    return min(low for low, _ in known), max(high for _, high in known), "bootstrap"
