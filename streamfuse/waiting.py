"""One camera's frames that wait for a partner, and what their stamps tell of its rhythm. Used by `sync` alone.

It knows one stream only: its queue, its period, how soon its next frame can come, how late its frames arrive.
Everything a decision needs is noted with each frame when it comes, so that it does not depend on what came since.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streamfuse.frames import Frame, Modality, Reason

SECOND_NS = 1_000_000_000
DEFAULT_RATE_HZ = 30.0

WINDOW = 16  # intervals from which a period is learnt (their median: lost frames and bursts leave it alone)
SEEDS = 3  # intervals of the nominal rate to begin with
SOONEST = 0.9  # the next interval is taken to be no shorter than this part of the shortest in the window
JUMP_PERIODS = 4  # a stamp further back than this is a restart of time, not disorder
NEAR_PERIODS = 0.75  # further than this from every frame of a stream, that stream had a hole there
LATE_RUN = 4  # more frames in a row than this behind their stream's newest are a restart too (a short loop)


class MustWait(Exception):
    """The decision hangs on a frame that has not come yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A frame in flight; `period_ns` and `soonest_ns` (shortest next interval) are what was known when it came."""

    frame: Frame
    time_ns: int
    period_ns: int
    soonest_ns: int


class Stream:
    """One camera's queue, in which times strictly rise, and its rhythm.

    `newest` is the last frame that came, waiting or not. `period_ns` is what was known at the last frame that left.
    `lag_ns`: how long after their capture frames arrive. `behind_ns`: how far the other stream is ahead of them then,
    judged by the order of arrival alone. `ended`: nothing more comes. `silent`: nothing came for a while.
    `missed_ns`: time of the first frame of the other stream that should have had a partner among what did not come.
    """

    def __init__(self, modality: Modality, rate_hz: float | None, delay_ns: int, *, predict: bool) -> None:
        self.modality = modality
        self.queue: deque[Waiting] = deque()
        self.newest: Waiting | None = None
        self.period_ns = round(SECOND_NS / (rate_hz or DEFAULT_RATE_HZ))
        self.lag_ns = self.behind_ns = 0
        self.ended = self.silent = False
        self.missed_ns: int | None = None
        self._delay_ns = delay_ns
        self._predict = predict
        self._intervals: deque[int] = deque([self.period_ns] * SEEDS if rate_hz else [], maxlen=WINDOW)
        self._late_run = 0

    def time_of(self, frame: Frame) -> int:
        return frame.capture_ns - self._delay_ns

    def objection(self, frame: Frame) -> Reason | None:
        """Why this frame does not simply follow its predecessor: DUPLICATE, LATE or RESET (time jumped back)."""
        if (newest := self.newest) is None:
            return None
        ahead_ns, jump_ns = self.time_of(frame) - newest.time_ns, JUMP_PERIODS * newest.period_ns
        if ahead_ns == 0 or (frame.sequence == newest.frame.sequence and abs(ahead_ns) <= jump_ns):
            return Reason.DUPLICATE
        if ahead_ns > 0:
            self._late_run = 0
            return None
        self._late_run += 1
        return Reason.RESET if -ahead_ns > jump_ns or self._late_run > LATE_RUN else Reason.LATE

    def add(self, frame: Frame, other: Waiting | None) -> None:
        """Queue a frame without objection; `other` is the other stream's newest."""
        time_ns = self.time_of(frame)
        if self.newest is not None:
            self._intervals.append(time_ns - self.newest.time_ns)
        known = sorted(self._intervals)
        period_ns = known[(len(known) - 1) // 2] if known else self.period_ns
        soonest_ns = int(SOONEST * known[0]) if known and self._predict else 0
        self.newest = Waiting(frame, time_ns, period_ns, soonest_ns)
        self.queue.append(self.newest)
        self._note_arrival(time_ns, frame.stamps.get("captured", frame.capture_ns), other)
        self.ended = self.silent = False
        self.missed_ns = None

    def note_other(self, time_ns: int) -> None:
        """The other stream gave a frame of this time."""
        newest = self.newest
        if self.missed_ns is None and newest and time_ns - newest.time_ns > NEAR_PERIODS * newest.period_ns:
            self.missed_ns = time_ns

    def _note_arrival(self, time_ns: int, arrived_ns: int, other: Waiting | None) -> None:
        behind_ns = other.time_ns - time_ns if other else 0
        self.behind_ns = _follow(self.behind_ns, behind_ns if 0 < behind_ns < SECOND_NS else 0)
        self.lag_ns = _follow(self.lag_ns, max(arrived_ns - time_ns, self.behind_ns))

    def restart(self) -> None:
        """Time begins anew; the rhythm is kept."""
        self.newest = self.missed_ns = None
        self._late_run = 0

    def take(self) -> Waiting:
        """Remove the oldest frame; from now on the stream's period is what was known at that frame."""
        entry = self.queue.popleft()
        self.period_ns = entry.period_ns
        return entry

    def nearest(self, time_ns: int, start: int, end: int | None, *, until_ns: int, final: bool) -> int:
        """Index of the waiting frame nearest to `time_ns`, from `start` on and before `end`; the earlier one on a tie.

        Looks no further than `until_ns`. Raises MustWait while a frame still to come could be nearer.
        """
        index = start
        while end is None or index + 1 < end:
            here = self.queue[index]
            gap_ns, soonest_ns = abs(here.time_ns - time_ns), here.time_ns + here.soonest_ns
            if soonest_ns - time_ns >= gap_ns or soonest_ns > until_ns:
                break
            if index + 1 == len(self.queue):
                if final or self.ended:
                    break
                raise MustWait
            following_ns = self.queue[index + 1].time_ns
            if abs(following_ns - time_ns) >= gap_ns or following_ns > until_ns:
                break
            index += 1
        return index


def _follow(old_ns: int, new_ns: int) -> int:
    """Up at once, down slowly."""
    return max(new_ns, old_ns - (old_ns - new_ns) // 16)
