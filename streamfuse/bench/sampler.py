"""Looks at its own process four times a second: memory, CPU time of every thread, GPU. Elsewhere than on Linux it
knows less."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from streamfuse.bench.gauges import Gauge, Reading
from streamfuse.clock import now_ns

PERIOD_S = 0.25
TASKS = Path("/proc/self/task")
STATM = Path("/proc/self/statm")
OURS = "bench-"
"""Threads of this name measure or consume; they are no part of what is measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `threads_ns`: CPU time by thread, "name/id"; threads outside Python bear the system's name for them.

    `rss_bytes` is None where the system does not tell.
    """

    at_ns: int
    cpu_ns: int
    rss_bytes: int | None
    threads_ns: Mapping[str, int]
    graph_ns: int = 0


class Sampler:
    """Samples and GPU readings while it is entered; `graph_ns` is asked for the CPU time of the graph so far."""

    def __init__(self, gauge: Gauge | None = None, graph_ns: Callable[[], int] = lambda: 0) -> None:
        self.samples: list[Sample] = []
        self.readings: list[Reading] = []
        self._gauge = gauge
        self._graph_ns = graph_ns
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{OURS}sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PERIOD_S):
            self.samples.append(Sample(now_ns(), time.process_time_ns(), rss_bytes(), threads_ns(), self._graph_ns()))
            if self._gauge is not None and (reading := self._gauge.read()) is not None:
                self.readings.append(reading)


@dataclass(slots=True)
class Spent:
    """CPU time in ns between two samples, by what it was spent on; `span_ns` of wall time between them."""

    span_ns: int
    process: int
    threads: dict[str, int] = field(default_factory=dict[str, int])
    graph: int = 0

    @property
    def measuring(self) -> int:
        return sum(ns for name, ns in self.threads.items() if name.startswith(OURS))

    @property
    def capture(self) -> int:
        return sum(ns for name, ns in self.threads.items() if name.startswith("capture-"))

    @property
    def workers(self) -> int:
        """Threads that libraries started, ZeroMQ's left out: those of the engines."""
        return sum(ns for name, ns in self.threads.items() if name.startswith("native "))


def spent(samples: Sequence[Sample], from_ns: int, to_ns: int) -> Spent | None:
    """What the process spent between the first and the last sample of that time; None with fewer than two."""
    inside = [sample for sample in samples if from_ns <= sample.at_ns <= to_ns]
    if len(inside) < 2:
        return None
    first, last = inside[0], inside[-1]
    newest = {name: ns for sample in inside for name, ns in sample.threads_ns.items()}  # a thread may have ended
    threads: dict[str, int] = {}
    for name, ns in newest.items():
        plain = name.rpartition("/")[0]
        threads[plain] = threads.get(plain, 0) + ns - first.threads_ns.get(name, 0)
    return Spent(last.at_ns - first.at_ns, last.cpu_ns - first.cpu_ns, threads, last.graph_ns - first.graph_ns)


def rss_bytes() -> int | None:
    """Resident memory of this process."""
    with suppress(OSError, ValueError, IndexError):
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def threads_ns() -> dict[str, int]:
    """CPU time of every thread of this process; empty where the system has no /proc."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    times: dict[str, int] = {}
    with suppress(OSError):
        for tid in map(int, os.listdir(TASKS)):
            with suppress(OSError):  # it has ended meanwhile
                times[f"{named.get(tid) or _native(tid)}/{tid}"] = _thread_ns(tid)
    return times


def _native(tid: int) -> str:
    name = (TASKS / str(tid) / "comm").read_text().strip()
    return "zeromq" if name.startswith("ZMQ") else f"native {name}"


def _thread_ns(tid: int) -> int:
    """Linux numbers a thread's CPU clock like this (kernel: CPUCLOCK_SCHED of one thread), to the nanosecond."""
    return time.clock_gettime_ns((~tid << 3) | 6)
