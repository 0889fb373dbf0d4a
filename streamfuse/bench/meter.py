"""A Fuser that knows what its engine costs: CPU time of the graph, apart from everything around it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from streamfuse.clock import now_ns
from streamfuse.frames import Pixels, WarpMap
from streamfuse.fuse import Engine, Fuser
from streamfuse.thermal import ToneCurve

KEPT_MARKS = 200_000


@runtime_checkable
class Marked(Protocol):
    """An engine that knows what the parts of its last `fuse` took, by name, in ns."""

    def marks_ns(self) -> Mapping[str, int]: ...


class MeteredEngine:
    """An engine and the CPU time that the calling thread spent in it; worker threads are counted elsewhere.

    `marks`: for each call of `fuse`, when it returned and what its parts took, where the engine knows.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._marked = engine if isinstance(engine, Marked) else None
        self.cpu_ns = 0
        self.marks: deque[tuple[int, Mapping[str, int]]] = deque(maxlen=KEPT_MARKS)

    @property
    def name(self) -> str:
        return self.engine.name

    def set_warp(self, warp: WarpMap) -> None:
        self.engine.set_warp(warp)

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        with self._metered():
            fused = self.engine.fuse(thermal, curve, rgb)
        if self._marked and (marks := self._marked.marks_ns()):
            self.marks.append((now_ns(), marks))
        return fused

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        with self._metered():
            return self.engine.align(thermal, curve)

    def close(self) -> None:
        self.engine.close()

    @contextmanager
    def _metered(self) -> Generator[None]:
        began_ns = time.thread_time_ns()
        try:
            yield
        finally:
            self.cpu_ns += time.thread_time_ns() - began_ns


class MeteredFuser(Fuser):
    """The same Fuser with a meter between it and its engine."""

    def __init__(self, fuser: Fuser) -> None:
        self.meter = MeteredEngine(fuser._engine)
        super().__init__(self.meter, fuser.model, fuser._tone)

    def rewind(self) -> None:
        """Begin at sequence 0 with an empty memory, as if nothing had been fused."""
        self.reset()
        self._sequence = 0
