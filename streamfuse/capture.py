"""Capture: one thread per source, one bounded inbox, failures handed to the consumer. Written once, for every source.

It knows nothing of what the frames show or who wants them. `in_order` is its plain twin without threads: the same
items in the order of their capture times, the same on every run.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost, StreamfuseError
from streamfuse.frames import DroppedFrame, Frame, Modality, Reason
from streamfuse.sources import FrameSource

TICK_S = 0.01
STOP_S = 0.9


class Policy(str, Enum):
    """What happens when the consumer is slower than a source."""

    EVERY = "every"  # the source waits: replay loses nothing
    NEWEST = "newest"  # the oldest waiting frame is dropped and counted: live stays live


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """This source has delivered everything it had."""

    modality: Modality


@dataclass(frozen=True, slots=True)
class _Failure:
    modality: Modality
    error: Exception


Item = Frame | DroppedFrame | StreamEnd


class Capture:
    """Reads several sources at once and yields their items in order of arrival.

    A context manager: entering opens every source (their UserErrors come out here), leaving closes them within a
    second, whatever state they are in. Iterating yields None every `TICK_S` while nothing arrives, so that the
    consumer can let time pass, and ends after the last StreamEnd or `stop`. A source that breaks raises SourceLost
    in the consumer, with the source's own error as its cause.
    """

    def __init__(self, sources: Sequence[FrameSource], *, policy: Policy = Policy.EVERY, depth: int = 8) -> None:
        self._sources = sources
        self._policy = policy
        self._depth = depth
        self._inbox: deque[Item | _Failure] = deque()
        self._waiting: Counter[Modality] = Counter()
        self._changed = threading.Condition()
        self._stopped = False
        self._opened = ExitStack()
        self._threads = [
            threading.Thread(target=self._read, args=(source,), name=f"capture-{source.modality.value}", daemon=True)
            for source in sources
        ]

    def __enter__(self) -> Capture:
        with ExitStack() as opening:
            for source in self._sources:
                opening.enter_context(source)
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._join()
        if not any(thread.is_alive() for thread in self._threads):
            self._opened.close()  # a source whose thread is stuck in a driver is left to the process's end

    def stop(self) -> None:
        """End the iteration; may be called from any thread, also a signal handler's."""
        self._stopped = True
        for source in self._sources:
            source.close()
        if self._changed.acquire(timeout=0.1):
            self._changed.notify_all()
            self._changed.release()

    @property
    def in_flight(self) -> int:
        """Frames waiting in the inbox."""
        with self._changed:
            return sum(self._waiting.values())

    def __iter__(self) -> Iterator[Item | None]:
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running and not self._stopped:
            item = self._take()
            if isinstance(item, _Failure):
                raise _handed_over(item)
            running -= isinstance(item, StreamEnd)
            yield item

    def rest(self) -> list[Item]:
        """What still waited when the iteration was stopped; every frame has to be accounted for."""
        self._join()
        with self._changed:
            left = [item for item in self._inbox if not isinstance(item, _Failure)]
            self._inbox.clear()
            self._waiting.clear()
            return left

    def _join(self) -> None:
        deadline = now_ns() + int(STOP_S * 1e9)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=max(0.0, (deadline - now_ns()) / 1e9))

    def _take(self) -> Item | _Failure | None:
        with self._changed:
            if not self._inbox:
                self._changed.wait(TICK_S)
            if not self._inbox:
                return None
            item = self._inbox.popleft()
            if isinstance(item, Frame):
                self._waiting[item.modality] -= 1
            self._changed.notify_all()
            return item

    def _read(self, source: FrameSource) -> None:
        try:
            for item in source:
                self._put(item.stamped("captured", now_ns()) if isinstance(item, Frame) else item)
                if self._stopped:
                    return
            self._put(StreamEnd(source.modality))
        except Exception as error:  # whatever it is, the consumer has to learn of it
            self._put(_Failure(source.modality, error))

    def _put(self, item: Item | _Failure) -> None:
        with self._changed:
            if isinstance(item, Frame):
                self._make_room(item.modality)
                self._waiting[item.modality] += 1
            self._inbox.append(item)
            self._changed.notify_all()

    def _make_room(self, modality: Modality) -> None:
        """Wait for room, or make it, by policy; called with the lock held."""
        while self._waiting[modality] >= self._depth and not self._stopped:
            if self._policy is Policy.EVERY:
                self._changed.wait(TICK_S)
            else:
                self._drop_oldest(modality)

    def _drop_oldest(self, modality: Modality) -> None:
        for index, item in enumerate(self._inbox):
            if isinstance(item, Frame) and item.modality is modality:
                self._inbox[index] = dropped(item, Reason.OVERFLOW, "the inbox was full")
                self._waiting[modality] -= 1
                return


class InOrder:
    """Both sources read in this thread, merged by capture time: deterministic, every frame, as fast as it goes."""

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        self._sources = sources
        self._opened = ExitStack()
        self._stopped = False

    in_flight = 0

    def __enter__(self) -> InOrder:
        with ExitStack() as opening:
            for source in self._sources:
                opening.enter_context(source)
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def stop(self) -> None:
        self._stopped = True

    def __iter__(self) -> Iterator[Item | None]:
        streams = [_keyed(source, rank) for rank, source in enumerate(self._sources)]
        for _, _, item in heapq.merge(*streams, key=lambda entry: entry[:2]):
            yield item.stamped("captured", now_ns()) if isinstance(item, Frame) else item
            if self._stopped:
                return

    def rest(self) -> list[Item]:
        return []


def _keyed(source: FrameSource, rank: int) -> Iterator[tuple[int, int, Item]]:
    """Items with a sorting key; what has no time of its own keeps its place behind its predecessor."""
    at_ns = 0
    try:
        for item in source:
            at_ns = max(at_ns, item.capture_ns or at_ns)
            yield at_ns, rank, item
    except StreamfuseError:
        raise
    except Exception as error:
        raise _handed_over(_Failure(source.modality, error)) from error
    yield at_ns, rank, StreamEnd(source.modality)


def dropped(frame: Frame, reason: Reason, detail: str = "") -> DroppedFrame:
    """The ledger entry of a frame that leaves here."""
    return DroppedFrame(
        modality=frame.modality,
        sequence=frame.sequence,
        reason=reason,
        capture_ns=frame.capture_ns,
        recording_ns=frame.recording_ns,
        detail=detail,
    )


def _handed_over(failure: _Failure) -> StreamfuseError:
    if isinstance(failure.error, StreamfuseError):
        return failure.error
    lost = SourceLost(f"the {failure.modality.value} source failed: {type(failure.error).__name__}: {failure.error}")
    lost.__cause__ = failure.error
    return lost
