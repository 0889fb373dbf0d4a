"""The run's end of a depth link: one thread of low priority that waits for requests and answers them in turn."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from types import TracebackType

import zmq

from streamfuse.clock import now_ns
from streamfuse.curve import PublisherKeys, open_bound
from streamfuse.depthlink.answers import Answers
from streamfuse.depthlink.wire import MAX_REPLY_BYTES, SECTION
from streamfuse.priority import lower_priority
from streamfuse.register import Registrar
from streamfuse.sockets import Waker, close_socket, free_ipc_file

LINGER_MS = 200

log = logging.getLogger(__name__)


class DepthServer:
    """A context manager, bound as soon as it is made. The map that a request asks for is made in the background.

    Raises UserError when the endpoint is in use, malformed or public without keys. A request that is wrong is answered
    with what is wrong; who sends more than 64 KiB at once is hung up on; who is gone gets no reply. `curve`: encrypt,
    and hear only those whose keys it names.
    """

    def __init__(self, endpoint: str, registrar: Registrar, *, curve: PublisherKeys | None = None) -> None:
        self._answers = Answers(registrar)
        self._closing = threading.Event()
        self._socket, self._doorkeeper, self.endpoint = open_bound(
            zmq.ROUTER, endpoint, curve, section=SECTION, action="be asked on", most_bytes=MAX_REPLY_BYTES
        )
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="depth-link", daemon=True)
        self._thread.start()
        log.info("another depth can be asked for on %s", self.endpoint)

    def __enter__(self) -> DepthServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        self._waker.wake()
        self._thread.join()

    def _run(self) -> None:
        lower_priority()
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        with self._waker:
            poller.register(self._waker.fd, zmq.POLLIN)
            try:
                while not self._closing.is_set():
                    poller.poll(self._answers.patience_ms(now_ns()))
                    self._answers.expire(now_ns())
                    with suppress(zmq.Again):
                        self._answer(self._socket.recv_multipart(zmq.NOBLOCK))
            except Exception:
                log.exception("nobody can ask for another depth any more")
            finally:
                self._end()

    def _answer(self, parts: list[bytes]) -> None:
        """With the envelope that it came in: who sent it, and the empty part of a REQ socket."""
        enveloped = 2 if parts[1:2] == [b""] and len(parts) > 2 else 1
        reply = self._answers.answer(parts[enveloped:], now_ns())
        self._socket.send_multipart([*parts[:enveloped], reply], zmq.NOBLOCK)

    def _end(self) -> None:
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        close_socket(self._socket, LINGER_MS)
        free_ipc_file(self.endpoint)
