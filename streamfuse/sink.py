"""Where outputs go: the contract that the Publisher, a folder or a test fulfils. Knows nothing of what is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

from streamfuse.frames import FusedFrame
from streamfuse.publish import Dropped, Sent


class Sink(Protocol):
    """Where outputs go: the Publisher, or whatever wants them in this process."""

    @property
    def endpoint(self) -> str: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None: ...

    def wanted(self) -> frozenset[str]:
        """Streams besides the fused one that somebody asks for now."""
        ...

    def send(self, frame: FusedFrame) -> None: ...

    def interrupt(self) -> None:
        """From any thread: a `send` that waits for its reader returns."""
        ...

    def expire(self) -> None:
        """From any thread: time is up; a `send` that waits where nobody reads returns."""
        ...


OpenSink = Callable[[Sent, Dropped], Sink]


@contextmanager
def interrupted_by(stop: threading.Event, late: Callable[[], bool], sink: Sink) -> Generator[None]:
    """Interrupt `sink` once `stop` is set, and let it expire once it is `late`: a loss-free one may wait for its
    reader, where no loop looks at either."""
    over = threading.Event()

    def watch() -> None:
        expired = False
        while not over.wait(0.1):
            if stop.is_set():
                sink.interrupt()
                return
            if not expired and late():
                sink.expire()
                expired = True

    watcher = threading.Thread(target=watch, name="interrupt", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
