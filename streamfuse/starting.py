"""`streamfuse doctor --write-config`: a first run file for the cameras that were found, with its choices explained.

A guess from formats, sizes and names; every guess stands in the file beside a comment. It opens no camera.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamfuse.errors import UserError
from streamfuse.sources.gstreamer_devices import JPEG, FoundCamera, Mode

COUNTS = ("GRAY16_LE", "GRAY16_BE", "GRAY8")
THERMAL_NAME = re.compile(r"(?i)flir|boson|lepton|purethermal|tau|seek|thermal|infiray|hikmicro|lwir|optris")
WIDTH, RATE_HZ = 1280, 25.0
"""What is enough of a visible camera: more pixels cost time, fewer frames cost sync."""

HEAD = """\
# A first run file for the cameras that were plugged in. Look at what it chose, then:
#   streamfuse run {name}
# Without a rig file thermal is stretched over the whole RGB image: calibrate, then name your rig here.
source:
  kind: live
"""
TAIL = """\
# rig: my-rig.yaml
output:
  size: [640, 512]
publish:
  endpoint: tcp://127.0.0.1:5555
"""
PATTERN = """\
  {role}:  # none was found: a test pattern in its place
    launch: videotestsrc is-live=true pattern=ball
    format: {format}
    size: {size}
    rate_hz: 30
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """One camera, and the mode in which it is to run."""

    camera: FoundCamera
    mode: Mode


def write_starting_config(path: Path, cameras: Sequence[FoundCamera]) -> str:
    """Write the run file and return its text. Raises UserError where no camera was found, or `path` exists."""
    if not cameras:
        raise UserError("no camera was found to write a run file for; plug one in, or try configs/live-test.yaml")
    text = starting_config(cameras, path.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path} exists; it is not overwritten, name another file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return text


def starting_config(cameras: Sequence[FoundCamera], name: str) -> str:
    """The text of a run file for the likeliest thermal and the likeliest visible camera among `cameras`."""
    thermal = choose_thermal(cameras)
    rest = [camera for camera in cameras if thermal is None or camera is not thermal.camera]
    return "".join((HEAD.format(name=name), _section("thermal", thermal), _section("rgb", choose_rgb(rest)), TAIL))


def choose_thermal(cameras: Sequence[FoundCamera]) -> Choice | None:
    """Counts before grey levels, and those before a name that sounds thermal."""
    for wanted in COUNTS:
        for camera in cameras:
            modes = [mode for mode in camera.modes if mode.format == wanted]
            if modes:
                return Choice(camera, modes[0])
    named = [camera for camera in cameras if THERMAL_NAME.search(camera.name) and camera.modes]
    return Choice(named[0], named[0].modes[0]) if named else None


def choose_rgb(cameras: Sequence[FoundCamera]) -> Choice | None:
    """Fast enough first, then the width nearest to enough, then pixels before JPEG."""
    choices = [Choice(camera, mode) for camera in cameras for mode in camera.modes if mode.format not in COUNTS]

    def worse(choice: Choice) -> tuple[bool, int, bool]:
        mode = choice.mode
        return mode.rate_hz < RATE_HZ, abs(mode.size[0] - WIDTH), mode.format == JPEG

    return min(choices, key=worse, default=None)


def _section(role: str, choice: Choice | None) -> str:
    if choice is None:
        usual = {"thermal": ("GRAY16_LE", [640, 512]), "rgb": ("BGR", [1280, 720])}[role]
        return PATTERN.format(role=role, format=usual[0], size=usual[1])
    mode, others = choice.mode, [str(mode) for mode in choice.camera.modes if mode != choice.mode]
    lines = [f"  {role}:  # {' '.join(choice.camera.name.split())}, {mode}"]
    if others:
        lines.append(f"    # it also offers: {', '.join(others[:6])}{', ...' if len(others) > 6 else ''}")
    lines += _launch(choice)
    return "\n".join(lines) + "\n"


def _launch(choice: Choice) -> list[str]:
    mode, (width, height) = choice.mode, choice.mode.size
    source = f"v4l2src device={choice.camera.device}"
    if mode.format == JPEG:
        source += f" ! image/jpeg,width={width},height={height} ! jpegdec"
    elif mode.format not in ("GRAY16_LE", "GRAY8", "NV12", "I420"):
        source += f" ! video/x-raw,format={mode.format},width={width},height={height}"
    lines = [f"    launch: {source}"]
    if mode.format in ("GRAY16_LE", "GRAY8", "NV12", "I420"):
        lines.append(f"    format: {mode.format}")
    return [*lines, f"    size: [{width}, {height}]", *([f"    rate_hz: {mode.rate_hz:g}"] if mode.rate_hz else [])]
