"""Capture: one thread per source, one bounded inbox, failures handed to the consumer. Written once, for every source.

It knows nothing of what the frames show or who wants them. `in_order` is its plain twin without threads: the same
items in the order of their capture times, the same on every run.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from types import TracebackType

from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost, StreamfuseError
from streamfuse.frames import DroppedFrame, Frame, Modality, Reason
from streamfuse.sources import FrameSource, SourceChange

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


Item = Frame | DroppedFrame | SourceChange | StreamEnd


@dataclass(frozen=True, slots=True)
class _Waiting:
    order: tuple[int, int]
    item: Item | _Failure


class Capture:
    """Reads several sources at once and yields their items in order of arrival.

    `ordered`: in order of capture time instead, each step waiting for every source that has not ended; right where
    nothing paces the sources (a replay as fast as it goes), since there the faster decoder would run away.
    A context manager: entering opens every source (their UserErrors come out here), leaving closes them within a
    second, whatever state they are in. Iterating yields None about every `TICK_S` while nothing waits, so that the
    consumer can let time pass, and ends after the last StreamEnd or `stop`. A source that breaks raises SourceLost
    in the consumer, with the source's own error as its cause.
    """

    def __init__(
        self, sources: Sequence[FrameSource], *, policy: Policy = Policy.EVERY, depth: int = 8, ordered: bool = False
    ) -> None:
        self._sources = sources
        self._policy = policy
        self._depth = depth
        self._ordered = ordered
        self._inboxes: dict[Modality, deque[_Waiting]] = {source.modality: deque() for source in sources}
        self._running = {source.modality for source in sources}
        self._arrivals = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._opened = ExitStack()
        self._threads = [
            threading.Thread(target=self._read, args=(source,), name=f"capture-{source.modality.value}", daemon=True)
            for source in sources
        ]

    def __enter__(self) -> Capture:
        self._opened = _opened(self._sources)
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
            return sum(isinstance(waiting.item, Frame) for inbox in self._inboxes.values() for waiting in inbox)

    def __iter__(self) -> Iterator[Item | None]:
        for thread in self._threads:
            thread.start()
        ticked_ns = now_ns()
        while self._running and not self._stopped:
            item = self._take()
            if isinstance(item, _Failure):
                raise _handed_over(item)
            if isinstance(item, StreamEnd):
                self._running.discard(item.modality)
            yield item
            if item is None:
                ticked_ns = now_ns()
            elif self._idle and now_ns() - ticked_ns >= TICK_S * 1e9:  # a fast camera leaves no gap of a tick
                ticked_ns = now_ns()
                yield None

    @property
    def _idle(self) -> bool:
        return not any(self._inboxes.values())

    def rest(self) -> list[Item]:
        """What still waited when the iteration was stopped; every frame has to be accounted for."""
        self._join()
        with self._changed:
            waiting = sorted(chain.from_iterable(self._inboxes.values()), key=lambda one: one.order)
            for inbox in self._inboxes.values():
                inbox.clear()
            return [one.item for one in waiting if not isinstance(one.item, _Failure)]

    def _join(self) -> None:
        deadline = now_ns() + int(STOP_S * 1e9)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=max(0.0, (deadline - now_ns()) / 1e9))

    def _take(self) -> Item | _Failure | None:
        """The next item; None when none came within a tick."""
        with self._changed:
            if (inbox := self._next_inbox()) is None:
                self._changed.wait(TICK_S)
                inbox = self._next_inbox()
            if inbox is None:
                return None
            item = inbox.popleft().item
            self._changed.notify_all()
            return item

    def _next_inbox(self) -> deque[_Waiting] | None:
        """The inbox whose first item comes next; called with the lock held."""
        filled = [inbox for inbox in self._inboxes.values() if inbox]
        if self._ordered and any(not self._inboxes[modality] for modality in self._running):
            return next((inbox for inbox in filled if isinstance(inbox[0].item, _Failure)), None)
        return min(filled, key=lambda inbox: inbox[0].order, default=None)

    def _read(self, source: FrameSource) -> None:
        try:
            for item in source:
                arrived = item.stamped("captured", now_ns()) if isinstance(item, Frame) else item
                self._put(source.modality, arrived)
                if self._stopped:
                    return
            self._put(source.modality, StreamEnd(source.modality))
        except Exception as error:  # whatever it is, the consumer has to learn of it
            self._put(source.modality, _Failure(source.modality, error))

    def _put(self, modality: Modality, item: Item | _Failure) -> None:
        with self._changed:
            inbox = self._inboxes[modality]
            if isinstance(item, Frame):
                self._make_room(inbox)
            self._arrivals += 1
            inbox.append(_Waiting(self._order(inbox, item), item))
            self._changed.notify_all()

    def _order(self, inbox: deque[_Waiting], item: Item | _Failure) -> tuple[int, int]:
        """Arrival, or capture time; what has no time of its own keeps its place behind its predecessor."""
        if not self._ordered:
            return 0, self._arrivals
        last_ns = inbox[-1].order[0] if inbox else 0
        return max(last_ns, _time_of(item) or last_ns), self._arrivals

    def _make_room(self, inbox: deque[_Waiting]) -> None:
        """Wait for room, or make it, by policy; called with the lock held."""
        while sum(isinstance(one.item, Frame) for one in inbox) >= self._depth and not self._stopped:
            if self._policy is Policy.EVERY:
                self._changed.wait(TICK_S)
            else:
                _drop_oldest(inbox)


class InOrder:
    """Both sources read in this thread, merged by capture time: deterministic, every frame, as fast as it goes."""

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        self._sources = sources
        self._opened = ExitStack()
        self._stopped = False

    def __enter__(self) -> InOrder:
        self._opened = _opened(self._sources)
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
            at_ns = max(at_ns, _time_of(item) or at_ns)
            yield at_ns, rank, item
    except StreamfuseError:
        raise
    except Exception as error:
        raise _handed_over(_Failure(source.modality, error)) from error
    yield at_ns, rank, StreamEnd(source.modality)


def _time_of(item: Item | _Failure) -> int | None:
    return item.capture_ns if isinstance(item, Frame | DroppedFrame) else None


def _opened(sources: Sequence[FrameSource]) -> ExitStack:
    """All of them, or none: where one does not open, those before it are closed again."""
    with ExitStack() as opening:
        for source in sources:
            opening.enter_context(source)
        return opening.pop_all()


def _drop_oldest(inbox: deque[_Waiting]) -> None:
    for index, waiting in enumerate(inbox):
        if isinstance(waiting.item, Frame):
            inbox[index] = replace(waiting, item=waiting.item.dropped(Reason.OVERFLOW, "the inbox was full"))
            return


def _handed_over(failure: _Failure) -> StreamfuseError:
    if isinstance(failure.error, StreamfuseError):
        return failure.error
    lost = SourceLost(f"the {failure.modality.value} source failed: {type(failure.error).__name__}: {failure.error}")
    lost.__cause__ = failure.error
    return lost
