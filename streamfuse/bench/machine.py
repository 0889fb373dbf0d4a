"""Who measured: what of a machine and its software a latency depends on. No host name, no user, no address."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from streamfuse.bench.gauges import open_gauge
from streamfuse.bench.jetson import power_mode

HARDWARE = ("cpu", "cores", "usable_cores", "memory_gb", "gpu", "board", "power_mode")
"""Two runs are of the same machine where these are equal; other software on it is what one may want to compare."""
PACKAGES = ("streamfuse", "torch", "openvino", "tensorrt", "torch-tensorrt", "numpy", "pyzmq", "onnxruntime")
OPENCV = ("opencv-contrib-python-headless", "opencv-python-headless", "opencv-contrib-python", "opencv-python")


def identity() -> dict[str, Any]:
    """Hardware, system, versions, commit and the load at the start; None where it cannot be told."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpu": _gpu(),
        "board": _first_line(Path("/proc/device-tree/model")),
        "power_mode": power_mode(),
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "system": f"{platform.system()} {platform.release()}",
        "distribution": _distribution(),
        "python": platform.python_version(),
        "packages": _packages(),
        "commit": _commit(),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    return None


def _gpu() -> str | None:
    gauge, _ = open_gauge()
    if gauge is None:
        return None
    gauge.close()
    return gauge.about


def _distribution() -> str | None:
    with suppress(OSError, AttributeError):
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    return None


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in (*PACKAGES, *OPENCV):
        with suppress(metadata.PackageNotFoundError):
            found["opencv" if name in OPENCV else name] = metadata.version(name)
    return found


def _commit() -> str | None:
    """Of the checkout that runs, with "+" where its files were changed; None when installed from a wheel."""
    top = Path(__file__).resolve().parents[2]
    if shutil.which("git") is None or not (top / ".git").exists():
        return None
    head, changes = (
        subprocess.run(["git", "-C", str(top), *words], capture_output=True, text=True, check=False).stdout.strip()
        for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "-uno"])
    )
    return head + ("+" if changes else "") if head else None


def _first_line(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip("\0\n ") or None
    return None
