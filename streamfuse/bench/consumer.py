"""Who receives: processes of their own with the ordinary Subscriber, or one thread where no network is wanted.

python -m streamfuse.bench.consumer ENDPOINT RIG OUT.npy [SERVER_KEY CLIENT_KEY]
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np

from streamfuse.bench.figures import Rows, row_of, table
from streamfuse.bench.sampler import OURS
from streamfuse.clock import now_ns
from streamfuse.curve import ReaderKeys
from streamfuse.errors import StreamfuseError
from streamfuse.frames import FusedFrame, Reason
from streamfuse.outbox import NewestSlots
from streamfuse.publish import Dropped, Publisher, Sent

JOIN_S, LAST_WORDS_S, TICK_S = 30.0, 15.0, 0.01
PAGE = 4096


class Consumers:
    """Subscribers in processes of their own, with these keys if any; a context manager that leaves none behind."""

    def __init__(self, count: int, folder: Path, keys: ReaderKeys | None = None) -> None:
        self._keys = [str(keys.server), str(keys.client)] if keys else []
        self._files = [folder / f"consumer-{index}.npy" for index in range(count)]
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Consumers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def join(self, publisher: Publisher) -> None:
        """Start them and wait until all have joined, so that not one frame is missed."""
        for file in self._files:
            command = [sys.executable, "-m", __name__, publisher.endpoint, publisher.rig, str(file), *self._keys]
            self._processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        give_up_ns = now_ns() + round(JOIN_S * 1e9)
        while publisher.subscribers < len(self._files):
            if now_ns() > give_up_ns:
                raise StreamfuseError(
                    f"{publisher.subscribers} of {len(self._files)} subscribers joined in {JOIN_S:g} s"
                )
            time.sleep(TICK_S)

    def tables(self) -> list[Rows]:
        """What each received, once the publisher has said goodbye."""
        for process in self._processes:
            _, said = process.communicate(timeout=LAST_WORDS_S)
            if process.returncode:
                raise StreamfuseError(f"a subscriber failed: {said.strip()[-500:]}")
        return [cast("Rows", np.load(file)) for file in self._files]


class ThreadSink:
    """A sink without a socket: one newest-wins slot and one thread that takes from it, in this process."""

    endpoint = "thread"

    def __init__(self, on_sent: Sent, on_dropped: Dropped) -> None:
        self._on_sent, self._on_dropped = on_sent, on_dropped
        self._slots = NewestSlots()
        self._work = threading.Semaphore(0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{OURS}consumer", daemon=True)

    def __enter__(self) -> ThreadSink:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._work.release()
        self._thread.join()

    def wanted(self) -> frozenset[str]:
        return frozenset()

    def interrupt(self) -> None:
        """`send` never waits."""

    def expire(self) -> None:
        """`send` never waits."""

    def send(self, frame: FusedFrame) -> None:
        replaced = self._slots.put(frame.stamped("sent", now_ns()))
        if replaced is not None:
            self._on_dropped(replaced, Reason.SUPERSEDED)
        self._work.release()

    def _run(self) -> None:
        while True:
            self._work.acquire()
            frame = self._slots.take()
            if frame is not None:
                self._on_sent(touched(frame).stamped("received", now_ns()))
            elif self._over.is_set():
                return


def touched(frame: FusedFrame) -> FusedFrame:
    """The same frame, one byte read from every page of it: what is never read need not have arrived."""
    frame.pixels.reshape(-1)[::PAGE].max()
    return frame


def consume(endpoint: str, rig: str, out: Path, curve: ReaderKeys | None = None) -> None:
    """Receive until the publisher says goodbye, then write the table of stamps."""
    from streamfuse.subscribe import Subscriber

    with Subscriber(endpoint, rig=rig, timeout_s=LAST_WORDS_S, curve=curve) as subscriber:
        rows = [row_of(touched(frame)) for frame in subscriber.every()]
    np.save(out, table(rows))


if __name__ == "__main__":
    consume(sys.argv[1], sys.argv[2], Path(sys.argv[3]), ReaderKeys(*sys.argv[4:]) if sys.argv[4:] else None)
