"""What this machine has and lacks for streamfuse, with the remedy for each thing that is missing.

Everything is looked at without being loaded where possible; a probe that fails is a finding, never an error.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path
from streamfuse.terminal import print_wide

Status = Literal["ok", "missing", "problem"]
OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `remedy` is empty where there is nothing to do."""

    what: str
    status: Status
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine() -> list[Finding]:
    """Every probe, in the order in which a user would ask."""
    from streamfuse.fuse.rungs import ENGINES

    probes: tuple[Callable[[], Finding], ...] = (
        _python,
        _cores,
        _shipped,
        _opencv,
        _video,
        _torch,
        _gpu,
        *(partial(_engine, name) for name in ENGINES),
        _zeromq,
        _gstreamer,
        _plugins,
        _cameras,
    )
    return [_probed(probe) for probe in probes]


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    marks = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "problem": "[red]problem[/]"}
    words = [Column(name, overflow="fold") for name in ("found", "remedy")]  # a long word is broken, not cut off
    table = Table("what", "", *words, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(finding.what, marks[finding.status], escape(finding.found), escape(finding.remedy))
    print_wide(console, table)


def _probed(probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except Exception as error:  # vendor libraries raise anything, also plain Exception
        name = " ".join(probe.args) if isinstance(probe, partial) else getattr(probe, "__name__", "probe").strip("_<>")
        return Finding(name, "problem", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _python() -> Finding:
    good = (3, 10) <= sys.version_info[:2] < (3, 14)
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", "ok" if good else "problem", found, "" if good else "use Python 3.10 to 3.13")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    fast = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16") if flag in flags]
    return Finding("CPU", "ok", f"{count} cores; {', '.join(fast) or 'no known vector flags'}")


def _shipped() -> Finding:
    try:
        for name in ("configs/demo.yaml", "calibration/rigs/heli041.yaml", "samples/heli041/thermal.mp4"):
            shipped_path(name)
    except UserError as error:
        return Finding("shipped files", "problem", str(error), "install streamfuse again")
    return Finding("shipped files", "ok", "run files, rigs, sample recording")


def _opencv() -> Finding:
    wheels = [name for name in OPENCV_WHEELS if _version(name)]
    found = ", ".join(f"{name} {_version(name)}" for name in wheels)
    if len(wheels) == 1:
        return Finding("OpenCV", "ok", found)
    remedy = "several OpenCV wheels share one folder: uninstall all, then install opencv-contrib-python-headless"
    return Finding("OpenCV", "problem", found or "no wheel", remedy)


def _video() -> Finding:
    return Finding("video files", "ok", f"PyAV {_version('av')}") if find_spec("av") else _lacks("video files", "av")


def _torch() -> Finding:
    if not find_spec("torch"):
        return _lacks("PyTorch", "torch")
    return Finding("PyTorch", "ok", str(_version("torch")))


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("NVIDIA GPU", "ok", torch.cuda.get_device_name())
    build = "this PyTorch is a CPU build" if torch.version.cuda is None else "no driver or no device"
    return Finding("NVIDIA GPU", "missing", build, "not needed; fusion runs on the CPU")


def _engine(name: str) -> Finding:
    from streamfuse.fuse.explain import explain

    told = explain(name)
    return Finding(f"engine {name}", "ok" if told.runs else "missing", told.found, told.remedy)


def _zeromq() -> Finding:
    import zmq

    curve = "CURVE" if zmq.has("curve") else "no CURVE"
    return Finding("ZeroMQ", "ok", f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}, {curve}")


def _gstreamer() -> Finding:
    from streamfuse.sources.gstreamer_library import COPIES, INSTALL, load_gstreamer

    if not find_spec("gi"):
        return Finding("GStreamer", "missing", "no Python bindings (gi): no live cameras", INSTALL)
    loaded = load_gstreamer()
    version = f"GStreamer {'.'.join(map(str, loaded.version))}"
    if not loaded.zero_copy:
        return Finding("GStreamer", "problem", version, COPIES)
    return Finding("GStreamer", "ok", version)


def _plugins() -> Finding:
    from streamfuse.sources.gstreamer_library import missing_uses

    if not find_spec("gi"):
        return Finding("GStreamer plugins", "missing", "no GStreamer", "see above")
    missing = missing_uses()
    if not missing:
        return Finding("GStreamer plugins", "ok", "cameras, RTSP, H.264 and H.265, MJPEG, FFV1, files")
    packages = " ".join(dict.fromkeys(missing.values()))
    return Finding("GStreamer plugins", "missing", f"not for {', '.join(missing)}", f"apt-get install {packages}")


def _cameras() -> Finding:
    devices = sorted(str(path) for path in Path("/dev").glob("video*")) if Path("/dev").exists() else []
    told: list[str] = []
    if find_spec("gi"):
        from streamfuse.sources.gstreamer_devices import list_cameras

        told = [f"{each.name} ({each.device}): {', '.join(map(str, each.modes[:4]))}" for each in list_cameras()]
    if not (told or devices):
        return Finding("cameras", "missing", "no camera, no /dev/video*", "plug one in; recordings and RTSP need none")
    remedy = "streamfuse doctor --write-config live.yaml" if told else "install GStreamer to see what they offer"
    return Finding("cameras", "ok", "; ".join(told or devices), remedy)


def _lacks(what: str, package: str) -> Finding:
    return Finding(what, "problem", f"{package} is not installed", f"pip install {package}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
