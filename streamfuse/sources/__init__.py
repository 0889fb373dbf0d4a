"""The contract of a frame source: where frames come from, one camera (or one recorded stream) each.

A source is a context manager. Entering opens it: UserError where it can never work as asked, with the remedy,
SourceLost where another try may succeed (a server that does not answer yet). Iterating yields its frames in order, and
a `DroppedFrame` for each frame that exists but cannot be read; iteration ends when the stream ends and raises
`SourceLost` when it breaks. `close` may be called from another thread at any time, any number of times, and ends a
running iteration within half a second. Only a supervised source yields `SourceChange` as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol

from streamfuse.frames import DroppedFrame, Frame, Modality, Size


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of an opened source; `frames` is None for an endless one, `rate_hz` the nominal rate."""

    description: str
    size: Size
    bits: int
    rate_hz: float
    frames: int | None = None


class SourceState(str, Enum):
    """How a live source is doing."""

    CONNECTING = "connecting"  # being opened, or open and without a frame yet
    LIVE = "live"
    STALLED = "stalled"  # open, but its frames stopped coming; torn down unless they come again soon
    FAILED = "failed"  # could not be opened, or broke; torn down, and another try follows


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A live source went over to another state; `why` is for people, and empty where all is well."""

    modality: Modality
    state: SourceState
    at_ns: int
    why: str = ""


SourceItem = Frame | DroppedFrame | SourceChange


class FrameSource(Protocol):
    """One camera or recorded stream."""

    @property
    def modality(self) -> Modality: ...

    @property
    def info(self) -> SourceInfo:
        """Known once the source is open."""
        ...

    def __enter__(self) -> FrameSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[SourceItem]: ...

    def close(self) -> None: ...
