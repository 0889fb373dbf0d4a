"""Supervision: a live source that stalls or breaks is torn down, built anew, and picked up again.

It knows no camera and no protocol, only a way to make the source once more. All times are the monotonic clock's.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost, StreamfuseError, UserError
from streamfuse.frames import DroppedFrame, Frame, Modality
from streamfuse.opening import Opening, OpenSource, Stalled
from streamfuse.sources import SourceChange, SourceInfo, SourceItem, SourceState

MOST_STUCK = 3  # openings may hang in a driver before the next one waits for them
LEAVE_S = 0.4  # what leaving gives the threads to close their source


@dataclass(frozen=True, slots=True)
class Patience:
    """When a source counts as stalled, and how long to wait before it is opened anew.

    The wait is a share of the time that the source has been gone, so that a short break ends soon and a long one costs
    little; less up to a quarter, at random, so that two cameras behind one switch do not call in step.
    """

    stall_s: float | None = None  # without a frame until that is told; None = five periods, at least half a second
    give_up_s: float = 3.0  # from there until it is torn down, unless the source itself gives up before
    connect_s: float = 10.0  # to open, and from there to the first frame
    begin_s: float = 30.0  # for the first opening of a source of which nothing is known beforehand
    steady_s: float = 5.0  # live for so long, a source has recovered; a shorter life is part of the same break
    first_wait_s: float = 0.25
    most_wait_s: float = 10.0
    share: float = 0.2

    def wait_s(self, gone_s: float, chance: float) -> float:
        """Wait before the next opening, `gone_s` after the last steady moment; `chance` in [0, 1)."""
        return min(max(self.first_wait_s, self.share * gone_s), self.most_wait_s) * (1 - chance / 4)

    def stall_limit_s(self, rate_hz: float) -> float:
        return self.stall_s if self.stall_s is not None else max(5 / rate_hz, 0.5)


class SupervisedSource:
    """A live source that outlives its failures; fulfils `FrameSource`, and yields every change of its state as well.

    open_source: makes the source, each time a new one. expected: what is known of it beforehand; with it, entering
    waits for one try only and a run may begin without this camera. Without it, entering waits until the camera opens.

    Entering raises UserError where the source can never work as asked. Afterwards nothing is final: every error is
    told in a `SourceChange` and another try follows. Sequence numbers go on rising over all openings. A source that
    comes back with another image size is refused like one that does not open: the maps are made for the first size.
    """

    def __init__(
        self,
        modality: Modality,
        open_source: OpenSource,
        *,
        expected: SourceInfo | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._modality = modality
        self._open_source = open_source
        self._info = expected
        self._patience = patience or Patience()
        self._opening: Opening | None = None
        self._openings: list[Opening] = []  # whose threads may still run
        self._missed: deque[SourceChange] = deque()  # changes from before the iteration
        self._closed = threading.Event()
        self._state = SourceState.CONNECTING
        self._changed_ns = self._steady_ns = (
            now_ns()
        )  # of the state; the last moment of a steady life, or the beginning
        self._sequence = 0

    @property
    def modality(self) -> Modality:
        return self._modality

    @property
    def info(self) -> SourceInfo:
        assert self._info is not None, "known once the source is open"
        return self._info

    def __enter__(self) -> SupervisedSource:
        self._steady_ns = now_ns()
        try:
            while not self._begin() and self._info is None:
                self._check_patience()
                self._pause()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        deadline_ns = now_ns() + round(LEAVE_S * 1e9)
        for opening in self._openings:
            opening.join(max(0.0, (deadline_ns - now_ns()) / 1e9))

    def close(self) -> None:
        self._closed.set()
        if (opening := self._opening) is not None:
            opening.end()

    def __iter__(self) -> Iterator[SourceItem]:
        yield from self._missed
        while not self._closed.is_set():
            try:
                yield from self._frames()
            except Exception as error:  # whatever it is, the next opening may do without it
                if not self._closed.is_set():
                    yield self._change(SourceState.FAILED, error)
            self._tear_down()
            self._pause()

    def _frames(self) -> Iterator[SourceItem]:
        """What one opening gives. Raises what ended it, unless that was `close`."""
        if self._opening is None:
            yield self._change(SourceState.CONNECTING)
        opening = self._opening or self._open()
        self._check_size(opening.opened(self._patience.connect_s))
        offset: int | None = None
        while True:
            try:
                item = opening.take(self._limit_s())
            except Stalled as error:
                if self._state is not SourceState.LIVE:
                    raise
                yield self._change(SourceState.STALLED, error)
                continue
            if item is None:
                break
            if isinstance(item, SourceChange):
                continue
            if self._state is not SourceState.LIVE:
                yield self._change(SourceState.LIVE)
            offset = self._sequence - item.sequence if offset is None else offset
            yield self._passed_on(item, item.sequence + offset)
        if not self._closed.is_set():
            raise SourceLost("the stream ended although it is live")

    def _passed_on(self, item: Frame | DroppedFrame, sequence: int) -> Frame | DroppedFrame:
        self._sequence = sequence + 1
        if now_ns() - self._changed_ns >= self._patience.steady_s * 1e9:
            self._steady_ns = now_ns()
        return replace(item, sequence=sequence)

    def _limit_s(self) -> float:
        """How long to wait for the next frame, as things are."""
        if self._state is SourceState.LIVE:
            return self._patience.stall_limit_s(self.info.rate_hz)
        return self._patience.give_up_s if self._state is SourceState.STALLED else self._patience.connect_s

    # -- openings ---------------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """One try to open: True when the source is open, or still at it while enough is known to begin without it."""
        if not self._missed:
            self._missed.append(self._change(SourceState.CONNECTING))
        try:
            self._info = self._open().opened(self._patience.connect_s)
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, Stalled) and self._info is not None:
                return True
            self._missed.append(self._change(SourceState.FAILED, error))
            self._tear_down()
            return False
        return True

    def _check_patience(self) -> None:
        if self._closed.is_set() or now_ns() - self._steady_ns > self._patience.begin_s * 1e9:
            raise UserError(
                f"{self._modality.value}: asked to open the camera, tried for {self._patience.begin_s:g} s, found: "
                f"{self._missed[-1].why}; connect it, or give its size in the run file to begin without it"
            )

    def _check_size(self, opened: SourceInfo) -> None:
        if opened.size != self.info.size:
            (width, height), (was_width, was_height) = opened.size, self.info.size
            raise SourceLost(
                f"it gives {width}x{height} now, the run began with {was_width}x{was_height}; "
                "set the camera back, or start the run anew"
            )

    def _open(self) -> Opening:
        self._openings = [each for each in self._openings if each.is_alive]
        if len(self._openings) >= MOST_STUCK:
            raise SourceLost(f"{len(self._openings)} earlier openings hang in their driver; connect the camera anew")
        self._opening = Opening(self._open_source, f"{self._modality.value}-camera")
        self._openings.append(self._opening)
        if self._closed.is_set():
            self._opening.end()
        return self._opening

    def _tear_down(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.end()

    def _pause(self) -> None:
        gone_s = (now_ns() - self._steady_ns) / 1e9
        self._closed.wait(self._patience.wait_s(gone_s, random.random()))

    def _change(self, state: SourceState, error: Exception | None = None) -> SourceChange:
        self._state, self._changed_ns = state, now_ns()
        return SourceChange(self._modality, state, self._changed_ns, "" if error is None else _told(error))


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, StreamfuseError) else f"{type(error).__name__}: {error}"
