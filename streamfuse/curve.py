"""CURVE on a socket: who has which keys, and the doorkeeper who lets in the readers whose public key is known.

Keys are named by their files; their contents go to libzmq and nowhere else, so that nothing here can be printed that
should not be.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import zmq
from zmq.utils import z85

from streamfuse.clock import now_ns
from streamfuse.errors import UserError
from streamfuse.keys import check_curve, read_allowed, read_public, read_secret
from streamfuse.sockets import MAX_MESSAGE_BYTES, Socket, Waker, bind, close_socket, is_local, open_socket

ZAP = "inproc://zeromq.zap.01"
DOMAIN = b"streamfuse"
READ_ANEW_S = 1.0
TOLD_KEYS = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublisherKeys:
    """A publisher's secret key file, and who may read: a file or folder of public keys, or "any" who has its own."""

    secret: Path | str
    clients: Path | str | Literal["any"]

    def lock(self, bound: Socket, endpoint: str) -> Doorkeeper | None:
        """Encrypt what this socket will carry, before it is bound; the doorkeeper has to be closed after it.

        Raises UserError for keys that cannot be read, and where CURVE cannot work.
        """
        _check(endpoint)
        bound.curve_secretkey = read_secret(Path(self.secret))[1]
        bound.curve_server = True
        if self.clients == "any":
            return None
        bound.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        return Doorkeeper(cast("zmq.Context[Socket]", bound.context), Path(self.clients))


@dataclass(frozen=True, slots=True)
class ReaderKeys:
    """The publisher's public key file and the reader's own secret one; without that, keys made for this once."""

    server: Path | str
    client: Path | str | None = None

    def lock(self, connected: Socket, endpoint: str) -> None:
        """Encrypt what this socket will carry, before it connects. Raises UserError like `PublisherKeys.lock`."""
        _check(endpoint)
        own = zmq.curve_keypair() if self.client is None else read_secret(Path(self.client))
        connected.curve_serverkey = read_public(Path(self.server))
        connected.curve_publickey, connected.curve_secretkey = own


def open_bound(
    kind: int,
    endpoint: str,
    keys: PublisherKeys | None,
    *,
    section: str = "publish",
    action: str = "publish on",
    most_bytes: int = MAX_MESSAGE_BYTES,
) -> tuple[Socket, Doorkeeper | None, str]:
    """A bound socket, its doorkeeper, who has to be closed before it, and the resolved endpoint.

    Raises UserError for an endpoint that is in use or malformed, and for one that other machines reach without keys;
    `section` is where the run file names it, `action` what is done there.
    """
    if not is_local(endpoint) and (keys is None or not endpoint.startswith("tcp://")):
        raise UserError(
            f"cannot {action} {endpoint}: other machines could connect, and messages would not be encrypted; set "
            f"{section}.curve with a tcp:// endpoint (`streamfuse keys DIR` makes the keys), or {action} "
            "tcp://127.0.0.1:PORT or ipc:///tmp/NAME"
        )
    opened = open_socket(kind, endpoint, most_bytes=most_bytes)
    doorkeeper: Doorkeeper | None = None
    try:
        doorkeeper = keys.lock(opened, endpoint) if keys else None
        return opened, doorkeeper, bind(opened, endpoint, action=action)
    except BaseException:
        if doorkeeper is not None:
            doorkeeper.close()
        close_socket(opened)
        raise


def reader_keys(server: Path | None, client: Path | None) -> ReaderKeys | None:
    """As a command line gives them; None without any. Raises UserError for a client's key alone."""
    if server is None and client is not None:
        raise UserError("--client-key needs --server-key: the public key of the publisher that is to be read")
    return ReaderKeys(server, client) if server else None


class Doorkeeper:
    """Answers libzmq's question whether a reader may come in (ZAP 1.0, rfc.zeromq.org/spec/27), on its own thread.

    The publisher's thread may be waiting for a reader; and nobody who is already in waits for somebody at the door.
    The keys are read anew once a second at most, so that a file added or removed counts without a restart, for
    whoever knocks from then on. Where they cannot be read, nobody comes in.
    """

    def __init__(self, context: zmq.Context[Socket], clients: Path) -> None:
        self._clients = clients
        self._allowed = read_allowed(clients)
        self._read_ns = now_ns()
        self._told: set[bytes] = set()
        if not self._allowed:
            log.warning("%s names no reader's key yet: nobody can read", clients)
        self._door = context.socket(zmq.REP)
        self._door.bind(ZAP)
        self._waker = Waker()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorkeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._waker.wake()
        self._thread.join()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._door, zmq.POLLIN)
        with self._waker:
            poller.register(self._waker.fd, zmq.POLLIN)
            while not self._closing.is_set():
                poller.poll()
                with suppress(zmq.Again):
                    self._door.send_multipart(self._answer(self._door.recv_multipart(zmq.NOBLOCK)))
        self._door.close(linger=0)

    def _answer(self, question: list[bytes]) -> list[bytes]:
        version, request, _domain, address, _identity, mechanism, *credentials = question
        allowed = mechanism == b"CURVE" and self._allows(z85.encode(credentials[0]), address)
        status = (b"200", b"OK") if allowed else (b"400", b"key not known here")
        return [version, request, *status, b"", b""]

    def _allows(self, key: bytes, address: bytes) -> bool:
        if now_ns() - self._read_ns > READ_ANEW_S * 1e9:
            self._read_ns = now_ns()
            self._allowed = self._read_anew()
        if key not in self._allowed and key not in self._told and len(self._told) < TOLD_KEYS:
            self._told.add(key)
            where = address.decode(errors="replace") or "this machine"
            log.warning("refused a reader at %s: its key %s is not in %s", where, key.decode(), self._clients)
        return key in self._allowed

    def _read_anew(self) -> frozenset[bytes]:
        try:
            return read_allowed(self._clients)
        except UserError as error:
            log.warning("no reader is let in: %s", error)
            return frozenset()


def _check(endpoint: str) -> None:
    check_curve()
    if endpoint.startswith("inproc://"):
        raise UserError(f"{endpoint} stays inside this process and cannot be encrypted; leave the keys out")
