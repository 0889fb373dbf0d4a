"""The benchmark's cameras: pictures drawn beforehand, handed over on a schedule that never waits.

Drawing is left out on purpose: what is timed begins where a camera hands a frame over. Both cameras share one
schedule and one clock, so that every thermal frame has its partner.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from streamfuse.assemble import Cameras
from streamfuse.bench.matrix import Cell
from streamfuse.clock import ReplayClock, now_ns
from streamfuse.frames import Clock, Frame, Modality, Pixels
from streamfuse.rig import Rig
from streamfuse.sources import SourceChange, SourceInfo, SourceItem, SourceState

PICTURES = 12
"""Pairs drawn beforehand and shown over and over: enough that the picture before is never the same one."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the cameras show: as many thermal (H W uint16) as RGB images (H W 3 uint8), and the rig that took them."""

    thermal: Sequence[Pixels]
    rgb: Sequence[Pixels]
    rig: Rig


class OfferedSource:
    """Fulfils `FrameSource`. Frame k is due at `due_ns[k]` on `clock`; `handed` counts what was handed over."""

    def __init__(
        self, modality: Modality, pictures: Sequence[Pixels], due_ns: Sequence[int], clock: ReplayClock, rate_hz: float
    ) -> None:
        height, width = pictures[0].shape[:2]
        self.modality = modality
        self.info = SourceInfo(
            "benchmark schedule", (width, height), 8 * pictures[0].itemsize, rate_hz, frames=len(due_ns)
        )
        self.handed = 0
        self._pictures = pictures
        self._due_ns = due_ns
        self._clock = clock
        self._closed = threading.Event()

    def __enter__(self) -> OfferedSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[SourceItem]:
        for number in range(len(self._due_ns)):
            capture_ns = self._clock.capture_ns(self._due_ns[number])
            if not self._clock.wait_until(capture_ns, self._closed):
                return
            self.handed = number + 1
            yield self.frame(number, capture_ns)

    def close(self) -> None:
        self._closed.set()

    def frame(self, number: int, capture_ns: int = 0) -> Frame:
        """The frame of this number, at once."""
        return Frame(
            modality=self.modality,
            pixels=self._pictures[number % len(self._pictures)],
            capture_ns=capture_ns,
            sequence=number,
            clock=Clock.SENSOR,
            recording_ns=self._due_ns[number],
            stamps={"offered": capture_ns},
        )


class AbsentSource(OfferedSource):
    """A camera that has failed and does not come back while the other one runs."""

    def __iter__(self) -> Iterator[SourceItem]:
        yield SourceChange(self.modality, SourceState.FAILED, now_ns(), "left out in this cell")
        self._clock.wait_until(self._clock.capture_ns(self._due_ns[-1]), self._closed)


@dataclass(frozen=True, slots=True)
class Offer:
    """Both cameras of a run, and the clock whose `start_ns` is the first due time."""

    thermal: OfferedSource
    rgb: OfferedSource
    clock: ReplayClock
    rig: Rig

    def cameras(self) -> Cameras:
        return Cameras(self.thermal, self.rgb, self.rig, paced=True)


def offer(
    pictures: Pictures, due_ns: Sequence[int], rate_hz: float, phase_ms: float = 0.0, cameras: str = "both"
) -> Offer:
    """Cameras that show `pictures` at the due times, thermal `phase_ms` later than RGB; asking for the first starts
    them. `cameras`: both, or the one that works."""
    clock = ReplayClock(0)
    later_ns = [at_ns + round(phase_ms * 1e6) * (cameras == "both") for at_ns in due_ns]
    kinds = {modality: OfferedSource if cameras in ("both", modality.value) else AbsentSource for modality in Modality}
    thermal = kinds[Modality.THERMAL](Modality.THERMAL, pictures.thermal, later_ns, clock, rate_hz)
    rgb = kinds[Modality.RGB](Modality.RGB, pictures.rgb, due_ns, clock, rate_hz)
    return Offer(thermal, rgb, clock, pictures.rig)


def draw(cell: Cell, *, seed: int) -> Pictures:
    """Some moments of the synthetic street, in the sizes of the cell, 16-bit thermal counts."""
    from streamfuse.sources.synthetic import SceneConfig, open_synthetic

    pair = open_synthetic(SceneConfig(seed=seed, thermal_size=cell.thermal, rgb_size=cell.rgb), pace="every")
    numbers = range(PICTURES)
    return Pictures(
        [pair.thermal.frame(k).pixels for k in numbers], [pair.rgb.frame(k).pixels for k in numbers], pair.rig
    )
