"""What may wait gives way to frames: a thread of low priority, and the threads it starts."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

NICE = 10


def lower_priority() -> None:
    """Of the calling thread alone, which only Linux can."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
