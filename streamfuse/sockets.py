"""Where a socket may bind and how it is woken: endpoint rules, stale ipc files, errors with their remedy.

It knows nothing of messages. Loopback, ipc and inproc are local; everything else is public and takes keys (`curve.py`).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import cast

import zmq

from streamfuse.clock import now_ns
from streamfuse.errors import UserError

HIGH_WATER_MARK = 16
"""Messages a peer may lag behind: half a second at 30 Hz. Fewer loses frames even for a reader that keeps up."""

Socket = zmq.Socket[bytes]
MAX_MESSAGE_BYTES = 257 << 20
LAST_PORT = 65535
PEER_TICK_MS = 1000
PEER_GONE_MS = 3000
GRACE_S = 0.2


class Waker:
    """Wakes a thread that polls sockets: `wake` from any thread, `fd` in the poller, `clear` once awake."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    @property
    def fd(self) -> int:
        return self._read.fileno()

    def wake(self) -> None:
        # Already full of wake-ups, or closed: awake either way.
        with suppress(OSError):
            self._write.send(b"!")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            self._read.recv(4096)

    def __enter__(self) -> Waker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read.close()
        self._write.close()


class Peers:
    """Counts the connected peers of a socket; not for inproc, where nothing is told."""

    def __init__(self, watched: Socket) -> None:
        self._watched = watched
        self._events = watched.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._count = 0

    @property
    def count(self) -> int:
        while self._events.poll(0):
            joined = monitor_event(self._events) == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._count = max(0, self._count + (1 if joined else -1))
        return self._count

    def wait_until_none(self, give_up_ns: int) -> None:
        while self.count and (remaining_ms := (give_up_ns - now_ns()) // 1_000_000) > 0:
            self._events.poll(remaining_ms)

    def close(self) -> None:
        self._watched.disable_monitor()
        self._events.close(linger=0)


def monitor_event(events: Socket) -> int:
    """The next event of a monitor (its message: uint16 event, uint32 value); pyzmq's own reader loads asyncio."""
    event: int = struct.unpack_from("=H", events.recv_multipart()[0])[0]
    return event


def open_socket(kind: int, endpoint: str, *, most_bytes: int = MAX_MESSAGE_BYTES) -> Socket:
    """A socket with the options both ends share, in a context of its own (inproc needs the process-wide one).

    Who sends a message of more than `most_bytes` is hung up on.
    """
    context = _shared_context() if endpoint.startswith("inproc://") else zmq.Context[Socket]()
    opened = context.socket(kind)
    opened.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    opened.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    opened.setsockopt(zmq.MAXMSGSIZE, most_bytes)
    if kind == zmq.XPUB:
        opened.setsockopt(zmq.XPUB_VERBOSER, 1)
    if kind in (zmq.XPUB, zmq.SUB, zmq.ROUTER):
        # A PULL reader may rest for minutes, and while its queue is full it cannot answer.
        opened.setsockopt(zmq.HEARTBEAT_IVL, PEER_TICK_MS)
        opened.setsockopt(zmq.HEARTBEAT_TIMEOUT, PEER_GONE_MS)
    return opened


def close_socket(opened: Socket, linger_ms: int = 0) -> None:
    """Return when everything sent has left, at the latest after `linger_ms`; the endpoint is free then.

    Ending the context is what waits: a process that exits with messages still inside would lose them silently. With
    a peer that does not read, libzmq 4.3.5 sometimes never returns from it, hence the thread that may be left behind.
    """
    context = cast("zmq.Context[Socket]", opened.context)
    opened.close(linger=linger_ms)
    if context is not _shared_context():
        ending = threading.Thread(target=context.term, name="zmq-end", daemon=True)
        ending.start()
        ending.join(linger_ms / 1000 + GRACE_S)


def bind(bound: Socket, endpoint: str, *, action: str = "publish on") -> str:
    """Bind and return the resolved endpoint; UserError when it is in use, malformed or not of this machine."""
    _check_ipc(action, endpoint)
    _check_port(action, endpoint)
    try:
        bound.bind(_wildcard(endpoint))
    except zmq.ZMQError as error:
        raise _cannot(action, endpoint, error) from error
    return bound.getsockopt_string(zmq.LAST_ENDPOINT)


def connect(connected: Socket, endpoint: str, *, action: str = "subscribe to") -> None:
    """Connect, now or when the other end appears; UserError for a malformed endpoint."""
    _check_port(action, endpoint)
    try:
        connected.connect(endpoint)
    except zmq.ZMQError as error:
        raise _cannot(action, endpoint, error) from error


def is_local(endpoint: str) -> bool:
    """True where only processes of this machine can connect."""
    transport, _, address = endpoint.partition("://")
    if transport in ("ipc", "inproc"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def ipc_path(endpoint: str) -> Path | None:
    """The socket file of an ipc endpoint; None for other transports, wildcards and the abstract namespace."""
    transport, _, address = endpoint.partition("://")
    return Path(address) if transport == "ipc" and address and address[0] not in "*@" else None


def free_ipc_file(endpoint: str) -> None:
    """Remove the socket file of a closed endpoint, which ZeroMQ leaves behind, unless a successor answers on it."""
    path = ipc_path(endpoint)
    if path is not None and path.is_socket() and not _answers(path):
        path.unlink(missing_ok=True)


def _shared_context() -> zmq.Context[Socket]:
    return cast("zmq.Context[Socket]", zmq.Context.instance())


def _check_port(action: str, endpoint: str) -> None:
    """ZeroMQ takes a port beyond the last one as another, without a word."""
    port = endpoint.rpartition(":")[2]
    if endpoint.startswith("tcp://") and port.isdecimal() and int(port) > LAST_PORT:
        raise UserError(f"cannot {action} {endpoint}: ports end at {LAST_PORT}")


def _check_ipc(action: str, endpoint: str) -> None:
    """ZeroMQ would remove whatever lies at the path; only the socket file of a dead process may go."""
    path = ipc_path(endpoint)
    if path is None:
        return
    if not path.parent.is_dir():
        raise UserError(f"cannot {action} {endpoint}: there is no folder {path.parent}; create it or choose another")
    if not path.exists():
        return
    if not path.is_socket():
        raise UserError(f"cannot {action} {endpoint}: {path} is an ordinary file; choose another path")
    if _answers(path):
        raise UserError(
            f"cannot {action} {endpoint}: another process is using it; stop that one or choose another path"
        )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return path.exists()
    return True


def _wildcard(endpoint: str) -> str:
    return endpoint[:-1] + "*" if endpoint.startswith("tcp://") and endpoint.endswith(":0") else endpoint


def _cannot(action: str, endpoint: str, error: zmq.ZMQError) -> UserError:
    remedies = {
        errno.EADDRINUSE: "another process is using it; stop that one or choose another port (* takes a free one)",
        errno.EADDRNOTAVAIL: "this machine has no such address",
        errno.ENODEV: "this machine has no such address or interface",
        errno.EACCES: "no permission; choose a port above 1023 or another folder",
        errno.ENAMETOOLONG: "the path of a socket has at most 107 bytes; choose a shorter one",
    }
    form = f"{error.strerror}; write tcp://127.0.0.1:PORT, ipc:///tmp/NAME or inproc://NAME"
    return UserError(f"cannot {action} {endpoint!r}: {remedies.get(int(error.errno or 0), form)}")
