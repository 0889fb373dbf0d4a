"""Follows the drift of an alignment during a run: twice a second, in a thread of low priority, on the newest pair.

A pair is held only while it is looked at, so that a camera with few buffers does not run dry. What is concluded is in
`correct`, `correct_belief` and `correct_limits`; here are the thread and the clock.
"""

from __future__ import annotations

import logging
import math
import threading
from types import TracebackType

from streamfuse.clock import now_ns
from streamfuse.correct import Estimator, Reading, working_grid
from streamfuse.correct_track import Tracker
from streamfuse.errors import UserError
from streamfuse.frames import Alignment, FramePair, LoneFrame, Turn
from streamfuse.priority import lower_priority
from streamfuse.register import Registrar

log = logging.getLogger(__name__)
RATE_HZ = 2.0


class Correction:
    """A context manager; `offer` it every pair. With `apply` it moves the Registrar's map, else it only says."""

    def __init__(self, registrar: Registrar, *, apply: bool, rate_hz: float = RATE_HZ) -> None:
        self._registrar, self._apply = registrar, apply
        self._period_s = 1 / rate_hz
        self._pair: FramePair | None = None
        self._wanted = False
        self._there, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="correction", daemon=True)

    def __enter__(self) -> Correction:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._there.set()
        self._thread.join(5)

    def offer(self, frames: FramePair | LoneFrame) -> None:
        """Costs nothing unless a pair is due."""
        if self._wanted and isinstance(frames, FramePair) and not frames.held:
            self._wanted, self._pair = False, frames
            self._there.set()

    def _run(self) -> None:
        lower_priority()
        try:
            self._follow()
        except UserError as error:
            log.warning("the alignment is not followed: %s", error)
        except Exception:
            log.exception("the alignment is not followed any more")
        self._registrar.alignment = Alignment()

    def _follow(self) -> None:
        registrar, depth_m, before_ns = self._registrar, self._registrar.depth_m, now_ns()
        estimator, tracker = self._estimator(), Tracker(registrar.warp.grid.size, apply=self._apply)
        while not self._end.wait(self._period_s):
            if registrar.depth_m != depth_m:
                estimator, depth_m = self._estimator(), registrar.depth_m
            reading = self._read(estimator)
            if self._end.is_set():
                return
            now = now_ns()
            told = tracker.follow(reading, (now - before_ns) / 1e9)
            before_ns = now
            if told.state != registrar.alignment.state:
                log.info("alignment %s", in_words(told))
            registrar.alignment = told
            if self._apply:
                registrar.correct(told.applied_px, told.turn.applied if told.turn else (0.0, 0.0), estimator.pivot)

    def _estimator(self) -> Estimator:
        grid = self._registrar.warp.grid
        return Estimator(self._registrar.measuring_map(working_grid(grid)), grid.size[0])

    def _read(self, estimator: Estimator) -> Reading | None:
        """Of the next pair to come; None where none comes."""
        self._there.clear()
        self._wanted = True
        self._there.wait(self._period_s)
        self._wanted, pair, self._pair = False, self._pair, None
        if pair is None:
            return None
        return estimator.read(estimator.planes(pair.thermal.pixels, pair.rgb.pixels))


def in_words(alignment: Alignment) -> str:
    """State, what was measured, and what of it is corrected."""
    turn = alignment.turn or Turn(frozen=True)
    measured, corrected = (
        f"{shift[0]:+.1f} {shift[1]:+.1f} px, roll {math.degrees(roll):+.2f} degrees, zoom {100 * zoom:+.2f} %"
        for shift, (roll, zoom) in ((alignment.drift_px, turn.drift), (alignment.applied_px, turn.applied))
    )
    return f"{alignment.state}: drift {measured}; corrected {corrected}"
