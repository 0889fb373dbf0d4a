"""An NVIDIA card's gauge through NVML (package nvidia-ml-py, optional). Never on Jetson, where NVML knows little."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from streamfuse.bench.gauges import Gauge, Reading
from streamfuse.clock import now_ns

REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal limit",
    0x40: "hardware thermal limit",
    0x80: "power brake",
}
"""Bits of NVML's clocks event reasons (nvml.h: nvmlClocksEventReason...) that mean less speed than asked for."""


class NvmlGauge:
    """Reads the card with this index."""

    def __init__(self, nvml: Any, index: int = 0) -> None:
        self._nvml = nvml
        self._card = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(self._card)
        self.about = name.decode() if isinstance(name, bytes) else str(name)

    def read(self) -> Reading:
        nvml, card = self._nvml, self._card
        return Reading(
            at_ns=now_ns(),
            gpu_percent=self._asked(lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu),
            gpu_mhz=self._asked(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
            memory_mhz=self._asked(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM)),
            temperature_c=self._asked(lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
            power_mw=self._asked(lambda: nvml.nvmlDeviceGetPowerUsage(card)),
            throttled=reasons(int(self._asked(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)) or 0)),
        )

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _asked(self, question: Callable[[], float]) -> float | None:
        """Not every card answers every question."""
        try:
            return float(question())
        except self._nvml.NVMLError:
            return None


def reasons(bits: int) -> tuple[str, ...]:
    """What holds the clocks down, in words."""
    return tuple(name for bit, name in REASONS.items() if bits & bit)


def open_nvml() -> tuple[Gauge | None, str]:
    """The first card's gauge, or None and why."""
    try:
        pynvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None, "NVML: nvidia-ml-py is not installed (pip install 'streamfuse[bench]')"
    try:
        pynvml.nvmlInit()
        return NvmlGauge(pynvml), ""
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
