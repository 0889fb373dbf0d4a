"""Device clock -> this machine's clock: offset and drift of one stream, learnt from stamps and arrivals.

A frame arrives some delay after its device stamped it. The delay varies, but it has a floor; the floor moves only as
fast as the two clocks drift apart. The line under all delays is therefore the mapping. It is the one closest to the
delays from below (S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay
measurements", INFOCOM 1999), here over the shortest delay of each second of the last minute.

Pure: it asks no clock, knows no source and no frame. What it cannot see is the floor itself: a delay that every frame
has is part of the result. (The rig's `thermal_delay_ns` takes up the difference of two such delays.) So it is for
stamps of another clock; stamps that are on the monotonic clock already should not pass through here.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from streamfuse.frames import Clock

SECOND_NS = 1_000_000_000
WINDOW_NS = SECOND_NS  # the shortest delay of each window counts
HISTORY_NS = 60 * SECOND_NS  # windows older than this are forgotten; a silence of this length forgets everything
MOST_DRIFT = 1000e-6  # of two clocks that are worth comparing
JUMP_PERIODS = 5  # a delay shorter by more than this, or a stamp so far back: a clock was set
STUBBORN_WINDOWS = 3  # a window without a frame less late than that is not believed; so many: a clock was set
SETTLED_WINDOWS = 5  # before so many windows nothing is known about drift
TRUSTED_PERIODS = 0.5  # with a larger error the stamps are worth no more than the arrival
SLEW_S = 1.0  # a correction is spread over about this long
MOST_SLEW = 0.1  # and never changes an interval by more than this part of it


@dataclass(frozen=True, slots=True)
class MappedTime:
    """A capture time on this machine's monotonic clock, how wrong it may be, and which clock it rests on.

    `origin` is ARRIVAL as long as the device's clock is not (or no longer) understood; `capture_ns` is then the
    arrival, smoothed where stamps allow. It rises with the device's stamps either way, and steps only where a clock
    was set, not because `origin` changes.
    """

    capture_ns: int
    error_ns: int
    origin: Clock

    @property
    def valid(self) -> bool:
        """Does the time rest on the device's clock?"""
        return self.origin is not Clock.ARRIVAL


class ClockMapping:
    """Maps one stream's device times: `map(device_ns, arrival_ns)` once for each frame, in order of arrival.

    origin: what the device's stamps are (sensor, driver, rtp_sender). period_ns: the stream's nominal frame interval,
    by which jumps are told from delays. One instance a stream and opening; `reset` makes it as new.
    """

    def __init__(self, origin: Clock, *, period_ns: int) -> None:
        self._origin = origin
        self._period_ns = period_ns
        self._jump_ns = JUMP_PERIODS * period_ns
        self._last_ns: int | None = None  # newest output
        self.resets = 0
        self._forget()

    def reset(self) -> None:
        """The device started anew: nothing learnt so far holds."""
        self._last_ns = None
        self._forget()

    def map(self, device_ns: int | None, arrival_ns: int) -> MappedTime:
        """The capture time of a frame stamped `device_ns` (None: without a stamp) that arrived at `arrival_ns`."""
        if device_ns is None:
            self._last_ns = arrival_ns if self._last_ns is None else max(arrival_ns, self._last_ns + 1)
            return MappedTime(self._last_ns, self._period_ns, Clock.ARRIVAL)
        if self._jumped(device_ns, arrival_ns):
            self.resets += 1
            self._forget()
        self._learn(Delay(device_ns, arrival_ns - device_ns))
        return self._mapped(device_ns)

    # -- what is learnt ---------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._floor: _Line | None = None
        self._windows: deque[Delay] = deque()  # the shortest delay of each closed window
        self._shortest: Delay | None = None  # of the open window
        self._longest_ns = 0  # longest delay of the open window
        self._closes_ns = 0  # when the open window closes, by arrival
        self._spread_ns = self._period_ns  # how much delays varied in the newest window
        self._residual_ns = 0
        self._late_ns = 0  # how far above the line all frames of the newest window were, where that is implausible
        self._correction_ns = 0  # what the outputs are off the line; paid back bit by bit
        self._newest_ns: int | None = None  # newest device time
        self._arrived_ns = 0

    def _jumped(self, device_ns: int, arrival_ns: int) -> bool:
        """Was a clock set, as far as one frame can tell? A late frame is no jump: delays grow when a link stalls."""
        if self._floor is None or self._newest_ns is None:
            return False
        back = self._newest_ns - device_ns > self._jump_ns
        too_early = arrival_ns - device_ns < self._floor.delay_at(device_ns) - self._jump_ns
        return back or too_early or arrival_ns - self._arrived_ns > HISTORY_NS

    def _learn(self, sample: Delay) -> None:
        arrival_ns = sample.device_ns + sample.delay_ns
        self._arrived_ns = arrival_ns
        if self._shortest is not None and arrival_ns >= self._closes_ns:
            self._close_window(sample.device_ns)
        if self._shortest is None:
            self._shortest, self._longest_ns, self._closes_ns = sample, sample.delay_ns, arrival_ns + WINDOW_NS
        self._longest_ns = max(self._longest_ns, sample.delay_ns)
        if sample.delay_ns < self._shortest.delay_ns:
            self._shortest = sample
        if self._floor is None or sample.delay_ns < self._floor.delay_at(sample.device_ns):
            self._fit([*self._windows, sample], sample.device_ns)

    def _close_window(self, device_ns: int) -> None:
        assert self._shortest is not None, "a window has at least one frame"
        self._windows.append(self._shortest)
        self._spread_ns = self._longest_ns - self._shortest.delay_ns
        self._shortest = None
        while len(self._windows) > 1 and self._windows[0].device_ns < device_ns - HISTORY_NS:
            self._windows.popleft()
        if self._stubborn():
            self.resets += 1
            newest = self._windows[-1]
            self._windows.clear()
            self._windows.append(newest)
            self._floor = None
        self._fit(self._windows, device_ns)
        while len(self._windows) > 1 and self._residual_ns > TRUSTED_PERIODS * self._period_ns:
            self._windows.popleft()  # drifts faster than a clock can: only the newest delays mean anything
            self._fit(self._windows, device_ns)

    def _stubborn(self) -> bool:
        """Have all frames been far above the floor for some windows?"""
        newest = list(self._windows)[-STUBBORN_WINDOWS:]
        floor = self._floor
        return (
            floor is not None
            and len(newest) == STUBBORN_WINDOWS
            and all(each.delay_ns > floor.delay_at(each.device_ns) + self._jump_ns for each in newest)
        )

    def _fit(self, delays: Iterable[Delay], device_ns: int) -> None:
        """Take a new line; outputs go on from where they are and move over to it."""
        before, self._floor = self._floor, floor_under(delays)
        if before is not None:
            self._correction_ns += before.delay_at(device_ns) - self._floor.delay_at(device_ns)
        above = [each.delay_ns - self._floor.delay_at(each.device_ns) for each in self._windows]
        self._residual_ns = round(2 * median(above)) if above else 0
        self._late_ns = above[-1] if above and above[-1] > self._jump_ns else 0

    # -- what is told -----------------------------------------------------------------------------------------------

    def _mapped(self, device_ns: int) -> MappedTime:
        assert self._floor is not None, "learning from a frame gives a line"
        self._pay_back(device_ns)
        capture_ns = device_ns + self._floor.delay_at(device_ns) + self._correction_ns
        follows = self._newest_ns is None or device_ns > self._newest_ns
        if follows and self._last_ns is not None and capture_ns <= self._last_ns:  # a frame without a stamp came before
            self._correction_ns += self._last_ns + 1 - capture_ns
            capture_ns = self._last_ns + 1
        self._newest_ns = max(self._newest_ns or device_ns, device_ns)
        self._last_ns = max(self._last_ns or capture_ns, capture_ns)
        error_ns = self._residual_ns + self._late_ns + abs(self._correction_ns)
        if len(self._windows) < SETTLED_WINDOWS or error_ns > TRUSTED_PERIODS * self._period_ns:
            return MappedTime(capture_ns, error_ns + self._spread_ns, Clock.ARRIVAL)
        return MappedTime(capture_ns, error_ns, self._origin)

    def _pay_back(self, device_ns: int) -> None:
        passed_ns = max(0, device_ns - self._newest_ns) if self._newest_ns is not None else 0
        share = min(1.0, passed_ns / (SLEW_S * SECOND_NS))
        most_ns = MOST_SLEW * passed_ns
        self._correction_ns -= round(min(most_ns, max(-most_ns, self._correction_ns * share)))


@dataclass(frozen=True, slots=True)
class Delay:
    """How long after its device's stamp a frame arrived (the difference of two clocks: any size, any sign)."""

    device_ns: int
    delay_ns: int


@dataclass(frozen=True, slots=True)
class _Line:
    """delay = delay_ns + slope * (device - device_ns)."""

    device_ns: int
    delay_ns: int
    slope: float

    def delay_at(self, device_ns: int) -> int:
        return self.delay_ns + round(self.slope * (device_ns - self.device_ns))


def floor_under(delays: Iterable[Delay]) -> _Line:
    """The line under all delays that is closest to them: the edge of their lower hull below their mean time.

    Its slope is limited to `MOST_DRIFT`; then it touches one delay only. Less than half of the delays being high, at
    whichever end, leaves it alone.
    """
    points = sorted(delays, key=lambda each: each.device_ns)
    hull: list[Delay] = []
    for point in points:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    middle_ns = sum(point.device_ns for point in points) / len(points)
    edge = next(((left, right) for left, right in itertools.pairwise(hull) if right.device_ns >= middle_ns), None)
    slope = max(-MOST_DRIFT, min(MOST_DRIFT, _slope(*edge))) if edge else 0.0
    lowest = min(hull, key=lambda each: each.delay_ns - slope * (each.device_ns - hull[0].device_ns))
    return _Line(lowest.device_ns, lowest.delay_ns, slope)


def _slope(left: Delay, right: Delay) -> float:
    return (right.delay_ns - left.delay_ns) / max(1, right.device_ns - left.device_ns)
