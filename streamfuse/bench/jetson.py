"""A Jetson board's gauge: tegrastats, read line by line in a thread. Its lines differ between releases; what a line
does not say is None.

Fields used (NVIDIA Jetson Linux developer guide, "tegrastats utility"): GR3D_FREQ (GPU load and clock), EMC_FREQ
(memory clock), NAME@DEGREESC (temperatures), NAME NOWmW/AVERAGEmW (power rails).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

from streamfuse.bench.gauges import Gauge, Reading
from streamfuse.clock import now_ns

PERIOD_MS = 100
GPU = re.compile(r"GR3D_FREQ (\d+)%(?:@\[?(\d+))?")
MEMORY = re.compile(r"EMC_FREQ \d+%@(\d+)")
TEMPERATURE = re.compile(r"\b([\w-]+)@(-?\d+(?:\.\d+)?)C\b")
RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/\d+(?:mW)?(?=\s|$)")
WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
"""The rail that feeds everything, where a board measures it; else its rails are added up."""
NOT_RAILS = {"RAM", "SWAP", "IRAM", "CPU", "MTS"}
OVERCURRENT = "hwmon*/oc*_event_cnt"
HWMON = Path("/sys/class/hwmon")


def parse(line: str, at_ns: int) -> Reading:
    """One line of tegrastats. Power is that of the whole board, temperature the GPU's, else the hottest."""
    gpu, memory = GPU.search(line), MEMORY.search(line)
    temperatures = {name.lower(): float(degrees) for name, degrees in TEMPERATURE.findall(line)}
    known = {name: degrees for name, degrees in temperatures.items() if degrees > -100}  # -256: sensor is off
    return Reading(
        at_ns=at_ns,
        gpu_percent=float(gpu[1]) if gpu else None,
        gpu_mhz=float(gpu[2]) if gpu and gpu[2] else None,
        memory_mhz=float(memory[1]) if memory else None,
        temperature_c=known.get("gpu", max(known.values(), default=None)),
        power_mw=_power_mw(line),
    )


def _power_mw(line: str) -> float | None:
    rails = {name: float(now) for name, now in RAIL.findall(line) if name not in NOT_RAILS}
    whole = [rails[name] for name in WHOLE_BOARD if name in rails]
    return whole[0] if whole else (sum(rails.values()) if rails else None)


class TegrastatsGauge:
    """Keeps the newest line of a running tegrastats."""

    def __init__(self, command: str, about: str) -> None:
        self.about = about
        self._newest: Reading | None = None
        self._events = _overcurrent_events()
        self._process = subprocess.Popen(
            [command, "--interval", str(PERIOD_MS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._listen, name="bench-tegrastats", daemon=True)
        self._thread.start()

    def read(self) -> Reading | None:
        return self._newest

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            throttled = ("over-current",) if _overcurrent_events() > self._events else ()
            self._newest = replace(parse(line, now_ns()), throttled=throttled)


def _overcurrent_events() -> int:
    """How often the board has slowed itself down for too high a current (JetPack 6 counts it)."""
    counted = 0
    for path in HWMON.glob(OVERCURRENT):
        text = path.read_text().strip()
        counted += int(text) if text.isdigit() else 0
    return counted


def open_tegrastats() -> tuple[Gauge | None, str]:
    """The board's gauge, or None and why."""
    command = shutil.which("tegrastats")
    if command is None:
        return None, "tegrastats: not here (no Jetson)"
    return TegrastatsGauge(command, f"Jetson, {power_mode() or 'power mode unknown'}"), ""


def power_mode() -> str | None:
    """What nvpmodel says, in one line, e.g. "NV Power Mode: MAXN 0"; None without it."""
    command = shutil.which("nvpmodel")
    if command is None:
        return None
    said = subprocess.run([command, "-q"], capture_output=True, text=True, timeout=10, check=False).stdout
    return " ".join(said.split()) or None
