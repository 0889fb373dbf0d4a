"""A Fuser that knows what its engine costs: CPU time of the graph, apart from everything around it."""

from __future__ import annotations

import time

from streamfuse.frames import Pixels, WarpMap
from streamfuse.fuse import Engine, Fuser
from streamfuse.thermal import ToneCurve


class MeteredEngine:
    """An engine and the CPU time that the calling thread spent in `fuse`; worker threads are counted elsewhere."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cpu_ns = 0

    @property
    def name(self) -> str:
        return self.engine.name

    def set_warp(self, warp: WarpMap) -> None:
        self.engine.set_warp(warp)

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        began_ns = time.thread_time_ns()
        try:
            return self.engine.fuse(thermal, curve, rgb)
        finally:
            self.cpu_ns += time.thread_time_ns() - began_ns

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        return self.engine.align(thermal, curve)

    def close(self) -> None:
        self.engine.close()


class MeteredFuser(Fuser):
    """The same Fuser with a meter between it and its engine."""

    def __init__(self, fuser: Fuser) -> None:
        self.meter = MeteredEngine(fuser._engine)
        super().__init__(self.meter, fuser.model, fuser._tone)

    def rewind(self) -> None:
        """Begin at sequence 0 with an empty memory, as if nothing had been fused."""
        self.reset()
        self._sequence = 0
