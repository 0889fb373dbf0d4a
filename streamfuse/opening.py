"""One opening of a live source, in a thread of its own: a driver that hangs holds up nobody but itself.

It opens, reads and closes one source, once. When to do that, and what follows, is `supervise`'s.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost
from streamfuse.sources import FrameSource, SourceInfo, SourceItem

OpenSource = Callable[[], FrameSource]

MOST_WAITING = 4  # items between the thread and its reader


class Stalled(SourceLost):
    """Nothing came for longer than it may take."""


class Opening:
    """Starts to open the source at once, and to read it when the first item is asked for, so that none is old by then.

    `opened`, then `take`; `end` in any state, from any thread.
    """

    def __init__(self, open_source: OpenSource, name: str) -> None:
        self._open_source = open_source
        self._source: FrameSource | None = None
        self._info: SourceInfo | None = None
        self._waiting: deque[SourceItem] = deque()
        self._taken_ns = now_ns()  # when the last item was
        self._error: Exception | None = None
        self._wanted = False  # somebody reads: what came before is of no use
        self._over = False  # the source has ended or broken
        self._ended = False  # nobody reads any more
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def opened(self, limit_s: float) -> SourceInfo:
        """What the open source says of itself. Raises what opening it raised, and Stalled after `limit_s`."""
        with self._changed:
            if not self._wait(lambda: self._info is not None, limit_s):
                raise Stalled(f"it did not open within {limit_s:g} s")
            if self._info is None:
                raise self._error or SourceLost("closed while it was being opened")
            return self._info

    def take(self, limit_s: float) -> SourceItem | None:
        """The source's next item, None when it has ended. Raises what it raised, and Stalled after `limit_s`."""
        with self._changed:
            self._want()
            if not self._wait(lambda: bool(self._waiting), limit_s):
                raise Stalled(f"no frame for {(now_ns() - self._taken_ns) / 1e9:.1f} s")
            if self._waiting:
                item, self._taken_ns = self._waiting.popleft(), now_ns()
                self._changed.notify_all()
                return item
        if self._error is not None:
            raise self._error
        return None

    def end(self) -> None:
        """Stop reading and let the thread close the source; does not wait for it."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if (source := self._source) is not None:
            source.close()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _want(self) -> None:
        if not self._wanted:
            self._wanted, self._taken_ns = True, now_ns()
            self._changed.notify_all()

    def _wait(self, come: Callable[[], bool], limit_s: float) -> bool:
        """False when it has not come in time although it still could; called with the lock held."""
        return self._changed.wait_for(lambda: come() or self._over or self._ended, limit_s)

    def _run(self) -> None:
        try:
            source = self._open_source()
            self._source = source
            if not self._ended:
                with source:
                    self._read(source)
        except Exception as error:  # whatever it is, the reader has to learn of it
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _read(self, source: FrameSource) -> None:
        with self._changed:
            self._info = source.info
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._wanted or self._ended)
        for item in source if not self._ended else ():
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) < MOST_WAITING or self._ended)
                if self._ended:
                    return
                self._waiting.append(item)
                self._changed.notify_all()
