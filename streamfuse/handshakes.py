"""Why a reader hears nothing: what fails when it connects, in words, and another try where libzmq makes none."""

from __future__ import annotations

import logging

import zmq

from streamfuse.clock import now_ns
from streamfuse.sockets import Socket, connect, monitor_event

REFUSED = "the publisher at {} does not let this reader in: {}.curve.clients there does not hold its public key"
NEEDS_KEYS = "the publisher at {} encrypts; give its public key and your own secret one (--server-key, --client-key)"
NO_KEYS = "the publisher at {} does not encrypt; leave the keys out, or set {}.curve in its run file"
WRONG_KEY = "the publisher at {} ends every handshake: the server key given is not its own, or it does not encrypt"
FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
RETRY_S = 2.0
"""One failure may be a publisher that is just ending; what fails again this much later is told."""

log = logging.getLogger(__name__)


class Handshakes:
    """Follows one connected socket, on the thread that reads it; `trouble` is what keeps it from being let in.

    `section`: where the run file at the other end names its keys.
    """

    def __init__(self, watched: Socket, endpoint: str, *, encrypted: bool, section: str = "publish") -> None:
        self.trouble: str | None = None
        self.events = watched.get_monitor_socket(FAILURES | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._watched, self._endpoint, self._encrypted, self._section = watched, endpoint, encrypted, section
        self._failing_since_ns: int | None = None
        self._retry_ns: int | None = None

    @property
    def patience_ms(self) -> int | None:
        """How long the socket may be polled; None = for ever."""
        return None if self._retry_ns is None else max(0, (self._retry_ns - now_ns()) // 1_000_000 + 1)

    def note(self) -> None:
        """Take in what happened, and connect anew when it is time: libzmq gives up where it was refused."""
        while self.events.poll(0):
            self._take_in(monitor_event(self.events))
        if self._retry_ns is not None and now_ns() >= self._retry_ns:
            self._retry_ns = None
            self._watched.disconnect(self._endpoint)
            connect(self._watched, self._endpoint)

    def close(self) -> None:
        self._watched.disable_monitor()
        self.events.close(linger=0)

    def _take_in(self, event: int) -> None:
        at_ns = now_ns()
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failing_since_ns = self._retry_ns = self.trouble = None
            return
        if event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._retry_ns = at_ns + round(RETRY_S * 1e9)
        if self._failing_since_ns is None:
            self._failing_since_ns = at_ns
        elif at_ns - self._failing_since_ns >= RETRY_S * 1e9:
            self._tell(event)

    def _tell(self, event: int) -> None:
        if not self._encrypted:
            words = NEEDS_KEYS
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            words = REFUSED
        else:
            words = NO_KEYS if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL else WRONG_KEY
        trouble = words.format(self._endpoint, self._section)
        if trouble != self.trouble:
            self.trouble = trouble
            log.warning("%s", trouble)
