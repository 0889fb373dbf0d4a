"""The asking end of a depth link, for a tracker or a range finder; light, like the Subscriber beside it."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import zmq

from streamfuse.clock import now_ns
from streamfuse.curve import ReaderKeys
from streamfuse.depthlink.wire import (
    KEPT_S,
    MAX_REPLY_BYTES,
    SECTION,
    AskDepth,
    AskForget,
    AskRegion,
    AskState,
    Box,
    RefusedReply,
    Request,
    StateReply,
    far,
    read_reply,
    write,
)
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.handshakes import Handshakes
from streamfuse.sockets import Socket, close_socket, connect, open_socket


@dataclass(frozen=True, slots=True)
class DepthRegion:
    """A box (x, y, width, height in output pixels), its depth, and the seconds until it is forgotten (inf: never)."""

    box: Box
    depth_m: float
    seconds: float


@dataclass(frozen=True, slots=True)
class DepthState:
    """What a run is asked for: the depth outside all regions (inf: far away; None: a planar rig), and the regions.

    `revision`, `confidence`: of the map that frames get; the first grows with every new one, the second is 0 also where
    the two images do not meet. `pending`: a newer map is being made. `size`: width and height of the output.
    """

    depth_m: float | None
    regions: Mapping[str, DepthRegion]
    revision: int
    confidence: float
    pending: bool
    size: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: "inf" instead."""
        regions = {
            name: {"box": list(each.box), "depth_m": far(each.depth_m), "seconds": far(each.seconds)}
            for name, each in self.regions.items()
        }
        depth_m = None if self.depth_m is None else far(self.depth_m)
        of_map = {"revision": self.revision, "confidence": self.confidence, "pending": self.pending}
        return {"depth_m": depth_m, "regions": regions, **of_map, "size": list(self.size)}


class DepthLink:
    """Asks a running pipeline (`register.link` in its run file) for another depth; a context manager.

    It may be made before its run and outlives restarts of it; several threads may share it. Every verb returns what is
    asked for from then on; the map itself follows within some tens of milliseconds. Each raises UserError for what
    the run refuses, saying why, and StreamfuseError where nobody answers within `timeout_s`. `curve`: the keys for a
    run that encrypts.
    """

    def __init__(self, endpoint: str, *, timeout_s: float = 5.0, curve: ReaderKeys | None = None) -> None:
        self.endpoint, self.timeout_s = endpoint, timeout_s
        self._curve = curve
        self._lock = threading.Lock()
        self._line: tuple[Socket, Handshakes] | None = self._connected()

    def __enter__(self) -> DepthLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set(
        self, depth_m: float, region: Sequence[float] | None = None, *, name: str = "", seconds: float = KEPT_S
    ) -> DepthState:
        """The plane at which both images meet from now on (metres; inf: far away).

        With a `region` (x, y, width, height in output pixels: a tracker's box) only there, and for so many `seconds`
        unless it is renewed under its `name` (inf: until it is forgotten); 16 regions at most.
        """
        if math.isnan(depth_m) or math.isnan(seconds):
            raise UserError(
                f"depth {depth_m} m for {seconds} s: must be numbers greater than 0 (inf: far away, for ever)"
            )
        depth = far(float(depth_m))
        if region is None:
            return self._ask(AskDepth(depth))
        x, y, width, height = map(float, region)
        return self._ask(AskRegion((x, y, width, height), depth, name, far(float(seconds))))

    def forget(self, name: str = "") -> DepthState:
        """The region's depth is that of the rest again; nothing happens where there is none of that name."""
        return self._ask(AskForget(name))

    def state(self) -> DepthState:
        """What is asked for; changes nothing."""
        return self._ask(AskState())

    def close(self) -> None:
        with self._lock:
            self._hang_up()

    def _ask(self, request: Request) -> DepthState:
        with self._lock:
            self._line = self._line or self._connected()
            try:
                reply = read_reply(self._exchanged(*self._line, write(request)))
            except BaseException:
                self._hang_up()  # a reply that comes late must not be taken for the next one
                raise
        if isinstance(reply, RefusedReply):
            raise UserError(reply.error)
        return _told(reply)

    def _exchanged(self, socket: Socket, handshakes: Handshakes, request: bytes) -> bytes:
        """The reply. Raises StreamfuseError with the likeliest reason where none comes."""
        give_up_ns = now_ns() + round(self.timeout_s * 1e9)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(handshakes.events, zmq.POLLIN)
        socket.send_multipart([b"", request], zmq.NOBLOCK)
        while (left_ms := (give_up_ns - now_ns()) // 1_000_000) > 0:
            patience_ms = handshakes.patience_ms
            ready = dict(poller.poll(left_ms if patience_ms is None else min(left_ms, patience_ms)))
            if socket in ready:
                return socket.recv_multipart()[-1]
            handshakes.note()
            if handshakes.trouble:
                raise StreamfuseError(handshakes.trouble)
        raise StreamfuseError(
            f"nobody answered on {self.endpoint} within {self.timeout_s:g} s; is a run there whose run file has "
            "`register: {link: {endpoint: ...}}`?"
        )

    def _connected(self) -> tuple[Socket, Handshakes]:
        opened = open_socket(zmq.DEALER, self.endpoint, most_bytes=MAX_REPLY_BYTES)
        handshakes: Handshakes | None = None
        try:
            if self._curve is not None:
                self._curve.lock(opened, self.endpoint)
            handshakes = Handshakes(opened, self.endpoint, encrypted=self._curve is not None, section=SECTION)
            connect(opened, self.endpoint, action="ask at")
        except BaseException:
            if handshakes is not None:
                handshakes.close()
            close_socket(opened)
            raise
        return opened, handshakes

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line[1].close()
            close_socket(line[0])


def _told(reply: StateReply) -> DepthState:
    regions = {each.name: DepthRegion(each.box, float(each.depth_m), float(each.seconds)) for each in reply.regions}
    depth_m = None if reply.depth_m is None else float(reply.depth_m)
    return DepthState(depth_m, regions, reply.revision, reply.confidence, reply.pending, reply.size)
