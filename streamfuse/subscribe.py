"""The reading end: one thread drains the socket, so that a slow reader finds the newest frame and never an old one.

Light: numpy, pyzmq, msgspec. What a message means is `wire.py`'s business; what to do with a frame is the caller's.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, cast

import zmq

from streamfuse.clock import boot_id, now_ns, wall_from_monotonic_ns
from streamfuse.curve import ReaderKeys
from streamfuse.errors import StreamfuseError, UserError, WireError
from streamfuse.frames import FusedFrame
from streamfuse.handshakes import Handshakes
from streamfuse.sockets import HIGH_WATER_MARK, Socket, Waker, close_socket, connect, open_socket
from streamfuse.wire import PREFIX, RECORDS, Bye, Heartbeat, Info, Record, decode, split_topic, topic

MODES = ("sub", "pull")
SILENT_S = 3.0
LONG_S = 3600.0

log = logging.getLogger(__name__)


def age_ns(frame: FusedFrame, at_ns: int | None = None) -> int:
    """From capture to `at_ns` (default: now), by the monotonic clock on the same boot, else by the wall clock."""
    at_ns = now_ns() if at_ns is None else at_ns
    if frame.same_boot or frame.wall_ns is None:
        return at_ns - frame.capture_ns
    return wall_from_monotonic_ns(at_ns) - frame.wall_ns


class Subscriber:
    """Reads one stream of one publisher; a context manager, connected as soon as it is made.

    It may be made before its publisher and outlives restarts of it. `rig` "" means the rig that is heard first.
    mode "sub" follows a live stream; mode "pull" reads one session of a publisher in mode "push" and loses nothing.
    `curve`: the keys for a publisher that encrypts. `trouble` says why a publisher that answers does not let it in.

    Counts: `lost` frames never arrived (gaps in `sequence`, per session), `skipped` ones arrived and gave way to newer
    ones, `stale` ones were older than `max_age_s` when asked for, `refused` messages were malformed (the first is
    logged; in mode "pull" it raises WireError). `info` is what the publisher says of itself, None until heard;
    `sources` how each of its cameras is doing (live, stalled, failed, ...), by its newest heartbeat.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        stream: str = "fused",
        rig: str = "",
        mode: str = "sub",
        max_age_s: float | None = None,
        timeout_s: float | None = 5.0,
        curve: ReaderKeys | None = None,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"mode {mode!r} is unknown; use one of {', '.join(MODES)}")
        self.endpoint, self.stream, self.rig = endpoint, stream, rig
        self.lost = self.skipped = self.stale = self.refused = 0
        self.info: Mapping[str, Any] | None = None
        self.sources: Mapping[str, str] = {}
        self._mode = mode
        self._max_age_ns = math.inf if max_age_s is None else max_age_s * 1e9
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._inbox: deque[FusedFrame] = deque()
        self._changed = threading.Condition()
        self._boot_id = boot_id()
        self._last: tuple[str, int] = ("", -1)  # session and sequence of the newest frame
        self._ended = ""  # the session that said bye
        self._heard_ns = now_ns()
        self._heard = False
        self._failure: StreamfuseError | None = None
        self._closing = threading.Event()
        topics = self._topics(rig) if rig else [PREFIX.encode()]
        self._socket, self._handshakes = _connected(mode, endpoint, topics, curve)
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="subscribe", daemon=True)
        self._thread.start()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Something was heard within the last 3 s (heartbeats come every second) and it was not `bye`."""
        return self._heard and not self._ended and now_ns() - self._heard_ns < SILENT_S * 1e9

    @property
    def trouble(self) -> str | None:
        """Why the publisher does not let this reader in, once that has lasted for 2 s; None while nothing says so."""
        return self._handshakes.trouble if self._handshakes else None

    def latest(self, timeout_s: float | None = None) -> FusedFrame | None:
        """The newest frame not returned before, waiting up to `timeout_s` for it (default: the subscriber's)."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        give_up_ns = now_ns() + timeout_s * 1e9
        with self._changed:
            while (frame := self._pop_newest()) is None:
                if not self._wait_until(give_up_ns):
                    return None
            return frame

    def every(self) -> Iterator[FusedFrame]:
        """Each frame in order, until `bye`, `close`, or until nothing at all was heard for the subscriber's timeout.

        In mode "sub" a reader that is more than 16 frames behind skips the oldest.
        """
        while (frame := self._next()) is not None:
            yield frame

    def close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            with self._changed:
                self._changed.notify_all()
            self._waker.wake()
            self._thread.join()

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.stream, *RECORDS)

    def _next(self) -> FusedFrame | None:
        started_ns = now_ns()
        with self._changed:
            while (frame := self._pop_oldest()) is None:
                silent_since_ns = max(started_ns, self._heard_ns)
                if self._ended or not self._wait_until(silent_since_ns + self._timeout_s * 1e9):
                    return None
            return frame

    def _wait_until(self, give_up_ns: float) -> bool:
        """Wait for any change; False when it is time to give up. Raises what stopped the reading thread."""
        if self._failure is not None:
            raise self._failure
        remaining_s = (give_up_ns - now_ns()) / 1e9
        if remaining_s <= 0 or self._closing.is_set():
            return False
        self._changed.wait(min(remaining_s, LONG_S))
        return True

    def _pop_newest(self) -> FusedFrame | None:
        if self._inbox:
            self.skipped += len(self._inbox) - 1
            self._inbox = deque([self._inbox[-1]])
        return self._pop_oldest()

    def _pop_oldest(self) -> FusedFrame | None:
        while self._inbox:
            frame, at_ns = self._inbox.popleft(), now_ns()
            self._changed.notify_all()
            if age_ns(frame, at_ns) <= self._max_age_ns:
                # The dictionary is still this frame's own: nobody else has seen it, and a copy of a frame costs more.
                cast("dict[str, int]", frame.stamps)["received"] = at_ns
                return frame
            self.stale += 1
        return None

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if self._handshakes:
            poller.register(self._handshakes.events, zmq.POLLIN)
        with self._waker:
            poller.register(self._waker.fd, zmq.POLLIN)
            try:
                while not self._closing.is_set():
                    self._wait(poller)
                    with suppress(zmq.Again):
                        while not self._closing.is_set():
                            self._receive(_next_message(self._socket))
            except Exception as error:
                self._fail(StreamfuseError(f"reading {self.endpoint} stopped: {error!r}"), error)
            finally:
                if self._handshakes:
                    self._handshakes.close()
                close_socket(self._socket)

    def _wait(self, poller: zmq.Poller) -> None:
        """For a message, the waker, or news of the handshake."""
        if self._handshakes is None:
            poller.poll()
        else:
            ready = poller.poll(self._handshakes.patience_ms)
            if not ready or any(each is not self._socket for each, _ in ready):  # a frame alone is no news
                self._handshakes.note()

    def _receive(self, parts: Sequence[memoryview]) -> None:
        try:
            rig, name = split_topic(parts[0])
            if name not in self._names or self.rig not in ("", rig):
                return
            message = decode(parts, boot_id=self._boot_id)
        except WireError as error:
            self._refuse(error)
        except StreamfuseError as error:
            self._fail(error)
        else:
            if not self.rig:
                self._follow(rig)
            self._hear(message)
            if isinstance(message, Bye) and self._mode == "pull":
                self._socket.disconnect(self.endpoint)  # tells the publisher that everything has arrived

    def _follow(self, rig: str) -> None:
        """The first rig heard is the one to read; from now on only what is needed of it crosses the wire."""
        self.rig = rig
        if self._mode == "sub":
            for name in self._topics(rig):
                self._socket.setsockopt(zmq.SUBSCRIBE, name)
            self._socket.setsockopt(zmq.UNSUBSCRIBE, PREFIX.encode())

    def _hear(self, message: FusedFrame | Record) -> None:
        with self._changed:
            self._heard, self._heard_ns = True, now_ns()
            if message.session != self._ended:
                self._ended = ""
            if isinstance(message, FusedFrame):
                self._take_in(message)
            elif isinstance(message, Info):
                self.info = message.content
            elif isinstance(message, Heartbeat):
                self.sources = message.sources
            else:
                self._ended = message.session
            self._changed.notify_all()

    def _take_in(self, frame: FusedFrame) -> None:
        session, sequence = self._last
        if frame.session == session:
            self.lost += max(0, frame.sequence - sequence - 1)
        self._last = frame.session, frame.sequence
        if self._mode == "pull":
            self._changed.wait_for(lambda: self._closing.is_set() or len(self._inbox) < HIGH_WATER_MARK)
        elif len(self._inbox) == HIGH_WATER_MARK:
            self._inbox.popleft()
            self.skipped += 1
        self._inbox.append(frame)

    def _refuse(self, error: WireError) -> None:
        self.refused += 1
        if self._mode == "pull":
            self._fail(error)
        elif self.refused == 1:
            log.warning("refused a message of %s: %s", self.endpoint, error)

    def _fail(self, failure: StreamfuseError, cause: Exception | None = None) -> None:
        failure.__cause__ = cause
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _topics(self, rig: str) -> list[bytes]:
        return [topic(rig, name) for name in self._names]


def _next_message(socket: Socket) -> list[memoryview]:
    """The parts of the next message, where they lie; zmq.Again when there is none.

    `recv_multipart` asks the socket behind every part whether more follow, through an enumeration; the part knows.
    """
    part = socket.recv(zmq.NOBLOCK, copy=False)
    parts = [part.buffer]
    while part.more:
        part = socket.recv(copy=False)
        parts.append(part.buffer)
    return parts


def _connected(
    mode: str, endpoint: str, topics: Sequence[bytes], curve: ReaderKeys | None
) -> tuple[Socket, Handshakes | None]:
    """The socket, and who follows its handshakes (inproc has none)."""
    opened = open_socket(zmq.SUB if mode == "sub" else zmq.PULL, endpoint)
    handshakes: Handshakes | None = None
    try:
        if curve is not None:
            curve.lock(opened, endpoint)
        if mode == "sub":
            for prefix in topics:
                opened.setsockopt(zmq.SUBSCRIBE, prefix)
        if not endpoint.startswith("inproc://"):
            handshakes = Handshakes(opened, endpoint, encrypted=curve is not None)
        connect(opened, endpoint)
    except BaseException:
        if handshakes is not None:
            handshakes.close()
        close_socket(opened)
        raise
    return opened, handshakes
