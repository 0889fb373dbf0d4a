"""Who reads what: the subscriptions a publisher hears, and the streams they make worth producing.

It knows nothing of sockets or frames; a sending thread tells it, any thread asks it.
"""

from __future__ import annotations

import threading
from collections import Counter

from streamfuse.wire import STREAMS, topic


class Audience:
    """Who reads what, from the subscription messages of an XPUB socket; asked from any thread.

    A subscription that names no stream ("", "sf/1/", "sf/1/<rig>/") asks for `fused`: the other streams cost work, so
    they are made for those who name them. An exact topic asks for that stream only, though ZeroMQ's prefix rule
    would also match a longer name (thermal, thermal-raw).
    """

    def __init__(self, rig: str) -> None:
        self._topics = {topic(rig, stream): stream for stream in STREAMS}
        self._stem = topic(rig, "")
        self._counts: Counter[bytes] = Counter()
        self._changed = threading.Condition()
        self.wanted: frozenset[str] = frozenset()
        self.readers = 0

    def hear(self, message: bytes) -> bool:
        """Take in one message of the socket; True when it is a new subscription."""
        if message[:1] not in (b"\x00", b"\x01"):
            return False
        joined, prefix = message[0] == 1, message[1:]
        with self._changed:
            self._counts[prefix] += 1 if joined else -1
            self._counts = +self._counts
            streams = {prefix: self._asked(prefix) for prefix in self._counts}
            self.wanted = frozenset[str]().union(*streams.values())
            self.readers = sum(self._counts[prefix] for prefix, asked in streams.items() if asked)
            self._changed.notify_all()
        return joined

    def reached(self) -> None:
        """A message left; says nothing here, since XPUB sends whether or not anybody reads."""

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.readers > 0, timeout_s)

    def _asked(self, prefix: bytes) -> frozenset[str]:
        if prefix in self._topics:
            return frozenset({self._topics[prefix]})
        if self._stem.startswith(prefix):
            return frozenset({"fused"})
        return frozenset(stream for name, stream in self._topics.items() if name.startswith(prefix))


class OneReader(Audience):
    """The reader of a PUSH socket: its streams are known beforehand, and it is there once it takes a message."""

    def __init__(self, rig: str, streams: frozenset[str]) -> None:
        super().__init__(rig)
        self.wanted = streams

    def reached(self) -> None:
        if not self.readers:
            with self._changed:
                self.readers = 1
                self._changed.notify_all()
