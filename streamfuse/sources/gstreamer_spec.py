"""What is asked of one live camera, in words and numbers; it knows no GStreamer and opens nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.redact import redact
from streamfuse.shipped import resolve_path

PixelFormat = Literal["GRAY16_LE", "GRAY8", "RGB", "BGR", "NV12", "I420"]
RTSP = ("rtsp", "rtsps", "rtspt", "rtspu", "rtsph")
OPEN_MS, NETWORK_OPEN_MS = 5_000, 10_000
"""How long the first frame may take: cameras start slowly, a coded stream starts at its next key frame."""
STALL_MS, NETWORK_STALL_MS = 500, 2_000
_NETWORK_SOURCE = re.compile(r"\b(rtsp|udp|tcpclient|tcpserver|souphttp|srt|srtclient|rtmp|rtmp2|webrtc)src\b")
_FILE_SOURCE = re.compile(r"\b(file|multifile|splitmux|splitfile)src\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """Exactly one of `launch` and `uri`, and how the stream is to be.

    `launch`: a GStreamer launch fragment without a sink. `uri`: rtsp://, http://, file://, ... `format`, `size`,
    `rate_hz`: what the camera has to deliver; None = whatever it gives (`rate_hz` of a uri is only its nominal rate).
    `latency_ms`: how long rtspsrc waits for packets out of order. `sender_clock` "synced": the RTSP sender's clock and
    this machine's agree (NTP, PTP); "free": they do not. `stall_ms`, `open_ms`: how long silence is borne, and the
    first frame awaited; None = by kind.
    """

    launch: str | None = None
    uri: str | None = None
    format: PixelFormat | None = None
    size: Size | None = None
    rate_hz: float | None = None
    latency_ms: int = 50
    transport: Literal["tcp", "udp"] = "tcp"
    sender_clock: Literal["free", "synced"] = "free"
    stall_ms: float | None = None
    open_ms: float | None = None

    @classmethod
    def of(cls, *, launch: str | None, uri: str | None, folder: Path, **asked: Any) -> CameraSpec:
        """The spec that a run file in `folder` means: `${NAME}` filled in, a path made an address.

        Raises UserError for a variable that is not set and a file that is not there.
        """
        address = fill_in(uri) if uri else None
        if address and "://" not in address:
            path = resolve_path(address, folder).resolve()
            if not path.is_file():
                raise UserError(f"{path}: no such video; a camera's uri is an address (rtsp://...) or an existing file")
            address = path.as_uri()
        return cls(launch=fill_in(launch) if launch else None, uri=address, **asked)

    @property
    def shown(self) -> str:
        """The launch fragment or the address, fit to be seen."""
        return redact(" ".join((self.launch or self.uri or "").split()))

    @property
    def asked(self) -> str:
        """Format, size and rate that were asked for, in words."""
        size = f"{self.size[0]}x{self.size[1]}" if self.size else None
        rate = f"at {self.rate_hz:g} Hz" if self.rate_hz and self.launch else None
        return " ".join(part for part in (self.format, size, rate) if part) or "any format"

    @property
    def is_rtsp(self) -> bool:
        return urlsplit(self.uri or "").scheme in RTSP

    @property
    def is_file(self) -> bool:
        """Is it a recording, which has an end?"""
        if self.uri:
            return urlsplit(self.uri).scheme == "file"
        return bool(_FILE_SOURCE.search(self.launch or ""))

    @property
    def is_network(self) -> bool:
        """Does the stream come over a network, so that its end is a loss and silence may be the network's?"""
        if self.uri:
            return urlsplit(self.uri).scheme not in ("file", "v4l2")
        return bool(_NETWORK_SOURCE.search(self.launch or ""))

    @property
    def open_s(self) -> float:
        return (self.open_ms or (NETWORK_OPEN_MS if self.is_network else OPEN_MS)) / 1e3

    @property
    def stall_s(self) -> float:
        """Without a frame for so long (and for five periods) a live stream counts as lost."""
        return (self.stall_ms or (NETWORK_STALL_MS if self.is_network else STALL_MS)) / 1e3


def fill_in(text: str) -> str:
    """`text` with every `${NAME}` from the environment, so that no password has to stand in a run file.

    Raises UserError naming a variable that is not set.
    """

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in os.environ:
            raise UserError(f"the run file says ${{{name}}}, the environment has no {name}; export {name}=...")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)
