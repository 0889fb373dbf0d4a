"""The publishing end: one thread owns the socket, encodes, sends, and reads who subscribes.

The pipeline's thread only puts frames into an outbox. Nothing here knows what the pixels show; `wire.py` lays them out.
"""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

import zmq

from streamfuse.audience import Audience, OneReader
from streamfuse.clock import boot_id, now_ns, wall_from_monotonic_ns
from streamfuse.curve import PublisherKeys, open_bound
from streamfuse.errors import StreamfuseError, UserError, WireError
from streamfuse.frames import FusedFrame, Reason
from streamfuse.outbox import BoundedQueue, NewestSlots, Outbox
from streamfuse.sockets import Peers, Waker, close_socket, free_ipc_file
from streamfuse.wire import (
    STREAMS,
    Bye,
    Heartbeat,
    Info,
    Origin,
    Part,
    Record,
    encode,
    encode_record,
)
from streamfuse.wire_image import CODECS, JPEG_QUALITY, opencv, pack

INTERRUPTED_S = 1.0
LINGER_S = {"pub": 0.8, "push": 30.0}
HEARTBEAT_S = 1.0
INFO_EVERY = 2
DEPTH = 8
ALONE_S = 1.0
"""For so long mode "push" waits without a reader before it says so."""
PATIENCE_TICK_MS = 50
MORE, LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)
"""How a message's parts are sent; plain numbers, since `send_multipart` joins members of an enumeration every time."""

log = logging.getLogger(__name__)

Sent = Callable[[FusedFrame], None]
Dropped = Callable[[FusedFrame, Reason], None]
SourceStates = Callable[[], Mapping[str, str]]


class Publisher:
    """Publishes frames as `sf/1`; a context manager, bound as soon as it is made.

    Raises UserError when the endpoint is in use, malformed or public without keys, or an option is unknown.
    `curve`: encrypt, and let in those readers only whose keys it names.
    mode "pub": any number of readers; `send` never waits, a frame not yet sent gives way to its successor
    (`on_dropped` with SUPERSEDED), and a reader that lags loses frames without delaying anybody.
    mode "push": one reader, nothing is lost: `send` waits while the reader is behind. `streams` says what it gets.
    The pixels of a frame belong to the publisher once sent: do not write into them again.
    `info` names engine, model and calibration as those of the newest frame. `sources`: asked once a second for the
    state of each camera, told in the heartbeat.
    `on_sent` (with the stamp "sent") and `on_dropped` are called on the sending thread, or on the caller's in `send`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        rig: str,
        info: Mapping[str, Any] | None = None,
        codec: str = "raw",
        jpeg_quality: int = JPEG_QUALITY,
        mode: str = "pub",
        streams: frozenset[str] = frozenset({"fused"}),
        curve: PublisherKeys | None = None,
        on_sent: Sent | None = None,
        on_dropped: Dropped | None = None,
        sources: SourceStates | None = None,
    ) -> None:
        _check(rig, codec, jpeg_quality, mode)
        self.rig = rig
        self.session = uuid.uuid4().hex[:16]
        self.superseded = 0
        self._info = Info(session=self.session, content={"streams": sorted(STREAMS), **(info or {})})
        self._codec, self._jpeg_quality = codec, jpeg_quality
        self._sources = sources or dict[str, str]
        self._on_sent, self._on_dropped = on_sent or _ignore, on_dropped or _ignore
        self._outbox: Outbox = NewestSlots() if mode == "pub" else BoundedQueue(DEPTH)
        self._boot_id = boot_id()
        self._newest: FusedFrame | None = None
        self._sent = 0
        self._failure: Exception | None = None
        self._mode = mode
        self._audience: Audience = Audience(rig) if mode == "pub" else OneReader(rig, streams)
        self._closing = threading.Event()
        self._give_up_ns = 0
        self._socket, self._doorkeeper, self.endpoint = open_bound(
            zmq.XPUB if mode == "pub" else zmq.PUSH, endpoint, curve
        )
        self._peers = Peers(self._socket) if mode == "push" and not endpoint.startswith("inproc") else None
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)
        self._thread.start()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def subscribers(self) -> int:
        """How many readers ask for a stream now."""
        return self._audience.readers

    def wanted(self) -> frozenset[str]:
        """The streams that somebody reads now; what is not in here need not be made."""
        return self._audience.wanted

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """True as soon as somebody reads a stream: what is sent from then on reaches them."""
        return self._audience.wait(timeout_s)

    def send(self, frame: FusedFrame) -> None:
        """Hand a frame, with its layers, to the sending thread; never waits in mode "pub"."""
        if self._failure is not None:
            raise StreamfuseError(f"publishing stopped: {self._failure}") from self._failure
        replaced = self._outbox.put(frame)
        self._waker.wake()
        if replaced is frame:
            self._on_dropped(frame, Reason.SHUTDOWN)
        elif replaced is not None:
            self.superseded += 1
            self._on_dropped(replaced, Reason.SUPERSEDED)

    def close(self, linger_s: float | None = None) -> None:
        """Send what waits, then `bye`; frames that nobody took within `linger_s` are dropped with SHUTDOWN.

        The default is 0.8 s; in mode "push", which loses nothing while its reader works, 30 s (0 without a reader).
        """
        self._finish(LINGER_S[self._mode] if linger_s is None else linger_s)
        self._thread.join()

    def interrupt(self) -> None:
        """From any thread: a `send` that waits for its reader returns, and nothing more is sent after a second."""
        self._finish(INTERRUPTED_S)

    def expire(self) -> None:
        """From any thread: time is up. In mode "push" what nobody reads is dropped with SHUTDOWN, so that a `send` that
        waits returns; a reader that is there has 30 s to take in what waits, and what is still sent."""
        if self._mode == "push":
            self._wait_at_most(LINGER_S[self._mode])

    def _finish(self, linger_s: float) -> None:
        if self._closing.is_set():
            return
        self._wait_at_most(linger_s)
        self._closing.set()
        self._outbox.close()
        self._waker.wake()

    def _wait_at_most(self, linger_s: float) -> None:
        give_up_ns = now_ns() + round(linger_s * 1e9)
        self._give_up_ns = min(self._give_up_ns or give_up_ns, give_up_ns)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._waker.fd, zmq.POLLIN)
        if self._socket.type == zmq.XPUB:
            poller.register(self._socket, zmq.POLLIN)
        with self._waker:
            try:
                self._serve(poller)
            except Exception as error:
                log.exception("publishing stopped")
                self._failure = error
            finally:
                self._end()

    def _serve(self, poller: zmq.Poller) -> None:
        if self._mode == "push":
            self._send_parts(encode_record(self._info, self._origin(now_ns())))
        beats, next_beat_ns = 0, now_ns()
        while not self._closing.is_set():
            patience_ms = 0 if len(self._outbox) else max(0, (next_beat_ns - now_ns()) // 1_000_000)
            ready = dict(poller.poll(patience_ms))
            if self._waker.fd in ready:
                self._waker.clear()
            self._send_next()
            if self._socket in ready:
                self._read_subscriptions()
            if now_ns() >= next_beat_ns:
                self._beat(with_info=beats % INFO_EVERY == 0)
                beats, next_beat_ns = beats + 1, now_ns() + round(HEARTBEAT_S * 1e9)

    def _read_subscriptions(self) -> None:
        """Late joiners get the cached info at once."""
        joined = False
        with suppress(zmq.Again):
            while True:
                joined |= self._audience.hear(self._socket.recv(zmq.NOBLOCK))
        if joined:
            self._tell(self._info)

    def _send_next(self) -> bool:
        """Send one frame, so that subscriptions are heard between any two; False when none waits."""
        frame = self._outbox.take()
        if frame is None:
            return False
        try:
            sent = self._send_frame(frame)
        except Exception as error:
            self._on_dropped(frame, Reason.FAILED)
            if not isinstance(error, WireError):
                raise
            log.error("frame %d cannot be published: %s", frame.sequence, error)
            return True
        if sent is None:
            self._on_dropped(frame, Reason.SHUTDOWN)
        else:
            self._newest, self._sent = sent, self._sent + 1
            self._correct_info(sent)
            self._on_sent(sent)
        return True

    def _send_frame(self, frame: FusedFrame) -> FusedFrame | None:
        """Its own stream and every layer somebody reads, each on its topic, all with one publishing time."""
        pixels, wanted = {frame.stream: frame.pixels, **frame.layers}, self.wanted()
        asked = [name for name in pixels if name in wanted or name not in STREAMS]
        packed = {name: pack(name, pixels[name], self._codec, self._jpeg_quality) for name in asked}
        origin = self._origin(now_ns())
        frame = replace(frame, session=self.session, stamps={**frame.stamps, "sent": origin.published_ns})
        for name, image in packed.items():
            view = frame if name == frame.stream else replace(frame, stream=name)
            if not self._send_parts(encode(view, origin, images=[image])):
                return None
        return frame

    def _send_parts(self, parts: list[Part]) -> bool:
        """In mode "push" wait for the reader, and say so where there is none; XPUB never waits.

        False once time is up. A full queue refuses the first part of a message or none.
        """
        tell_at_ns = now_ns() + round(ALONE_S * 1e9)
        while True:
            with suppress(zmq.Again):
                for part in parts[:-1]:
                    self._socket.send(part, MORE, copy=False)
                self._socket.send(parts[-1], LAST, copy=False)
                self._audience.reached()
                return True
            alone, now = self._peers is not None and self._peers.count == 0, now_ns()
            if self._give_up_ns and (alone or now >= self._give_up_ns):
                return False
            if alone and now >= tell_at_ns:
                log.info("waiting for a reader on %s (publish.mode: push loses nothing)", self.endpoint)
                tell_at_ns = sys.maxsize
            self._socket.poll(PATIENCE_TICK_MS, zmq.POLLOUT)

    def _beat(self, *, with_info: bool) -> None:
        if with_info:
            self._tell(self._info)
        fps, self._sent = self._sent / HEARTBEAT_S, 0
        drops = {**(self._newest.drops if self._newest else {}), Reason.SUPERSEDED.value: self.superseded}
        sequence, sources = self._newest_sequence, self._sources()
        self._tell(Heartbeat(session=self.session, sequence=sequence, fps=fps, drops=drops, sources=sources))

    def _correct_info(self, frame: FusedFrame) -> None:
        """Another engine may have taken over: who joins later is told of the one at work, who is there at once."""
        told = self._info.content
        now = {"engine": frame.engine, "model": frame.model, "calibration": frame.calibration}
        changed = {name: value for name, value in now.items() if value and told.get(name, value) != value}
        if changed:
            self._info = replace(self._info, content={**told, **changed})
            self._tell(self._info)

    def _tell(self, record: Record) -> None:
        """Send a record if somebody can take it now; records never wait."""
        with suppress(zmq.Again):
            self._socket.send_multipart(encode_record(record, self._origin(now_ns())), zmq.NOBLOCK)
            self._audience.reached()

    def _origin(self, published_ns: int) -> Origin:
        wall_ns = wall_from_monotonic_ns(published_ns)
        return Origin(rig=self.rig, boot_id=self._boot_id, published_ns=published_ns, published_wall_ns=wall_ns)

    @property
    def _newest_sequence(self) -> int:
        return self._newest.sequence if self._newest else -1

    def _end(self) -> None:
        self._outbox.close()
        if self._failure is None:
            while self._send_next():
                pass
            bye = Bye(session=self.session, sequence=self._newest_sequence)
            self._send_parts(encode_record(bye, self._origin(now_ns())))
        while (frame := self._outbox.take()) is not None:
            self._on_dropped(frame, Reason.SHUTDOWN)
        if self._peers is not None:
            # ZeroMQ loses what a full reader has not taken in when the connection closes: let the reader hang up.
            self._peers.wait_until_none(self._give_up_ns)
            self._peers.close()
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        close_socket(self._socket, max(0, (self._give_up_ns - now_ns()) // 1_000_000))
        free_ipc_file(self.endpoint)


def _check(rig: str, codec: str, jpeg_quality: int, mode: str) -> None:
    if not rig or "/" in rig or not rig.isprintable() or len(rig.encode()) > 100:
        raise UserError(f"the rig name {rig!r} cannot be a topic; use 1 to 100 printable characters without /")
    for name, value, allowed in (("codec", codec, CODECS), ("mode", mode, tuple(LINGER_S))):
        if value not in allowed:
            raise UserError(f"{name} {value!r} is unknown; use one of {', '.join(allowed)}")
    if not 1 <= jpeg_quality <= 100:
        raise UserError(f"jpeg_quality is {jpeg_quality}; it must be 1 to 100")
    if codec == "jpeg":
        opencv("publishing JPEG")


def _ignore(*_: Any) -> None:
    pass
