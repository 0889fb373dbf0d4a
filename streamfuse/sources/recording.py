"""Recorded sources: a thermal and a visible recording, replayed on one clock at their real pace or as fast as can be.

A recording is a folder of images, one image, or a video file. Times come from a sidecar file, else from the video,
else from a steady rate. It refuses to know how frames are matched: a frame without a partner is delivered like any.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from streamfuse.clock import ReplayClock
from streamfuse.errors import UserError
from streamfuse.frames import Clock, DroppedFrame, Frame, Modality, Pixels, Reason
from streamfuse.sources import SourceInfo
from streamfuse.sources.pairing import pair_by_names
from streamfuse.sources.pictures import Look, Pictures, Unreadable
from streamfuse.sources.recording_folder import FolderPictures, is_image, open_folder
from streamfuse.sources.timestamps import even_times_ns, find_sidecar, read_sidecar, typical_period_ns

PACES = ("real", "fast", "every")
IMAGE_RATE_HZ = 30.0
GREY, COLOURFUL = 2.0, 6.0
"""Colourfulness up to which a picture counts as grey (JPEG noise), and from which it counts as coloured."""


@dataclass(frozen=True, slots=True)
class RecordingPair:
    """Both sources of a recording, sharing one replay clock, and what its user should know."""

    thermal: RecordedSource
    rgb: RecordedSource
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Times of every picture; `exact` where they were recorded, not made up from a rate."""

    times_ns: tuple[int, ...]
    exact: bool
    warnings: tuple[str, ...] = ()

    @property
    def period_ns(self) -> int:
        return typical_period_ns(self.times_ns, otherwise_ns=round(1e9 / IMAGE_RATE_HZ))

    @property
    def end_ns(self) -> int:
        return self.times_ns[-1] + self.period_ns

    def starting_at(self, start_ns: int) -> _Timeline:
        return replace(self, times_ns=tuple(time - self.times_ns[0] + start_ns for time in self.times_ns))


def open_recording(
    thermal: Path,
    rgb: Path,
    *,
    thermal_times: Path | None = None,
    rgb_times: Path | None = None,
    rate_hz: float | None = None,
    pace: str = "real",
    speed: float = 1.0,
    loop: bool = False,
) -> RecordingPair:
    """Check both recordings and put them on one clock.

    `rate_hz` replaces the times of images (default 30) and of videos, never those of a sidecar. `loop` replays for
    ever: capture times go on rising by the common duration per round, recording times start over.
    Raises UserError for whatever is missing, empty, unreadable or contradictory.
    """
    _check_options(rate_hz, pace, speed)
    pictures = (_open_pictures(thermal, Modality.THERMAL), _open_pictures(rgb, Modality.RGB))
    looks = (pictures[0].look(), pictures[1].look())
    sidecars = (thermal_times or find_sidecar(thermal), rgb_times or find_sidecar(rgb))
    first, second, time_warnings = _timelines(pictures, sidecars, rate_hz)
    origin_ns = min(first.times_ns[0], second.times_ns[0])
    clock = ReplayClock(origin_ns, pace=pace, speed=speed)
    round_ns = max(first.end_ns, second.end_ns) - origin_ns if loop else None
    warnings = (*pictures[0].warnings, *pictures[1].warnings, *_look_warnings(*looks), *time_warnings)
    return RecordingPair(
        RecordedSource(Modality.THERMAL, pictures[0], looks[0], first, clock, round_ns),
        RecordedSource(Modality.RGB, pictures[1], looks[1], second, clock, round_ns),
        warnings,
    )


class RecordedSource:
    """One recorded stream as a FrameSource: iterate it once.

    Each frame is decoded before it is due and yielded when it is. `capture_ns` = the shared clock's time for the
    recording's own `recording_ns`; a picture that cannot be decoded comes out as a DroppedFrame at its time.
    """

    def __init__(
        self,
        modality: Modality,
        pictures: Pictures,
        look: Look,
        timeline: _Timeline,
        clock: ReplayClock,
        round_ns: int | None,
    ) -> None:
        self.modality = modality
        self.names = pictures.names
        self.times_ns = timeline.times_ns
        self.info = SourceInfo(
            description=look.description,
            size=look.size,
            bits=look.bits,
            rate_hz=round(1e9 / timeline.period_ns, 3),
            frames=len(self.names) if round_ns is None else None,
        )
        self._pictures = pictures
        self._clock = clock
        self._round_ns = round_ns
        self._closed = threading.Event()
        self._running: Generator[Frame | DroppedFrame] | None = None

    def __enter__(self) -> RecordedSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        with suppress(ValueError):  # it runs in another thread, which sees `_closed` and ends by itself
            if self._running:
                self._running.close()

    def __iter__(self) -> Iterator[Frame | DroppedFrame]:
        self._running = self._replay()
        return self._running

    def close(self) -> None:
        self._closed.set()

    def _replay(self) -> Generator[Frame | DroppedFrame]:
        sequence = itertools.count()
        for start_ns in itertools.count(0, self._round_ns) if self._round_ns else (0,):
            with closing(self._pictures.read()) as pictures:
                for name, recording_ns, picture in zip(self.names, self.times_ns, pictures, strict=False):
                    capture_ns = self._clock.capture_ns(start_ns + recording_ns)
                    if not self._clock.wait_until(capture_ns, self._closed):
                        return
                    yield self._item(picture, name, recording_ns, capture_ns, next(sequence))

    def _item(
        self, picture: Pixels | Unreadable, name: str, recording_ns: int, capture_ns: int, sequence: int
    ) -> Frame | DroppedFrame:
        if isinstance(picture, Unreadable):
            return DroppedFrame(
                modality=self.modality,
                sequence=sequence,
                reason=Reason.CORRUPT,
                capture_ns=capture_ns,
                recording_ns=recording_ns,
                detail=picture.detail,
            )
        return Frame(
            modality=self.modality,
            pixels=picture,
            capture_ns=capture_ns,
            sequence=sequence,
            clock=Clock.RECORDING,
            recording_ns=recording_ns,
            name=name,
            stamps={"offered": capture_ns},
        )


def _check_options(rate_hz: float | None, pace: str, speed: float) -> None:
    if pace not in PACES:
        raise UserError(f"pace {pace!r} is unknown; choose one of {', '.join(PACES)}")
    for name, value in (("rate_hz", rate_hz), ("speed", speed)):
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{name} is {value}; it must be greater than 0")


def _open_pictures(path: Path, modality: Modality) -> Pictures:
    if not path.exists():
        raise UserError(f"{path}: the {modality.value} recording does not exist; give a folder of images or a video")
    if path.is_dir() or is_image(path):
        return open_folder(path, modality)
    from streamfuse.sources.recording_video import open_video

    return open_video(path, modality)


def _timelines(
    pictures: tuple[Pictures, Pictures], sidecars: tuple[Path | None, Path | None], rate_hz: float | None
) -> tuple[_Timeline, _Timeline, tuple[str, ...]]:
    """Times of both recordings, and what to know about them."""
    if sidecars == (None, None) and all(isinstance(one, FolderPictures) for one in pictures):
        ranks = pair_by_names(pictures[0].names, pictures[1].names)
        rate = rate_hz or IMAGE_RATE_HZ
        return (
            _Timeline(even_times_ns(ranks.thermal, rate), False),
            _Timeline(even_times_ns(ranks.rgb, rate), False),
            ranks.warnings,
        )
    first, second = (_timeline(one, sidecar, rate_hz) for one, sidecar in zip(pictures, sidecars, strict=True))
    told = (*first.warnings, *second.warnings)
    if first.exact != second.exact:
        told += (f"only the {'thermal' if first.exact else 'visible'} recording has times: both start together",)
        if first.exact:
            second = second.starting_at(first.times_ns[0])
        else:
            first = first.starting_at(second.times_ns[0])
    return first, second, (*told, *_length_warnings(first, second))


def _timeline(pictures: Pictures, sidecar: Path | None, rate_hz: float | None) -> _Timeline:
    if sidecar is not None:
        read = read_sidecar(sidecar, pictures.names)
        warnings = (f"{sidecar}: {read.unused} rows belong to no frame",) if read.unused else ()
        if rate_hz is not None:
            warnings += (f"{sidecar}: its times are used, rate_hz {rate_hz:g} is not",)
        return _Timeline(read.times_ns, True, warnings)
    if pictures.times_ns is not None and rate_hz is None:
        return _Timeline(pictures.times_ns, True)
    return _Timeline(even_times_ns(range(len(pictures.names)), rate_hz or IMAGE_RATE_HZ), False)


def _length_warnings(thermal: _Timeline, rgb: _Timeline) -> tuple[str, ...]:
    """Tell where the recordings do not cover the same time, beyond one period of the slower one."""
    if thermal.times_ns[0] > rgb.end_ns or rgb.times_ns[0] > thermal.end_ns:
        return ("the two recordings do not overlap in time: no frame will find a partner",)
    within_ns = max(thermal.period_ns, rgb.period_ns)
    edges = (("starts", thermal.times_ns[0], rgb.times_ns[0]), ("ends", thermal.end_ns, rgb.end_ns))
    return tuple(
        f"the thermal recording {verb} {abs(one - other) / 1e9:.3f} s {'later' if one > other else 'earlier'} "
        f"than the visible one ({len(thermal.times_ns)} and {len(rgb.times_ns)} frames)"
        for verb, one, other in edges
        if abs(one - other) > within_ns
    )


def _look_warnings(thermal: Look, rgb: Look) -> tuple[str, ...]:
    deep = (f"visible is {rgb.bits}-bit ({rgb.description}): its upper 8 bits are used",) if rgb.bits > 8 else ()
    if thermal.colourfulness < COLOURFUL:
        return deep
    if rgb.colourfulness < GREY:
        return (
            *deep,
            f"thermal ({thermal.description}) is coloured and visible ({rgb.description}) is grey: are they swapped?",
        )
    return (*deep, f"thermal ({thermal.description}) is coloured: its luminance is used, which is no temperature scale")
