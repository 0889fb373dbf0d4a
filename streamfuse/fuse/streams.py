"""Three queues of an accelerator and what orders them: upload, compute, download; and their stand-in on the CPU.

What is put on one queue runs in order; a mark made on one lets another wait for it, and the host wait or read the
clock. It knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch

STAGES = ("upload", "compute", "download")
WARM_UP = 3
"""So many runs before a capture: libraries choose their kernels and take their memory in the first ones."""
Made = TypeVar("Made")


class Mark(Protocol):
    """A place in a queue."""

    def record(self, stream: Any = None) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, end_event: Any) -> float: ...


class Streams(Protocol):
    device: str
    pinned: bool

    def on(self, stage: str, after: Mark | None = None) -> Any:
        """A context: what is enqueued inside goes to that stage's queue, and runs once `after` is reached."""
        ...

    def mark(self) -> Mark: ...

    def captured(self, work: Callable[[], Made]) -> Callable[[], Made]:
        """The work, run a few times and recorded where that can be done; its result always lies at the same place."""
        ...

    def handle(self) -> int:
        """The current queue as C libraries name it."""
        ...

    def settle(self) -> None:
        """Wait until nothing is under way."""
        ...


class CudaStreams:
    """CUDA streams; captured work is one CUDA graph, launched in a single call. Needs a GPU."""

    device, pinned = "cuda", True

    def __init__(self) -> None:
        self._streams = {stage: torch.cuda.Stream() for stage in STAGES}

    @contextmanager
    def on(self, stage: str, after: Mark | None = None) -> Generator[None]:
        stream = self._streams[stage]
        if after is not None:
            stream.wait_event(after)  # type: ignore[arg-type]
        with torch.cuda.stream(stream):
            yield

    def mark(self) -> Mark:
        return torch.cuda.Event(enable_timing=True)

    def captured(self, work: Callable[[], Made]) -> Callable[[], Made]:
        stream = self._streams["compute"]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads go on using the GPU while this one records: another engine may be at work.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            made = work()

        def replay() -> Made:
            graph.replay()
            return made

        return replay

    def handle(self) -> int:
        return torch.cuda.current_stream().cuda_stream

    def settle(self) -> None:
        torch.cuda.synchronize()


class NoStreams:
    """The same on the CPU, where everything is done when it is said."""

    device, pinned = "cpu", False

    @contextmanager
    def on(self, stage: str, after: Mark | None = None) -> Generator[None]:
        del stage, after
        yield

    def mark(self) -> Mark:
        return _Now()

    def captured(self, work: Callable[[], Made]) -> Callable[[], Made]:
        work()
        return work

    def handle(self) -> int:
        return 0

    def settle(self) -> None:
        """Nothing is ever under way."""


class _Now:
    def record(self, stream: Any = None) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, end_event: Any) -> float:
        """Not measured on the CPU."""
        del end_event
        return 0.0
