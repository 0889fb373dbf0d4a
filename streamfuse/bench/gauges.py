"""What the hardware says while a cell runs: GPU load, clocks, temperature, power, throttling. One reading, two origins.

NVIDIA cards tell through NVML (`nvidia.py`), Jetson boards through tegrastats (`jetson.py`). Elsewhere there is
nothing to read, and the reason is told instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at the hardware; None where it does not tell. `throttled` names what holds the clocks down."""

    at_ns: int
    gpu_percent: float | None = None
    gpu_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: float | None = None
    power_mw: float | None = None
    throttled: tuple[str, ...] = ()


class Gauge(Protocol):
    """Gives the newest reading; `about` names the device and, on a board, its power mode."""

    @property
    def about(self) -> str: ...

    def read(self) -> Reading | None: ...

    def close(self) -> None: ...


def open_gauge() -> tuple[Gauge | None, str]:
    """The machine's gauge, or None and why there is none."""
    from streamfuse.bench.jetson import open_tegrastats
    from streamfuse.bench.nvidia import open_nvml

    board, no_board = open_tegrastats()
    if board is not None:
        return board, ""
    card, no_card = open_nvml()
    return card, "" if card is not None else f"{no_card}; {no_board}"


def told(readings: Sequence[Reading], frames: int) -> dict[str, Any] | None:
    """Means, extremes and energy over the measured part, in which so many `frames` were made; None without readings."""
    if not readings:
        return None
    power_mw = _mean([reading.power_mw for reading in readings])
    span_s = (readings[-1].at_ns - readings[0].at_ns) / 1e9
    temperatures = [reading.temperature_c for reading in readings if reading.temperature_c is not None]
    clocks = [reading.gpu_mhz for reading in readings if reading.gpu_mhz is not None]
    return {
        "readings": len(readings),
        "gpu_percent": _mean([reading.gpu_percent for reading in readings]),
        "gpu_mhz": {"min": min(clocks), "max": max(clocks)} if clocks else None,
        "memory_mhz": _mean([reading.memory_mhz for reading in readings]),
        "temperature_c": {"start": temperatures[0], "end": temperatures[-1]} if temperatures else None,
        "power_w": None if power_mw is None else round(power_mw / 1e3, 3),
        "mj_per_frame": round(power_mw * span_s / frames, 3) if power_mw is not None and frames and span_s else None,
        "throttled": sorted({why for reading in readings for why in reading.throttled}),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 3) if known else None
