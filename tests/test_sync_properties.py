"""PairMatcher: what holds for any two streams (hypothesis); the usual cases are in `test_sync`."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import MS, C, S, T, frame, frames, in_order, pairs, played, told

from streamfuse.frames import DroppedFrame, Frame, FramePair, LoneFrame, Modality
from streamfuse.ledger import FrameLedger
from streamfuse.sync import Outcome, PairMatcher

RATES = (9.0, 15.0, 25.0, 30.0, 50.0, 60.0, 120.0)

few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


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
    hz, start_ns = {T: thermal_hz, C: rgb_hz}, 4000 * S
    jumps_at = {T: start_ns + 5 * S, C: start_ns + 5 * S + apart * 10 * MS}
    arrivals = sorted(
        (time_ns, m is C, frame(m, time_ns + jump_ns * (time_ns >= jumps_at[m]), i))
        for m in (T, C)
        for i in range(int(hz[m] * 8))
        for time_ns in [start_ns + round(i * S / hz[m]) + (m is C) * phase_ns]
    )
    for live in (False, True):
        matcher, outcomes = PairMatcher(thermal_rate_hz=thermal_hz, rgb_rate_hz=rgb_hz), list[Outcome]()
        for time_ns, _, each in arrivals:
            outcomes += matcher.push(each)
            outcomes += matcher.advance(max(time_ns, each.capture_ns)) if live and jump_ns > 0 else []
        recovered_ns = max(jumps_at.values()) + jump_ns + S
        after = [
            each
            for each in outcomes
            if isinstance(each, FramePair | LoneFrame) and recovered_ns <= each.reference.capture_ns < recovered_ns + S
            if each.reference.sequence > 5 * hz[each.reference.modality]
        ]
        assert [each for each in after if isinstance(each, LoneFrame)] == []
        assert len(after) >= min(thermal_hz, rgb_hz) - 1


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
