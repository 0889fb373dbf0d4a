"""What is to be built, and how far it is: the same for every builder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import nn

from streamfuse.frames import Size
from streamfuse.fuse.engine_files import EngineFile
from streamfuse.fuse.planar import Inputs

Progress = Callable[[str, int, int], None]
"""Phase, steps done, steps in all; called from the building thread."""


def _silent(phase: str, done: int, total: int) -> None:
    del phase, done, total


@dataclass(frozen=True)
class Order:
    """One engine to build.

    `network`: already in its precision. `calibration`: the graph's inputs, one mapping a pair, for int8.
    `timings`: where the builder keeps what it measured, so that the next build is faster. `stop` ends it early.
    """

    network: nn.Module
    thermal_size: Size
    output_size: Size
    precision: str
    timings: EngineFile
    calibration: Iterable[Inputs] = ()
    progress: Progress = _silent
    stop: threading.Event = field(default_factory=threading.Event)
