"""What waits between the pipeline and the sending thread: one newest-wins slot per stream, or a bounded queue.

Both have the same verbs and know nothing of sockets. `put` may be called from any thread, `take` from the sender.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from streamfuse.frames import FusedFrame


class Outbox(Protocol):
    def put(self, frame: FusedFrame) -> FusedFrame | None:
        """Take a frame in; return the one that must leave unsent for it (its predecessor, or itself when closed)."""
        ...

    def take(self) -> FusedFrame | None:
        """The next frame to send, None when nothing waits."""
        ...

    def __len__(self) -> int:
        """How many frames wait."""
        ...

    def close(self) -> None:
        """Take nothing in any more; what waits can still be taken."""
        ...


class NewestSlots:
    """One slot per stream, never waits: a frame that is not sent yet gives way to its successor."""

    def __init__(self) -> None:
        self._slots: dict[str, FusedFrame] = {}
        self._lock = threading.Lock()
        self._closed = False

    def put(self, frame: FusedFrame) -> FusedFrame | None:
        with self._lock:
            if self._closed:
                return frame
            replaced = self._slots.pop(frame.stream, None)
            self._slots[frame.stream] = frame
            return replaced

    def take(self) -> FusedFrame | None:
        with self._lock:
            return self._slots.pop(next(iter(self._slots))) if self._slots else None

    def __len__(self) -> int:
        return len(self._slots)

    def close(self) -> None:
        with self._lock:
            self._closed = True


class BoundedQueue:
    """Every frame in order: `put` waits while `depth` frames are waiting, so the pipeline slows to its reader."""

    def __init__(self, depth: int) -> None:
        self._waiting: deque[FusedFrame] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: FusedFrame) -> FusedFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._depth)
            if self._closed:
                return frame
            self._waiting.append(frame)
            return None

    def take(self) -> FusedFrame | None:
        with self._changed:
            if not self._waiting:
                return None
            self._changed.notify_all()
            return self._waiting.popleft()

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
