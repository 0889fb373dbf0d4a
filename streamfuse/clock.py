"""Clocks: the machine's monotonic clock, a recording's own time on it, and the wall clock for messages.

This is the only module that asks what time it is. `drift.ClockMapping` puts the stamps of a device's own clock onto
the monotonic clock.
"""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

START_LEAD_NS = 100_000_000
"""A replay schedules its first frame this far ahead, so that opening both sources is not counted as latency."""


def now_ns() -> int:
    """Monotonic time of this machine; comparable between processes of one boot."""
    return time.monotonic_ns()


def wall_from_monotonic_ns(monotonic_ns: int) -> int:
    """Wall-clock time (ns since 1970) of a monotonic instant, with today's offset between the two clocks."""
    return monotonic_ns + time.time_ns() - time.monotonic_ns()


def boot_id() -> str:
    """Identity of this boot: two processes may compare monotonic times only where it is equal."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{uuid.getnode():012x}"


class ReplayClock:
    """Maps a recording's own times onto the monotonic clock; one instance shared by both sources of a recording.

    The mapping is fixed by the first call of `capture_ns`, so that both sources agree, whichever starts first:
    capture = start + (recording - origin) / speed.

    pace "real": `wait_until` sleeps until the scheduled time; "fast" and "every" do not wait.
    """

    def __init__(self, origin_ns: int, *, pace: str = "real", speed: float = 1.0) -> None:
        self.origin_ns = origin_ns
        self.pace = pace
        self.speed = speed
        self._start_ns: int | None = None
        self._lock = threading.Lock()

    @property
    def start_ns(self) -> int:
        with self._lock:
            if self._start_ns is None:
                self._start_ns = now_ns() + (START_LEAD_NS if self.pace == "real" else 0)
            return self._start_ns

    def capture_ns(self, recording_ns: int) -> int:
        """The monotonic time at which a frame recorded at `recording_ns` is due."""
        return self.start_ns + round((recording_ns - self.origin_ns) / self.speed)

    def wait_until(self, capture_ns: int, closed: threading.Event) -> bool:
        """Sleep until `capture_ns` where the pace is real; False as soon as `closed` is set."""
        if self.pace == "real":
            while (ahead_ns := capture_ns - now_ns()) > 0:
                if closed.wait(ahead_ns / 1e9):
                    return False
        return not closed.is_set()
