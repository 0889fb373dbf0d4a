"""A synthetic camera as a frame source: renders ahead of time, hands over when the frame is due."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from streamfuse.clock import ReplayClock
from streamfuse.frames import Clock, Frame, Modality, Pixels, Radiometric
from streamfuse.sources import SourceInfo
from streamfuse.sources.synthetic.truth import Timing


class SyntheticSource:
    """Fulfils `FrameSource`. `render(frame number)` gives the pixels; both sources of a pair share one `clock`."""

    def __init__(
        self,
        modality: Modality,
        info: SourceInfo,
        timing: Timing,
        clock: ReplayClock,
        render: Callable[[int], Pixels],
        radiometric: Radiometric | None = None,
    ) -> None:
        self.modality = modality
        self.info = info
        self._timing = timing
        self._clock = clock
        self._render = render
        self._radiometric = radiometric
        self._closed = threading.Event()

    def __enter__(self) -> SyntheticSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        numbers = itertools.count() if self.info.frames is None else range(self.info.frames)
        for number in numbers:
            if self._closed.is_set():
                return
            frame = self.frame(number)
            if not self._clock.wait_until(frame.capture_ns, self._closed):
                return
            yield frame

    def frame(self, number: int) -> Frame:
        """Any frame, at once; the same number always gives the same pixels and recording time."""
        recording_ns = self._timing.stamp_ns(number)
        capture_ns = self._clock.capture_ns(recording_ns)
        return Frame(
            modality=self.modality,
            pixels=self._render(number),
            capture_ns=capture_ns,
            sequence=number,
            clock=Clock.RECORDING,
            recording_ns=recording_ns,
            name=f"{number:06d}",
            radiometric=self._radiometric,
            stamps={"offered": capture_ns},
        )

    def close(self) -> None:
        self._closed.set()
