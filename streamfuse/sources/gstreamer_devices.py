"""Cameras on this machine and what each of them offers, as GStreamer sees them; it opens none for pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamfuse.frames import Size
from streamfuse.sources.gstreamer_library import load_gstreamer

BY_ID = Path("/dev/v4l/by-id")
JPEG = "MJPG"
_FIELD = re.compile(r"\b(format|width|height|framerate)=\((?:string|int|fraction)\)(\{[^}]*\}|\[[^]]*\]|[^,;]+)")
_RATE = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Mode:
    """One thing that a camera can deliver; `format` is GStreamer's word, or MJPG."""

    format: str
    size: Size
    rate_hz: float

    def __str__(self) -> str:
        return f"{self.format} {self.size[0]}x{self.size[1]} {self.rate_hz:g} Hz"


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that is plugged in; `device` is its lasting name (by-id) where it has one."""

    name: str
    device: str
    modes: tuple[Mode, ...]


def list_cameras() -> list[FoundCamera]:
    """Every video source that GStreamer's device monitor knows. Raises UserError where GStreamer is missing."""
    monitor = load_gstreamer().Gst.DeviceMonitor.new()
    monitor.add_filter("Video/Source", None)
    if not monitor.start():
        return []
    try:
        found = [_camera(device) for device in monitor.get_devices() or ()]
    finally:
        monitor.stop()
    return sorted((camera for camera in found if camera), key=lambda camera: camera.device)


def modes_of(caps: str) -> tuple[Mode, ...]:
    """Modes in the text of caps, fastest rate of each format and size, largest first; ranges count with their most."""
    best: dict[tuple[str, Size], float] = {}
    for structure in caps.split(";"):
        kind = structure.split(",")[0].strip()
        fields: dict[str, str] = dict(_FIELD.findall(structure))
        names = [JPEG] if kind == "image/jpeg" else re.findall(r"\w+", fields.get("format", ""))
        size = _largest(fields.get("width", "")), _largest(fields.get("height", ""))
        rates = [int(top) / int(bottom) for top, bottom in _RATE.findall(fields.get("framerate", "")) if int(bottom)]
        for name in names if all(size) and kind in ("image/jpeg", "video/x-raw") else ():
            best[name, size] = max([best.get((name, size), 0.0), *rates])
    modes = [Mode(name, size, rate_hz) for (name, size), rate_hz in best.items()]
    return tuple(sorted(modes, key=lambda mode: (mode.size[0] * mode.size[1], mode.rate_hz), reverse=True))


def _largest(text: str) -> int:
    return max((int(number) for number in re.findall(r"\d+", text)), default=0)


def _camera(device: Any) -> FoundCamera | None:
    properties, caps = device.get_properties(), device.get_caps()
    names = ("device.path", "api.v4l2.path", "object.path")
    path = next((found for name in names if properties and (found := properties.get_string(name))), None)
    if not path or not path.startswith("/dev/"):
        return None
    return FoundCamera(device.get_display_name(), lasting_name(path), modes_of(caps.to_string()) if caps else ())


def lasting_name(path: str, by_id: Path = BY_ID) -> str:
    """The name under `by_id` that leads to `path`: it stays the same over restarts, /dev/videoN does not."""
    links = sorted(by_id.iterdir()) if by_id.is_dir() else []
    return next((str(link) for link in links if link.resolve() == Path(path).resolve()), path)
