"""The contract of a frame source: where frames come from, one camera (or one recorded stream) each.

A source is a context manager. Entering opens it (UserError when that fails, with the remedy); iterating yields its
frames in order, and a `DroppedFrame` for each frame that exists but cannot be read; iteration ends when the stream
ends and raises `SourceLost` when it breaks. `close` may be called from another thread at any time, any number of
times, and ends a running iteration within half a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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

    def __iter__(self) -> Iterator[Frame | DroppedFrame]: ...

    def close(self) -> None: ...
