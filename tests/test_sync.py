"""PairMatcher: what holds for any two streams (hypothesis), and what a rig operator sees in the usual cases."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamfuse.errors import UserError
from streamfuse.frames import Clock, DroppedFrame, Frame, FramePair, LoneFrame, Modality, Reason
from streamfuse.ledger import FrameLedger
from streamfuse.sync import Outcome, PairMatcher

T, C = Modality.THERMAL, Modality.RGB
MS, S = 1_000_000, 1_000_000_000
PIXELS = {T: np.zeros((1, 1), np.uint16), C: np.zeros((1, 1, 3), np.uint8)}
RATES = (9.0, 15.0, 25.0, 30.0, 50.0, 60.0, 120.0)

few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def frame(modality: Modality, time_ns: float, sequence: int, captured_ns: int | None = None) -> Frame:
    stamps = {} if captured_ns is None else {"captured": captured_ns}
    pixels = PIXELS[modality]
    return Frame(
        modality=modality, pixels=pixels, capture_ns=int(time_ns), sequence=sequence, clock=Clock.SENSOR, stamps=stamps
    )


def frames(modality: Modality, times_ms: Iterable[float]) -> list[Frame]:
    return [frame(modality, time * MS, sequence) for sequence, time in enumerate(times_ms)]


def in_order(*streams: list[Frame]) -> list[Frame]:
    return sorted(itertools.chain(*streams), key=lambda each: each.capture_ns)


def played(matcher: PairMatcher, items: Iterable[Frame], *, live: bool = False) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for item in items:
        outcomes += matcher.push(item)
        outcomes += matcher.advance(item.capture_ns) if live else []
    return outcomes + matcher.flush()


def pairs(outcomes: Iterable[Outcome]) -> list[tuple[int, int]]:
    return [(each.thermal.sequence, each.rgb.sequence) for each in outcomes if isinstance(each, FramePair)]


def told(outcome: Outcome) -> tuple[object, ...]:
    """An outcome as plain values."""
    if isinstance(outcome, FramePair):
        return "pair", outcome.thermal.sequence, outcome.rgb.sequence, outcome.skew_ns
    if isinstance(outcome, LoneFrame):
        return "lone", outcome.frame.modality.value, outcome.frame.sequence
    return "dropped", outcome.modality.value, outcome.sequence, outcome.reason.value


def summary(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many frames went which way."""
    ways: Counter[str] = Counter()
    for each in outcomes:
        if isinstance(each, FramePair):
            ways["matched"] += 2
        else:
            ways[f"lone {each.frame.modality.value}" if isinstance(each, LoneFrame) else each.reason.value] += 1
    return dict(ways)


@dataclass(frozen=True)
class Rhythm:
    """One camera's stamps: rate, start, jitter as part of the period, drift, share of lost frames."""

    rate_hz: float
    phase_ns: int
    jitter: float
    drift_ppm: float
    loss: float
    longest_hole: int
    seed: int

    def play(self, modality: Modality, seconds: float) -> list[Frame]:
        chance, period_ns, hole = random.Random(self.seed), S / self.rate_hz * (1 + self.drift_ppm / 1e6), 0
        result: list[Frame] = []
        for sequence in range(int(seconds * self.rate_hz)):
            hole = hole + 1 if hole < self.longest_hole and chance.random() < self.loss else 0
            time_ns = self.phase_ns + (sequence + chance.uniform(-self.jitter, self.jitter) / 2) * period_ns
            if not hole:
                result.append(frame(modality, time_ns, sequence))
        return result


def rhythms(*, jitter: float = 0.5, loss: float = 0.2, longest_hole: int = 20) -> st.SearchStrategy[Rhythm]:
    return st.builds(
        Rhythm,
        rate_hz=st.sampled_from(RATES),
        phase_ns=st.integers(0, 120 * MS),
        jitter=st.floats(0, jitter),
        drift_ppm=st.sampled_from([-400.0, 0.0, 400.0]),
        loss=st.floats(0, loss),
        longest_hole=st.just(longest_hole),
        seed=st.integers(0, 10_000),
    )


# -- what holds for any two streams ---------------------------------------------------------------------------------


@few
@given(rhythms(), rhythms(), st.booleans(), st.sampled_from([None, 3 * MS, 40 * MS]), st.integers(-30, 60))
def test_times_rise_skew_is_bounded_and_every_frame_leaves_once(
    thermal: Rhythm, rgb: Rhythm, live: bool, bound: int | None, delay_ms: int
) -> None:
    given_frames = in_order(thermal.play(T, 1.5), rgb.play(C, 1.5))
    matcher = PairMatcher(
        thermal_rate_hz=thermal.rate_hz, rgb_rate_hz=rgb.rate_hz, max_skew_ns=bound, thermal_delay_ns=delay_ms * MS
    )
    outcomes = played(matcher, given_frames, live=live)
    lossy = max(thermal.loss, rgb.loss) > 0.1  # then a learnt period may be that of every second frame for a while
    widest_ns = bound or (1.6 if lossy else 0.8) * S / max(thermal.rate_hz, rgb.rate_hz)
    left: Counter[tuple[str, int]] = Counter()
    times_ns: list[int] = []
    for each in outcomes:
        if isinstance(each, DroppedFrame):
            left[each.modality.value, each.sequence] += 1
            continue
        used = [each.thermal, each.rgb] if isinstance(each, FramePair) else [each.frame]
        left.update((one.modality.value, one.sequence) for one in used)
        times_ns.append(each.reference.capture_ns - (delay_ms * MS if each.reference.modality is T else 0))
        if isinstance(each, FramePair):
            assert each.skew_ns == each.thermal.capture_ns - delay_ms * MS - each.rgb.capture_ns
            assert abs(each.skew_ns) <= widest_ns
    assert left == Counter((each.modality.value, each.sequence) for each in given_frames)
    assert all(earlier < later for earlier, later in itertools.pairwise(times_ns))
    assert matcher.in_flight == 0


@few
@given(
    rhythms(longest_hole=2),
    rhythms(longest_hole=2),
    st.integers(0, 10_000),
    st.floats(-1.5, 1.5),
    st.sampled_from([None, 30 * MS]),
)
def test_which_camera_arrives_first_does_not_matter(
    thermal: Rhythm, rgb: Rhythm, seed: int, lag: float, bound: int | None
) -> None:
    """One camera's frames arrive up to one and a half reference periods later, and unevenly."""
    streams = {T: thermal.play(T, 1.5), C: rgb.play(C, 1.5)}
    chance, reference_ns = random.Random(seed), S / min(thermal.rate_hz, rgb.rate_hz)
    arrivals: list[tuple[float, int, Frame]] = []
    for modality, late in ((T, max(lag, 0)), (C, max(-lag, 0))):
        at_ns = 0.0
        for each in streams[modality]:
            at_ns = max(at_ns, each.capture_ns + (late + chance.random()) * reference_ns)
            arrivals.append((at_ns, len(arrivals), each))

    def outcomes(order: list[Frame]) -> list[tuple[object, ...]]:
        matcher = PairMatcher(thermal_rate_hz=thermal.rate_hz, rgb_rate_hz=rgb.rate_hz, depth=8, max_skew_ns=bound)
        return [told(each) for each in played(matcher, order)]

    by_capture = outcomes(in_order(*streams.values()))
    assert outcomes([each for _, _, each in sorted(arrivals)]) == by_capture
    assert by_capture == outcomes(in_order(*streams.values())), "the same pushes gave other outcomes"


def closest_first(thermal: list[Frame], rgb: list[Frame], bound_ns: int) -> set[tuple[int, int]]:
    """The nearest one-to-one pairing by brute force: every pair in order of skew, if free and crossing none before."""
    candidates = sorted(
        (abs(one.capture_ns - other.capture_ns), i, j)
        for i, one in enumerate(thermal)
        for j, other in enumerate(rgb)
        if abs(one.capture_ns - other.capture_ns) <= bound_ns
    )
    chosen: list[tuple[int, int]] = []
    for _, i, j in candidates:
        if all((i < a and j < b) or (i > a and j > b) for a, b in chosen):
            chosen.append((i, j))
    return {(thermal[i].sequence, rgb[j].sequence) for i, j in chosen}


@settings(few, max_examples=300)
@given(
    st.lists(st.floats(-0.045, 0.045), min_size=1, max_size=3),
    st.lists(st.floats(-0.045, 0.045), min_size=1, max_size=5),
    st.floats(-1.5, 1.5),
    st.sampled_from([0.5, 0.7, 1.0]),
    st.integers(1, 60),
)
def test_the_choice_is_the_nearest_one_to_one_pairing(
    thermal_jitter: list[float], rgb_jitter: list[float], phase: float, ratio: float, bound_ms: int
) -> None:
    """Against brute force, for intervals within 10 % of the nominal ones; bounds up to nearly two periods."""
    period = 1000 / 30
    thermal = frames(T, [100 + period * (i + jitter) for i, jitter in enumerate(thermal_jitter)])
    rgb = frames(C, [100 + period * (phase + ratio * (i + jitter)) for i, jitter in enumerate(rgb_jitter)])
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30 / ratio, max_skew_ns=bound_ms * MS)
    assert set(pairs(played(matcher, in_order(thermal, rgb)))) == closest_first(thermal, rgb, bound_ms * MS)


@few
@given(
    st.sampled_from([T, C]),
    st.sampled_from(list(itertools.product(RATES, RATES))),
    st.integers(0, 30 * MS),
    st.integers(0, 200 * MS),
    st.booleans(),
)
def test_a_dead_stream_never_blocks_the_other(
    dies: Modality, rates: tuple[float, float], phase_ns: int, lag_ns: int, stamped: bool
) -> None:
    """One camera dies after a second: the other flows at its full rate, none later than its arrival and one period."""
    hz, tick_ns = dict(zip((T, C), rates, strict=True)), 2 * MS
    reference_ns = round(S / min(rates))
    matcher = PairMatcher(thermal_rate_hz=hz[T], rgb_rate_hz=hz[C])
    waiting = {
        m: [
            frame(m, 5 * S + i * S / hz[m] + (m is C) * phase_ns, i)
            for i in range(int(hz[m] * (1 if m is dies else 3)))
        ]
        for m in (T, C)
    }
    left_at: dict[int, int] = {}
    for now in range(5 * S, 9 * S, tick_ns):
        outcomes: list[Outcome] = []
        for queue in waiting.values():
            while queue and queue[0].capture_ns + lag_ns <= now:
                arrived = queue.pop(0)
                outcomes += matcher.push(arrived.stamped("captured", now) if stamped else arrived)
        outcomes += matcher.advance(now)
        left_at.update({each.frame.capture_ns: now for each in outcomes if isinstance(each, LoneFrame)})
    lives = dies.other
    after_death = [5 * S + i * S / hz[lives] + (lives is C) * phase_ns for i in range(int(hz[lives] * 3))]
    alone = [int(time_ns) for time_ns in after_death if time_ns > 6 * S + 2 * reference_ns]
    assert matcher.in_flight == 0
    assert [time_ns for time_ns in alone if time_ns not in left_at] == []
    if stamped:
        assert max(left_at[time_ns] - time_ns - lag_ns for time_ns in alone) <= reference_ns + 2 * tick_ns


@few
@given(
    st.sampled_from([9.0, 25.0, 30.0, 60.0]),
    st.sampled_from([25.0, 30.0, 60.0]),
    st.sampled_from([-3600 * S, -20 * S, -S // 2, S // 2, 20 * S, 3600 * S]),
    st.integers(-9, 9),
    st.integers(0, 8 * MS),
)
def test_a_jump_of_time_recovers_within_a_second(
    thermal_hz: float, rgb_hz: float, jump_ns: int, apart: int, phase_ns: int
) -> None:
    """Both streams jump (a loop, a restart), one of them a few frames before the other; then all is as before."""
    jumps_at = {T: 5 * S, C: 5 * S + apart * 10 * MS}
    streams = {
        m: [(i * S / hz + 4000 * S + (m is C) * phase_ns, i) for i in range(int(hz * 8))]
        for m, hz in ((T, thermal_hz), (C, rgb_hz))
    }
    moved = [
        (time_ns, frame(m, time_ns + (jump_ns if time_ns - 4000 * S >= jumps_at[m] else 0), sequence))
        for m, stream in streams.items()
        for time_ns, sequence in stream
    ]
    order = [each for _, each in sorted(moved, key=lambda entry: entry[0])]
    reference_hz = min(thermal_hz, rgb_hz)
    for live in (False, True):
        matcher = PairMatcher(thermal_rate_hz=thermal_hz, rgb_rate_hz=rgb_hz)
        outcomes: list[Outcome] = []
        for (time_ns, _), each in zip(sorted(moved, key=lambda entry: entry[0]), order, strict=True):
            outcomes += matcher.push(each)
            outcomes += matcher.advance(int(max(time_ns, each.capture_ns))) if live and jump_ns > 0 else []
        outcomes += matcher.flush()
        recovered_ns = 4006 * S + apart * 10 * MS + jump_ns
        late = [
            each
            for each in outcomes
            if isinstance(each, FramePair | LoneFrame) and recovered_ns < each.reference.capture_ns < recovered_ns + S
            if each.reference.sequence > 5 * (thermal_hz if each.reference.modality is T else rgb_hz)
        ]
        assert sum(isinstance(each, FramePair) for each in late) >= 0.95 * reference_hz - 1
        assert [each for each in late if isinstance(each, LoneFrame)] == [] or reference_hz != max(thermal_hz, rgb_hz)


hostile_frames = st.tuples(
    st.just("push"), st.sampled_from([T, C]), st.integers(0, 60) | st.integers(0, 5000), st.integers(0, 40)
)
hostile_steps = st.one_of(
    hostile_frames,
    hostile_frames,
    hostile_frames,
    st.tuples(st.just("advance"), st.integers(0, 5000)),
    st.tuples(st.sampled_from(["end T", "end C", "flush", "reset"])),
)


@settings(few, max_examples=300)
@given(
    st.lists(hostile_steps, max_size=60),
    st.sampled_from(["approximate", "exact", "latest"]),
    st.booleans(),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 0, 20 * MS]),
)
def test_hostile_input_always_balances(
    steps: list[tuple[Any, ...]], method: str, reuse: bool, depth: int | None, bound: int | None
) -> None:
    matcher = PairMatcher(method=method, reuse=reuse, depth=depth, max_skew_ns=bound)
    verbs: dict[object, Callable[[], list[Outcome]]] = {
        "end T": lambda: matcher.end(T),
        "end C": lambda: matcher.end(C),
        "flush": matcher.flush,
        "reset": matcher.reset,
    }
    ledger, used = FrameLedger(), list[Frame]()
    for verb, *what in [*steps, ("flush",)]:
        if verb == "push":
            modality, time_ms, sequence = what
            pushed = frame(modality, time_ms * MS, sequence)
            ledger.enter(pushed)
            outcomes = matcher.push(pushed)
        else:
            outcomes = matcher.advance(what[0] * MS) if verb == "advance" else verbs[verb]()
        for each in outcomes:
            ledger.leave(each)
            if isinstance(each, FramePair):
                assert sum(one is other for one in (each.thermal, each.rgb) for other in used) == each.held
                assert bound is None or abs(each.skew_ns) <= bound
                used = [*used, *(one for one in (each.thermal, each.rgb) if all(one is not other for other in used))]
        ledger.check(matcher.in_flight)
    assert matcher.in_flight == 0


# -- the usual cases ------------------------------------------------------------------------------------------------


def test_a_partner_that_came_before_is_taken_at_once() -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    assert matcher.push(frame(C, 95 * MS, 0)) == []
    (pair,) = matcher.push(frame(T, 100 * MS, 0))
    assert isinstance(pair, FramePair)
    assert (pair.skew_ns, pair.held, matcher.in_flight) == (5 * MS, False, 0)


def test_a_partner_that_comes_after_is_taken_when_it_comes() -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    assert matcher.push(frame(T, 100 * MS, 0)) == []
    assert pairs(matcher.push(frame(C, 108 * MS, 0))) == [(0, 0)]


def test_the_nearer_frame_wins_over_the_first() -> None:
    thermal, rgb = frames(T, [100]), frames(C, [92, 103])
    outcomes = played(PairMatcher(thermal_rate_hz=9, rgb_rate_hz=90, max_skew_ns=20 * MS), in_order(thermal, rgb))
    assert [told(each) for each in outcomes] == [("dropped", "rgb", 0, "surplus"), ("pair", 0, 1, -3 * MS)]


def test_a_later_reference_frame_that_is_closer_gets_the_frame() -> None:
    thermal, rgb = frames(T, [0, 33, 66]), frames(C, [31, 64])
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30, max_skew_ns=40 * MS)
    outcomes = played(matcher, in_order(thermal, rgb))
    assert pairs(outcomes) == [(1, 0), (2, 1)]
    assert summary(outcomes) == {"matched": 4, "lone thermal": 1}


def test_an_uneven_stream_is_not_predicted() -> None:
    """RGB comes in twos, 8 ms apart: after the first of two the second may still be nearer."""
    rgb = frames(C, [time for i in range(6) for time in (66 * i, 66 * i + 8)])
    matcher = PairMatcher(thermal_rate_hz=15, rgb_rate_hz=30, max_skew_ns=16 * MS)
    before = [each for one in [*rgb[:-1], frame(T, 337 * MS, 0)] for each in matcher.push(one)]
    assert pairs(before) == []
    assert pairs(matcher.push(rgb[-1])) == [(0, 11)]


@pytest.mark.parametrize(("hz", "reference"), [((9, 30), T), ((30, 30), T), ((60, 30), C), ((30, 25), C)])
def test_the_slower_stream_is_the_reference(hz: tuple[int, int], reference: Modality) -> None:
    assert PairMatcher(thermal_rate_hz=hz[0], rgb_rate_hz=hz[1]).reference is reference


def test_the_reference_is_learnt_from_the_stamps() -> None:
    matcher = PairMatcher()
    thermal, rgb = frames(T, [i * 1000 / 60 for i in range(60)]), frames(C, [i * 40.0 + 1 for i in range(25)])
    outcomes = played(matcher, in_order(thermal, rgb))
    assert matcher.reference is C
    assert len(pairs(outcomes)) >= 24


def test_roles_do_not_change_back_and_forth_at_nearly_equal_rates() -> None:
    chance = random.Random(5)
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    times = [i * 1000 / 30 for i in range(300)]
    thermal = frames(T, [time + chance.uniform(-2, 2) for time in times])
    rgb = frames(C, [time + chance.uniform(-2, 2) for time in times])
    for each in in_order(thermal, rgb):
        matcher.push(each)
        assert matcher.reference is T


def test_the_thermal_delay_is_removed() -> None:
    thermal, rgb = frames(T, [145 + 100 * i for i in range(5)]), frames(C, [100 + 100 * i for i in range(5)])
    matcher = PairMatcher(thermal_delay_ns=45 * MS, thermal_rate_hz=10, rgb_rate_hz=10)
    outcomes = played(matcher, in_order(thermal, rgb), live=True)
    assert [each.skew_ns for each in outcomes if isinstance(each, FramePair)] == [0] * 5


def test_every_frame_of_the_faster_stream_between_two_reference_frames_is_surplus() -> None:
    thermal, rgb = frames(T, [100 * i for i in range(10)]), frames(C, [25 * i + 1 for i in range(39)])
    outcomes = played(PairMatcher(thermal_rate_hz=10, rgb_rate_hz=40), in_order(thermal, rgb))
    assert pairs(outcomes) == [(i, 4 * i) for i in range(10)]
    assert summary(outcomes) == {"matched": 20, "surplus": 29}


def test_a_hole_in_the_reference_stream_is_filled_with_lone_frames() -> None:
    """A shutter freeze of half a second: visible-only output keeps the rate, and nothing is surplus."""
    times = [i * 1000 / 30 for i in range(60)]
    thermal = [each for each in frames(T, times) if not 20 <= each.sequence < 35]
    rgb = frames(C, [time + 4 for time in times])
    for live in (False, True):
        outcomes = played(PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30), in_order(thermal, rgb), live=live)
        lone = [each.frame.sequence for each in outcomes if isinstance(each, LoneFrame)]
        assert set(lone) >= set(range(20, 35))
        assert set(lone) <= set(range(20, 36))


@pytest.mark.parametrize("ends", [T, C])
def test_after_the_end_of_one_stream_the_other_flows_without_waiting(ends: Modality) -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    matcher.push(frame(ends, 0, 0))
    matcher.push(frame(ends.other, 1 * MS, 0))
    matcher.end(ends)
    for sequence in range(1, 20):
        (alone,) = matcher.push(frame(ends.other, sequence * 33 * MS, sequence))
        assert isinstance(alone, LoneFrame)
        assert alone.why == "the other stream has ended"


def test_a_stream_that_never_starts_does_not_hold_the_other() -> None:
    for waits in (T, C):
        matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
        matcher.push(frame(waits, S, 0))
        assert matcher.advance(S + 20 * MS) == []
        (alone,) = matcher.advance(S + 34 * MS)
        assert isinstance(alone, LoneFrame)
        assert alone.why == "the other stream is silent"


def test_beside_a_silent_stream_nothing_waits() -> None:
    for lives in (T, C):
        matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
        matcher.push(frame(lives.other, S, 0))
        matcher.advance(S + 90 * MS)
        assert [told(each)[0] for each in matcher.push(frame(lives, S + 100 * MS, 0))] == ["lone"]
        matcher.push(frame(lives.other, S + 132 * MS, 1))
        assert [told(each)[0] for each in matcher.push(frame(lives, S + 133 * MS, 1))] == ["pair"]


def test_a_frame_whose_time_was_given_up_comes_too_late() -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30, max_skew_ns=40 * MS)
    matcher.push(frame(T, 100 * MS, 0))
    assert [told(each) for each in matcher.advance(134 * MS)] == [("lone", "thermal", 0)]
    outcomes = matcher.push(frame(C, 99 * MS, 0)) + matcher.push(frame(T, 133 * MS, 1)) + matcher.flush()
    assert [told(each) for each in outcomes] == [("dropped", "rgb", 0, "late"), ("lone", "thermal", 1)]


def test_clocks_that_disagree_by_an_hour_silence_neither_camera() -> None:
    for ahead in (T, C):
        matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
        order = [frame(m, 33 * MS * i + 3600 * S * (m is ahead), i) for i in range(100) for m in (T, C)]
        assert summary(played(matcher, order)) == {"lone thermal": 100, "lone rgb": 100}


def test_a_camera_that_is_slow_to_arrive_is_waited_for() -> None:
    """RGB arrives 150 ms later than thermal (a network camera): told by its stamps, waited for, matched."""
    matcher, outcomes = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30), list[Outcome]()
    arrivals = [(i * 33 * MS + lag, m, i) for i in range(90) for m, lag in ((T, 5 * MS), (C, 150 * MS))]
    for at_ns, modality, sequence in sorted(arrivals, key=lambda entry: entry[0]):
        outcomes += matcher.advance(at_ns - 1)
        outcomes += matcher.push(frame(modality, sequence * 33 * MS, sequence, at_ns))
    assert pairs(outcomes)[-70:] == [(i, i) for i in range(20, 90)]


def test_a_replay_that_reads_one_stream_far_ahead_still_matches() -> None:
    """As fast as it goes, one decoder may be eight frames ahead of the other."""
    for ahead in (T, C):
        matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
        order = [(i - 8 * (m is ahead), m is not ahead, frame(m, i * 33 * MS, i)) for i in range(200) for m in (T, C)]
        found = pairs(played(matcher, [each for *_, each in sorted(order, key=lambda entry: entry[:2])]))
        assert found[-180:] == [(i, i) for i in range(20, 200)]


def test_duplicates_disorder_and_restarts_have_their_reasons() -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    matcher.push(frame(T, 1000 * MS, 30))
    reasons = [
        told(matcher.push(frame(T, time * MS, sequence))[0])[-1]
        for time, sequence in ((1000, 31), (1005, 30), (950, 29), (100, 0))
    ]
    assert reasons == ["duplicate", "duplicate", "late", "reset"]
    assert matcher.in_flight == 1


def test_a_restart_takes_what_waits_in_both_streams_along() -> None:
    matcher = PairMatcher(thermal_rate_hz=9, rgb_rate_hz=30)
    matcher.push(frame(T, 50 * S, 100))
    matcher.push(frame(C, 50 * S + 90 * MS, 100))
    outcomes = matcher.push(frame(T, 0, 101))
    assert [told(each) for each in outcomes if isinstance(each, DroppedFrame)] == [("dropped", "rgb", 100, "reset")]
    assert matcher.in_flight == 1


def test_a_loop_of_three_frames_does_not_jam() -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    outcomes: list[Outcome] = []
    for round_ in range(20):
        for i in range(3):
            for modality in (T, C):
                outcomes += matcher.push(frame(modality, i * 33 * MS, 3 * round_ + i))
    assert len(pairs(outcomes)) >= 20
    assert max(thermal for thermal, _ in pairs(outcomes)) >= 54


def test_a_burst_of_one_stream_first_loses_no_count() -> None:
    for first in (T, C):
        matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
        burst = frames(first, [33 * i for i in range(100)]) + frames(first.other, [33 * i for i in range(100)])
        ways = summary(played(matcher, burst))
        assert sum(ways.values()) == 200
        assert ways["matched"] >= 2


def test_a_queue_never_grows_without_bound() -> None:
    for first in (T, C):
        matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
        for each in frames(first, [33 * i for i in range(500)]):
            matcher.push(each)
            assert matcher.in_flight <= 4


def test_a_flood_within_one_period_overflows_by_name() -> None:
    matcher = PairMatcher(thermal_rate_hz=10, rgb_rate_hz=10)
    matcher.push(frame(T, 0, 0))
    outcomes = [each for i in range(200) for each in matcher.push(frame(C, (80 + i / 10) * MS, i))]
    assert summary(outcomes) == {"lone thermal": 1, "overflow": 136}
    assert matcher.in_flight == 64


def test_exact_takes_equal_stamps_only() -> None:
    thermal, rgb = frames(T, [0, 33, 66, 80, 133]), frames(C, [0, 35, 66.5, 80, 133])
    outcomes = played(PairMatcher(method="exact"), in_order(thermal, rgb))
    assert pairs(outcomes) == [(0, 0), (2, 2), (3, 3), (4, 4)]


def test_latest_pairs_at_once_with_the_newest() -> None:
    matcher = PairMatcher(method="latest", thermal_rate_hz=30, rgb_rate_hz=60)
    for sequence, time in enumerate((0, 16, 32)):
        assert matcher.push(frame(C, time * MS, sequence)) == []
    outcomes = matcher.push(frame(T, 100 * MS, 0))
    assert pairs(outcomes) == [(0, 2)]
    assert matcher.in_flight == 0
    assert [told(each)[0] for each in matcher.push(frame(T, 133 * MS, 1))] == ["lone"]


def test_latest_keeps_a_bound_if_one_is_given() -> None:
    matcher = PairMatcher(method="latest", max_skew_ns=10 * MS)
    matcher.push(frame(C, 0, 0))
    assert pairs(matcher.push(frame(T, 50 * MS, 0))) == []


@pytest.mark.parametrize("slow", [T, C])
def test_reuse_shows_every_fast_frame_and_marks_what_is_held(slow: Modality) -> None:
    slow_frames, fast_frames = (
        frames(slow, [100 * i for i in range(4)]),
        frames(slow.other, [33 * i + 2 for i in range(10)]),
    )
    hz = {slow: 10.0, slow.other: 30.0}
    matcher = PairMatcher(reuse=True, thermal_rate_hz=hz[T], rgb_rate_hz=hz[C])
    found = [each for each in played(matcher, in_order(slow_frames, fast_frames)) if isinstance(each, FramePair)]
    shown = [each.thermal if slow is T else each.rgb for each in found]
    assert [each.sequence for each in shown] == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert [each.held for each in found] == [False, True, False, True, True, False, True, True, False, True]
    assert max(abs(each.skew_ns) for each in found) <= 55 * MS


def test_reuse_survives_a_change_of_roles() -> None:
    """Without nominal rates thermal begins as the faster one; RGB turns out to be, and none of its frames is held."""
    thermal, rgb = frames(T, [100 * i for i in range(20)]), frames(C, [33 * i for i in range(60)])
    matcher = PairMatcher(reuse=True)
    outcomes = played(matcher, in_order(thermal, rgb))
    found, alone = pairs(outcomes), [told(each) for each in outcomes if not isinstance(each, FramePair)]
    assert matcher.reference is C
    assert len(alone) + len(set(found)) + len({each for each, _ in found}) == 80
    assert len({rgb_sequence for _, rgb_sequence in found}) == len(found) >= 50


def test_reset_forgets_and_says_so() -> None:
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    matcher.push(frame(T, 10 * S, 5))
    (gone,) = matcher.reset()
    assert isinstance(gone, DroppedFrame)
    assert (gone.reason, gone.sequence, matcher.in_flight) == (Reason.RESET, 5, 0)
    matcher.push(frame(C, 1 * S, 0))
    assert pairs(matcher.push(frame(T, 1 * S, 0))) == [(0, 0)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"method": "magic"}, "approximate, exact, latest"),
        ({"max_skew_ns": -1}, "max_skew_ns: found -1"),
        ({"depth": 0}, "depth: found 0"),
        ({"rgb_rate_hz": 0.0}, "rgb_rate_hz: found 0.0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        PairMatcher(**wrong)  # type: ignore[arg-type]
