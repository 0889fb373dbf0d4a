"""Fake cameras whose every frame is known: pixel value = sequence, times on a fixed grid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streamfuse.clock import now_ns
from streamfuse.frames import Clock, DroppedFrame, Frame, FusedFrame, InputInfo, Modality, State
from streamfuse.sources import SourceInfo

SOON_S = 10.0
PERIOD_NS = 33_333_333


def frame(modality: Modality, sequence: int, capture_ns: int, size: tuple[int, int] = (4, 3)) -> Frame:
    shape = (size[1], size[0], 3) if modality is Modality.RGB else (size[1], size[0])
    return Frame(
        modality=modality,
        pixels=np.full(shape, sequence % 256, np.uint8),
        capture_ns=capture_ns,
        recording_ns=capture_ns,
        sequence=sequence,
        clock=Clock.RECORDING,
        stamps={"offered": capture_ns},
    )


class FakeSource:
    """Yields `items` in turn; an Exception among them is raised; waits `gap_s` before each; `block` never returns."""

    def __init__(
        self,
        modality: Modality,
        items: Sequence[Frame | DroppedFrame | Exception],
        *,
        gap_s: float = 0.0,
        block: bool = False,
    ) -> None:
        self.modality = modality
        self.info = SourceInfo("fake", (4, 3), 8, 30.0, len(items))
        self.items = items
        self.gap_s = gap_s
        self.block = block
        self.closed = threading.Event()
        self.entered = self.exited = 0
        self.iterated = False

    def __enter__(self) -> FakeSource:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.exited += 1

    def __iter__(self) -> Iterator[Frame | DroppedFrame]:
        self.iterated = True
        for item in self.items:
            if self.gap_s and self.closed.wait(self.gap_s):
                return
            if isinstance(item, Exception):
                raise item
            yield item
        while self.block:  # a driver that ignores close
            time.sleep(0.05)

    def close(self) -> None:
        self.closed.set()


def stream(modality: Modality, count: int, *, offset_ns: int = 0, period_ns: int = PERIOD_NS) -> list[Frame]:
    return [frame(modality, k, offset_ns + k * period_ns) for k in range(count)]


class FakeSink:
    """Takes every output, counts it as sent, forgets it."""

    endpoint = "memory"

    def __init__(self, on_sent, on_dropped):
        self.on_sent = on_sent

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return

    def wanted(self):
        return frozenset()

    def interrupt(self):
        return

    def expire(self):
        return

    def send(self, frame):
        self.on_sent(frame.stamped("sent", now_ns()))


def fused(sequence: int, **changes: Any) -> FusedFrame:
    """A tiny output whose pixels tell its sequence."""
    at = now_ns()
    plain = FusedFrame(
        pixels=np.full((4, 6, 3), sequence % 251, np.uint8),
        stream="fused",
        sequence=sequence,
        capture_ns=at,
        clock=Clock.ARRIVAL,
        state=State.FUSED,
        thermal=InputInfo(sequence=sequence, capture_ns=at),
        rgb=InputInfo(sequence=sequence, capture_ns=at),
        skew_ns=0,
        stamps={"offered": at},
    )
    return replace(plain, **changes)


def until(condition: Callable[[], object], patience_s: float = SOON_S) -> bool:
    """Wait for what another thread or process is about to do."""
    give_up = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.005)
    return True
