"""PairMatcher: two streams of frames in; pairs, lone frames and drops out. Pure: no thread, no clock, no files.

The reference is the slower stream. A reference frame is paired with the nearest frame of the other stream, closest
pairs first and never crossing, as soon as no frame still to come could change that choice. The matcher reads its two
queues like a blocking process: what it decides depends on the stamps alone, not on which camera's frame came first.
Only three things hurry it: a full queue, `advance` (the caller's time) and `end`.

"Time" in this file is capture time, less the rig's known delay for thermal frames.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import ceil
from statistics import median_low

from streamfuse.errors import UserError
from streamfuse.frames import DroppedFrame, Frame, FramePair, LoneFrame, Modality, Reason

Outcome = FramePair | LoneFrame | DroppedFrame

SECOND_NS = 1_000_000_000
DEFAULT_RATE_HZ = 30.0
EXACT_SKEW_NS = 1_000_000
UNBOUNDED_NS = 1 << 62

WINDOW = 9  # intervals from which a period is learnt
SOONEST = 0.9  # the next interval is taken to be no shorter than this part of the shortest in the window
JUMP_PERIODS = 4  # a stamp further back than this is a restart of time, not disorder
LATE_RUN = 4  # more frames in a row than this behind their stream's newest are a restart too (a short loop)
SILENT_PERIODS = 2.5  # without a frame for so long, a stream counts as silent
NEAR_PERIODS = 0.75  # further than this from every reference frame, the reference stream had a hole there
SLOWER = 1.25  # the roles change when the other stream is slower by this factor


class Method(str, Enum):
    APPROXIMATE = "approximate"
    EXACT = "exact"
    LATEST = "latest"


class _MustWait(Exception):
    """The decision hangs on a frame that has not come yet."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A frame in flight, with what its stream's stamps had told when it came."""

    frame: Frame
    time_ns: int
    period_ns: int
    soonest_ns: int


class _Stream:
    """One camera's queue (times strictly rise in it) and what is known of its rhythm."""

    def __init__(self, modality: Modality, rate_hz: float | None, delay_ns: int, predict: bool) -> None:
        self.modality = modality
        self.delay_ns = delay_ns
        self.queue: deque[_Waiting] = deque()
        self.newest: _Waiting | None = None
        self.ended = False
        self.silent = False
        self.lag_ns = 0
        self.period_ns = round(SECOND_NS / (rate_hz or DEFAULT_RATE_HZ))
        self._predict = predict
        self._intervals: deque[int] = deque([self.period_ns] if rate_hz else [], maxlen=WINDOW)
        self._late_run = 0

    def time_of(self, frame: Frame) -> int:
        return frame.capture_ns - self.delay_ns

    def objection(self, frame: Frame) -> Reason | None:
        """Why this frame does not simply follow its predecessor."""
        if self.newest is None:
            return None
        newest, ahead_ns = self.newest, self.time_of(frame) - self.newest.time_ns
        jump_ns = JUMP_PERIODS * newest.period_ns
        if ahead_ns == 0 or (frame.sequence == newest.frame.sequence and abs(ahead_ns) <= jump_ns):
            return Reason.DUPLICATE
        self._late_run = self._late_run + 1 if ahead_ns < 0 else 0
        if ahead_ns > 0:
            return None
        return Reason.RESET if -ahead_ns > jump_ns or self._late_run > LATE_RUN else Reason.LATE

    def add(self, frame: Frame) -> None:
        time_ns = self.time_of(frame)
        if self.newest is not None:
            self._intervals.append(time_ns - self.newest.time_ns)
        known = self._intervals
        period_ns = median_low(known) if known else self.period_ns
        soonest_ns = int(SOONEST * min(known)) if known and self._predict else 0
        self.newest = _Waiting(frame, time_ns, period_ns, soonest_ns)
        self.queue.append(self.newest)
        self._note_arrival(frame.stamps.get("captured", frame.capture_ns) - time_ns)
        self.ended = self.silent = False
        self._late_run = 0

    def _note_arrival(self, lag_ns: int) -> None:
        """Follow the delay between capture and arrival: up at once, down slowly."""
        self.lag_ns = max(lag_ns, self.lag_ns - (self.lag_ns - lag_ns) // 16)

    def take(self) -> _Waiting:
        """Remove the oldest frame; from now on the stream's period is what was known at that frame."""
        entry = self.queue.popleft()
        self.period_ns = entry.period_ns
        return entry

    def nearest(self, time_ns: int, start: int, end: int | None, until_ns: int, final: bool) -> int:
        """Index of the waiting frame nearest to `time_ns`, from `start` on and before `end`; the earlier one on a tie.

        Looks no further than `until_ns`. Raises _MustWait while a frame still to come could be nearer.
        """
        index = start
        while end is None or index + 1 < end:
            here = self.queue[index]
            gap_ns, next_ns = abs(here.time_ns - time_ns), here.time_ns + here.soonest_ns
            if next_ns - time_ns >= gap_ns or next_ns > until_ns:
                break
            if index + 1 == len(self.queue):
                if final or self.ended:
                    break
                raise _MustWait
            following_ns = self.queue[index + 1].time_ns
            if abs(following_ns - time_ns) >= gap_ns or following_ns > until_ns:
                break
            index += 1
        return index


class PairMatcher:
    """Pairs thermal and RGB frames in time; every frame pushed leaves through exactly one outcome.

    method "approximate": nearest partner, one to one. "exact": stamps equal within `max_skew_ns` (1 ms unless given).
    "latest": each reference frame at once with the newest of the other stream, bounded only if `max_skew_ns` is given.

    max_skew_ns: no pair is further apart; None = half the shorter period, learnt from the stamps (with `reuse`: half
    the longer one and a tenth more). The nominal rates only seed what is learnt.
    reuse: the faster stream is the reference and a frame of the slower one may serve several times (`held`).
    depth: how many reference periods may wait in a queue; None = ceil(bound / period) + 2, at least 3, and more
    where the other camera's frames arrive later (told by their "captured" stamps).

    The times of what leaves (the RGB frame's, or the lone frame's) strictly rise, until time itself jumps back: in
    one stream (a restart; what is in flight leaves as RESET), or by more than a second between the two streams.
    Raises UserError for an argument that makes no sense.
    """

    def __init__(
        self,
        *,
        method: str = "approximate",
        thermal_delay_ns: int = 0,
        max_skew_ns: int | None = None,
        thermal_rate_hz: float | None = None,
        rgb_rate_hz: float | None = None,
        reuse: bool = False,
        depth: int | None = None,
    ) -> None:
        _check(method, max_skew_ns, thermal_rate_hz, rgb_rate_hz, depth)
        self._method = Method(method)
        self._max_skew_ns = max_skew_ns
        self._reuse = reuse
        self._depth = depth
        self._rates = {Modality.THERMAL: thermal_rate_hz, Modality.RGB: rgb_rate_hz}
        self._delays = {Modality.THERMAL: thermal_delay_ns, Modality.RGB: 0}
        self._begin()

    def _begin(self) -> None:
        predict = self._method is Method.APPROXIMATE
        self._streams = {m: _Stream(m, self._rates[m], self._delays[m], predict) for m in Modality}
        thermal, rgb = self._streams[Modality.THERMAL], self._streams[Modality.RGB]
        rgb_leads = rgb.period_ns < thermal.period_ns if self._reuse else rgb.period_ns > thermal.period_ns
        self._reference, self._other = (rgb, thermal) if rgb_leads else (thermal, rgb)
        self._held: _Waiting | None = None
        self._restart_times()

    def _restart_times(self) -> None:
        self._left_ns: int | None = None  # time of the newest output
        self._decided_ns: int | None = None  # time of the newest decided reference frame
        self._gave_up_ns: int | None = None  # time of the newest frame that left alone because it could not wait

    @property
    def in_flight(self) -> int:
        """Frames pushed that have not left yet."""
        return sum(entry is not self._held for stream in self._streams.values() for entry in stream.queue)

    @property
    def reference(self) -> Modality:
        """The stream whose frames are decided one by one."""
        return self._reference.modality

    def push(self, frame: Frame) -> list[Outcome]:
        """Take one frame; what can be decided now leaves."""
        stream = self._streams[frame.modality]
        objection = stream.objection(frame)
        if objection is Reason.DUPLICATE:
            return [_dropped(frame, objection)]
        if objection is Reason.LATE:
            return [_dropped(frame, objection, "out of order in its own stream")]
        outcomes = self._restart(stream, stream.time_of(frame)) if objection is Reason.RESET else []
        stream.add(frame)
        return outcomes + self._run()

    def advance(self, now_ns: int) -> list[Outcome]:
        """Let the caller's (monotonic) time pass: what has waited past its deadline, one period, leaves."""
        for stream in self._streams.values():
            if (newest := stream.newest) is not None:
                overdue_ns = now_ns - newest.time_ns - max(stream.lag_ns, 0)
                stream.silent = overdue_ns > SILENT_PERIODS * newest.period_ns
        return self._run(now_ns)

    def end(self, modality: Modality) -> list[Outcome]:
        """Nothing more comes from this stream; a frame pushed later opens it again."""
        self._streams[modality].ended = True
        return self._run()

    def flush(self) -> list[Outcome]:
        """Both streams have ended: everything in flight leaves."""
        return self.end(Modality.THERMAL) + self.end(Modality.RGB)

    def reset(self) -> list[Outcome]:
        """Forget everything learnt; what is in flight leaves as RESET."""
        outcomes = [outcome for stream in self._streams.values() for outcome in self._empty(stream, "matcher reset")]
        self._begin()
        return outcomes

    # -- one decision after the other -------------------------------------------------------------------------------

    def _run(self, now_ns: int | None = None) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while (step := self._step(now_ns)) is not None:
            outcomes += step
        return outcomes

    def _step(self, now_ns: int | None) -> list[Outcome] | None:
        """What the next decision lets go; None while it has to wait."""
        overdue = self._overdue(now_ns)
        crowded = any(len(stream.queue) > self._room(stream) for stream in self._streams.values())
        if self._reference.queue:
            return self._decide(overdue or crowded)
        if self._other.queue and (overdue or self._reference.ended):
            return self._pass_over(None)
        if self._other.queue and crowded:
            return self._pass_over(None, crowded=True)
        return None

    def _decide(self, final: bool) -> list[Outcome] | None:
        """Pair the oldest reference frame, let it go alone, or pass over a frame it has no use for."""
        reference, other = self._reference.queue[0], self._other.queue
        bound_ns = self._bound_ns(reference)
        if self._is_past(reference.time_ns):
            return [_dropped(self._reference.take().frame, Reason.LATE, "its time had been decided")]
        if other and (other[0].time_ns < reference.time_ns - bound_ns or self._is_past(other[0].time_ns)):
            return self._pass_over(reference)
        try:
            partner = self._partner(reference, bound_ns, final)
        except _MustWait:
            return None
        return self._leave_alone(bound_ns, final) if partner is None else self._leave_paired(partner)

    def _partner(self, reference: _Waiting, bound_ns: int, final: bool) -> int | None:
        """Index of the oldest reference frame's partner in the other queue, None where there is none.

        Closest first, never crossing: from frame to nearest frame, to and fro, distances shrink until two frames are
        each other's nearest. If the first reference frame is not one of the two, only what lies before them is left.
        """
        ours, theirs = self._reference, self._other
        if not theirs.queue:
            if final or theirs.ended or self._method is Method.LATEST:
                return None
            raise _MustWait
        if self._method is Method.LATEST:
            newest = len(theirs.queue) - 1
            return newest if abs(theirs.queue[newest].time_ns - reference.time_ns) <= bound_ns else None
        until_ns = reference.time_ns + 2 * reference.period_ns
        ours_end: int | None = None
        theirs_end: int | None = None
        while theirs_end != 0:
            i, j = 0, theirs.nearest(reference.time_ns, 0, theirs_end, until_ns, final)
            if abs(theirs.queue[j].time_ns - reference.time_ns) > bound_ns:
                return None
            if self._reuse:
                return j
            while (rival := ours.nearest(theirs.queue[j].time_ns, i, ours_end, until_ns, final)) != i:
                i, before = rival, j
                j = theirs.nearest(ours.queue[i].time_ns, j, theirs_end, until_ns, final)
                if j == before:
                    break
            if i == 0:
                return j
            ours_end, theirs_end = i, j
        return None

    # -- ways to leave ----------------------------------------------------------------------------------------------

    def _leave_paired(self, partner: int) -> list[Outcome]:
        reference = self._reference.queue[0]
        outcomes: list[Outcome] = []
        for _ in range(partner):
            outcomes += self._pass_over(reference)
        self._reference.take()
        found = self._other.queue[0] if self._reuse else self._other.take()
        held, self._held = self._held is found, found if self._reuse else None
        swap = self._reference.modality is Modality.RGB
        thermal, rgb = (found, reference) if swap else (reference, found)
        self._left_ns = reference.time_ns if self._reuse else rgb.time_ns
        self._close(reference)
        skew_ns = thermal.time_ns - rgb.time_ns
        return [*outcomes, FramePair(thermal=thermal.frame, rgb=rgb.frame, skew_ns=skew_ns, held=held)]

    def _leave_alone(self, bound_ns: int, final: bool) -> list[Outcome]:
        reference, theirs = self._reference.take(), self._other
        newest_ns = theirs.newest.time_ns if theirs.newest else -UNBOUNDED_NS
        why = f"no partner within {bound_ns / 1e6:.1f} ms"
        if theirs.ended and not theirs.queue:
            why = "the other stream has ended"
        elif not theirs.queue and reference.time_ns - newest_ns > 2 * theirs.period_ns:
            why = "the other stream is silent"
        if final and not theirs.queue:
            self._gave_up_ns = reference.time_ns
        self._close(reference)
        return [self._alone(reference, why)]

    def _pass_over(self, following: _Waiting | None, *, crowded: bool = False) -> list[Outcome]:
        """Let the oldest frame of the other stream go unpaired; `following` is the reference frame after it."""
        ours, entry = self._reference, self._other.take()
        if entry is self._held:
            self._held = None
            return []
        near = [self._decided_ns, following.time_ns if following else None]
        reach_ns = NEAR_PERIODS * (following or ours).period_ns
        if self._gave_up_ns is not None and self._is_past(entry.time_ns) and entry.time_ns <= self._gave_up_ns:
            return [_dropped(entry.frame, Reason.LATE, "its time had been decided")]
        if any(time_ns is not None and abs(entry.time_ns - time_ns) <= reach_ns for time_ns in near):
            return [_dropped(entry.frame, Reason.SURPLUS)]
        if crowded and self._expects_reference():
            return [_dropped(entry.frame, Reason.OVERFLOW)]
        if following is None:
            self._gave_up_ns = entry.time_ns
        ended = ours.ended and not ours.queue
        return [self._alone(entry, "the other stream has ended" if ended else "the other stream is silent")]

    def _alone(self, entry: _Waiting, why: str) -> Outcome:
        if self._is_past(entry.time_ns):
            return _dropped(entry.frame, Reason.LATE, "its time had been decided")
        self._left_ns = entry.time_ns
        return LoneFrame(frame=entry.frame, why=why)

    def _close(self, reference: _Waiting) -> None:
        """A reference frame is decided; see whether the other stream has become the better reference."""
        self._decided_ns = reference.time_ns
        slow, fast = self._reference.period_ns, self._other.period_ns
        if self._reuse:
            slow, fast = fast, slow
        if fast > SLOWER * slow:
            self._reference, self._other = self._other, self._reference
            if self._held is not None:
                self._reference.take()
                self._held = None

    def _restart(self, stream: _Stream, time_ns: int) -> list[Outcome]:
        """Time jumped back in one stream: what waits from before the jump leaves; what is near the new time stays."""
        other = self._streams[stream.modality.other]
        after_ns = time_ns + JUMP_PERIODS * max(stream.period_ns, other.period_ns)
        outcomes = self._empty(stream, "time jumped back")
        if other.queue and other.queue[-1].time_ns > after_ns:
            outcomes += self._empty(other, "time jumped back in the other stream")
        stream.newest = None
        self._restart_times()
        return outcomes

    def _empty(self, stream: _Stream, detail: str) -> list[Outcome]:
        entries = [entry for entry in stream.queue if entry is not self._held]
        if len(entries) < len(stream.queue):
            self._held = None
        stream.queue.clear()
        return [_dropped(entry.frame, Reason.RESET, detail) for entry in entries]

    # -- bounds -----------------------------------------------------------------------------------------------------

    def _bound_ns(self, reference: _Waiting) -> int:
        if self._max_skew_ns is not None:
            return self._max_skew_ns
        if self._method is not Method.APPROXIMATE:
            return EXACT_SKEW_NS if self._method is Method.EXACT else UNBOUNDED_NS
        periods_ns = reference.period_ns, self._other.period_ns
        return round(0.55 * max(periods_ns)) if self._reuse else min(periods_ns) // 2

    def _room(self, stream: _Stream) -> int:
        """How many frames of this stream may wait."""
        other, period_ns = self._streams[stream.modality.other], stream.period_ns
        bound_ns = min(self._max_skew_ns or 0, SECOND_NS)
        depth = self._depth or max(3, ceil(bound_ns / self._reference.period_ns) + 2)
        later_ns = min(max(other.lag_ns - stream.lag_ns, 0), SECOND_NS)
        return ceil((depth * max(self._reference.period_ns, period_ns) + later_ns) / period_ns)

    def _overdue(self, now_ns: int | None) -> bool:
        """Has the oldest frame waited long enough? Yes where the stream it waits for is silent, or by deadline."""
        ours, theirs = (self._reference, self._other) if self._reference.queue else (self._other, self._reference)
        if theirs.silent or not ours.queue:
            return theirs.silent
        due_ns = ours.queue[0].time_ns + max(ours.lag_ns, theirs.lag_ns, 0) + self._reference.period_ns
        return now_ns is not None and now_ns >= due_ns

    def _expects_reference(self) -> bool:
        ours, theirs = self._reference.newest, self._other.newest
        return ours is not None and theirs is not None and theirs.time_ns - ours.time_ns <= 1.5 * ours.period_ns

    def _is_past(self, time_ns: int) -> bool:
        """Has an output of this time or a later one left? (More than a second later: another time, no comparison.)"""
        return self._left_ns is not None and 0 <= self._left_ns - time_ns < SECOND_NS


def _dropped(frame: Frame, reason: Reason, detail: str = "") -> Outcome:
    return DroppedFrame(
        modality=frame.modality,
        sequence=frame.sequence,
        reason=reason,
        capture_ns=frame.capture_ns,
        recording_ns=frame.recording_ns,
        detail=detail,
    )


def _check(
    method: str,
    max_skew_ns: int | None,
    thermal_rate_hz: float | None,
    rgb_rate_hz: float | None,
    depth: int | None,
) -> None:
    methods = [known.value for known in Method]
    if method not in methods:
        raise UserError(f"matching method: asked for {method!r}, known are {', '.join(methods)}; choose one of these")
    limits = {"max_skew_ns": (max_skew_ns, 0), "depth": (depth, 1)}
    for name, (value, least) in limits.items():
        if value is not None and value < least:
            raise UserError(f"{name}: found {value}, must be at least {least}; leave it out for the default")
    for name, rate in {"thermal_rate_hz": thermal_rate_hz, "rgb_rate_hz": rgb_rate_hz}.items():
        if rate is not None and not 0 < rate < float("inf"):
            raise UserError(f"{name}: found {rate}, must be above 0; leave it out where the rate is not known")
