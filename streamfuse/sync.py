"""PairMatcher: two streams of frames in; pairs, lone frames and drops out. Pure: no thread, no clock, no files.

The reference is the slower stream. A reference frame is paired with the nearest frame of the other stream, closest
pairs first and never crossing, as soon as no frame still to come could change that choice. The matcher reads its two
queues like a blocking process: what it decides depends on the stamps alone, not on which camera's frame came first.
Only three things hurry it: a full queue, `advance` (the caller's time) and `end`.

"Time" in this file is capture time, less the rig's known delay for thermal frames.
"""

from __future__ import annotations

from enum import Enum
from math import ceil

from streamfuse.errors import UserError
from streamfuse.frames import DroppedFrame, Frame, FramePair, LoneFrame, Modality, Reason
from streamfuse.waiting import JUMP_PERIODS, NEAR_PERIODS, SECOND_NS, MustWait, Stream, Waiting

Outcome = FramePair | LoneFrame | DroppedFrame

EXACT_SKEW_NS = 1_000_000
UNBOUNDED_NS = 1 << 62
TOO_LATE = "its time had been decided"
SILENT_PERIODS = 2.5  # without a frame for so long, a stream counts as silent if the other one did give frames
EXPECTED_PERIODS = 1.5  # so long after its last frame the next one is still expected
HALF = 0.55  # of a period: what the nearest frame of a regular stream is never further than, with some jitter
MOST_WAITING = 64  # frames in a queue, whatever the stamps say
LOOKAHEAD_PERIODS = 3  # frames later than this do not touch a decision
SLOWER = 1.25  # the roles change when the other stream is slower by this factor


class Method(str, Enum):
    APPROXIMATE = "approximate"
    EXACT = "exact"
    LATEST = "latest"


class PairMatcher:
    """Pairs thermal and RGB frames in time; every frame pushed leaves through exactly one outcome.

    method "approximate": nearest partner, one to one. "exact": stamps equal within `max_skew_ns` (1 ms unless given).
    "latest": each reference frame at once with the newest of the other stream, bounded only if `max_skew_ns` is given.

    max_skew_ns: no pair is further apart; None = half the shorter period (with `reuse`: the longer one) and a tenth
    for jitter, learnt from the stamps. The nominal rates only seed what is learnt.
    reuse: the faster stream is the reference and a frame of the slower one may serve several times (`held`).
    depth: how many reference periods may wait in a queue; None = ceil(bound / period) + 2, at least 3. A queue may
    grow by what the other camera's frames were seen to arrive later, up to a second.

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
        self._streams = {m: Stream(m, self._rates[m], self._delays[m], predict=predict) for m in Modality}
        thermal, rgb = self._streams[Modality.THERMAL], self._streams[Modality.RGB]
        rgb_leads = rgb.period_ns < thermal.period_ns if self._reuse else rgb.period_ns > thermal.period_ns
        self._reference, self._other = (rgb, thermal) if rgb_leads else (thermal, rgb)
        self._held: Waiting | None = None
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
        stream, other = self._streams[frame.modality], self._streams[frame.modality.other]
        objection = stream.objection(frame)
        if objection is Reason.DUPLICATE:
            return [frame.dropped(objection)]
        if objection is Reason.LATE:
            return [frame.dropped(objection, "out of order in its own stream")]
        outcomes = self._restart(stream, stream.time_of(frame)) if objection is Reason.RESET else []
        stream.add(frame, other.newest)
        other.note_other(stream.time_of(frame))
        return outcomes + self._run()

    def advance(self, now_ns: int) -> list[Outcome]:
        """Let the caller's (monotonic) time pass: what has waited past its deadline, one period, leaves."""
        for stream in self._streams.values():
            if (newest := stream.newest) is not None:
                since_ns = now_ns - newest.time_ns - stream.lag_ns
                stream.silent = since_ns > SILENT_PERIODS * newest.period_ns and self._missed(stream, now_ns)
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
        if self._comes_too_late(reference):
            return [self._reference.take().frame.dropped(Reason.LATE, TOO_LATE)]
        if other and (other[0].time_ns < reference.time_ns - bound_ns or self._comes_too_late(other[0])):
            return self._pass_over(reference)
        try:
            partner = self._partner(reference, bound_ns, final)
        except MustWait:
            return None
        return self._leave_alone(bound_ns, final) if partner is None else self._leave_paired(partner)

    def _partner(self, reference: Waiting, bound_ns: int, final: bool) -> int | None:
        """Index of the oldest reference frame's partner in the other queue, None where there is none.

        Closest first, never crossing: from frame to nearest frame, to and fro, distances shrink until two frames are
        each other's nearest. If the first reference frame is not one of the two, only what lies before them is left.
        """
        ours, theirs = self._reference, self._other
        if not theirs.queue:
            if final or theirs.ended or self._method is Method.LATEST:
                return None
            raise MustWait
        if self._method is Method.LATEST:
            newest = len(theirs.queue) - 1
            return newest if abs(theirs.queue[newest].time_ns - reference.time_ns) <= bound_ns else None
        until_ns = reference.time_ns + LOOKAHEAD_PERIODS * reference.period_ns
        ours_end: int | None = None
        theirs_end: int | None = None
        while theirs_end != 0:
            i, j = 0, theirs.nearest(reference.time_ns, 0, theirs_end, until_ns=until_ns, final=final)
            if abs(theirs.queue[j].time_ns - reference.time_ns) > bound_ns:
                return None
            if self._reuse:
                return j
            while (rival := ours.nearest(theirs.queue[j].time_ns, i, ours_end, until_ns=until_ns, final=final)) != i:
                i, before = rival, j
                j = theirs.nearest(ours.queue[i].time_ns, j, theirs_end, until_ns=until_ns, final=final)
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

    def _pass_over(self, following: Waiting | None, *, crowded: bool = False) -> list[Outcome]:
        """Let the oldest frame of the other stream go unpaired; `following` is the reference frame after it."""
        ours, entry = self._reference, self._other.take()
        if entry is self._held:
            self._held = None
            return []
        near = [self._decided_ns, following.time_ns if following else None]
        reach_ns = NEAR_PERIODS * (following or ours).period_ns
        if self._gave_up_ns is not None and self._is_past(entry.time_ns) and entry.time_ns <= self._gave_up_ns:
            return [entry.frame.dropped(Reason.LATE, TOO_LATE)]
        if any(time_ns is not None and abs(entry.time_ns - time_ns) <= reach_ns for time_ns in near):
            return [entry.frame.dropped(Reason.SURPLUS)]
        if crowded and self._expects_reference():
            return [entry.frame.dropped(Reason.OVERFLOW)]
        if following is None:
            self._gave_up_ns = entry.time_ns
        ended = ours.ended and not ours.queue
        return [self._alone(entry, "the other stream has ended" if ended else "the other stream is silent")]

    def _alone(self, entry: Waiting, why: str) -> Outcome:
        if self._is_past(entry.time_ns):
            return entry.frame.dropped(Reason.LATE, TOO_LATE)
        self._left_ns = entry.time_ns
        return LoneFrame(frame=entry.frame, why=why)

    def _close(self, reference: Waiting) -> None:
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

    def _restart(self, stream: Stream, time_ns: int) -> list[Outcome]:
        """Time jumped back in one stream: what waits from before the jump leaves; what is near the new time stays."""
        other = self._streams[stream.modality.other]
        after_ns = time_ns + JUMP_PERIODS * max(stream.period_ns, other.period_ns)
        outcomes = self._empty(stream, "time jumped back")
        if other.queue and other.queue[-1].time_ns > after_ns:
            outcomes += self._empty(other, "time jumped back in the other stream")
        stream.restart()
        self._restart_times()
        return outcomes

    def _empty(self, stream: Stream, detail: str) -> list[Outcome]:
        entries = [entry for entry in stream.queue if entry is not self._held]
        if len(entries) < len(stream.queue):
            self._held = None
        stream.queue.clear()
        return [entry.frame.dropped(Reason.RESET, detail) for entry in entries]

    # -- bounds -----------------------------------------------------------------------------------------------------

    def _bound_ns(self, reference: Waiting) -> int:
        if self._max_skew_ns is not None:
            return self._max_skew_ns
        if self._method is not Method.APPROXIMATE:
            return EXACT_SKEW_NS if self._method is Method.EXACT else UNBOUNDED_NS
        periods_ns = reference.period_ns, self._other.period_ns
        return round(HALF * (max(periods_ns) if self._reuse else min(periods_ns)))

    def _room(self, stream: Stream) -> int:
        """How many frames of this stream may wait."""
        reference_ns, other = self._reference.period_ns, self._streams[stream.modality.other]
        bound_ns = min(self._max_skew_ns or 0, SECOND_NS)
        depth = self._depth or max(3, ceil(bound_ns / reference_ns) + 2)
        span_ns = depth * max(reference_ns, stream.period_ns) + other.behind_ns
        return min(ceil(span_ns / stream.period_ns), MOST_WAITING)

    def _overdue(self, now_ns: int | None) -> bool:
        """Has the oldest frame waited long enough? Yes where the stream it waits for is silent, or by deadline."""
        ours, theirs = (self._reference, self._other) if self._reference.queue else (self._other, self._reference)
        if now_ns is None or theirs.silent or not ours.queue:
            return theirs.silent
        return now_ns >= ours.queue[0].time_ns + max(ours.lag_ns, theirs.lag_ns) + self._reference.period_ns

    def _missed(self, stream: Stream, now_ns: int) -> bool:
        """Has a frame waited in vain for this stream? Where both paused together, the first one gets its deadline."""
        lag_ns = max(stream.lag_ns, self._streams[stream.modality.other].lag_ns)
        return stream.missed_ns is not None and now_ns >= stream.missed_ns + lag_ns + self._reference.period_ns

    def _expects_reference(self) -> bool:
        """Would a reference frame near the other stream's newest frame be no surprise?"""
        ours, theirs = self._reference.newest, self._other.newest
        if ours is None or theirs is None:
            return False
        return theirs.time_ns - ours.time_ns <= EXPECTED_PERIODS * ours.period_ns

    def _comes_too_late(self, entry: Waiting) -> bool:
        """An output that carries this frame's time could no longer leave in order."""
        carrier = self._reference.modality if self._reuse else Modality.RGB
        return entry.frame.modality is carrier and self._is_past(entry.time_ns)

    def _is_past(self, time_ns: int) -> bool:
        """Has an output of this time or a later one left? (More than a second later: another time, no comparison.)"""
        return self._left_ns is not None and 0 <= self._left_ns - time_ns < SECOND_NS


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
