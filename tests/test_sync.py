"""PairMatcher: what a rig operator sees in the usual cases; what holds for any input is in `test_sync_properties`."""

from __future__ import annotations

import random

import pytest
from streams import MS, C, S, T, frame, frames, in_order, pairs, played, summary, told

from streamfuse.errors import UserError
from streamfuse.frames import DroppedFrame, FramePair, LoneFrame, Modality, Reason
from streamfuse.sync import Outcome, PairMatcher


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
        matcher.push(frame(lives, S + 33 * MS, 0))
        assert [told(each)[0] for each in matcher.advance(S + 90 * MS)] == ["lone"]
        assert [told(each)[0] for each in matcher.push(frame(lives, S + 100 * MS, 1))] == ["lone"]
        matcher.push(frame(lives.other, S + 132 * MS, 1))
        assert [told(each)[0] for each in matcher.push(frame(lives, S + 133 * MS, 2))] == ["pair"]


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


@pytest.mark.parametrize("first", list(Modality), ids=lambda m: f"{m.value} first")
def test_cameras_that_pause_together_lose_no_pair_when_they_go_on(first):
    """Bursts of one trigger: the first frame after a pause waits for its partner, which comes a moment later."""
    period_ns, late_ns = 33_333_333, 300_000
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    outcomes = []
    for number in range(80):
        at_ns = 10**10 + number // 4 * 4 * period_ns + number % 4 * period_ns // 4
        for tick_ns in range(at_ns - 3 * period_ns, at_ns, period_ns // 4):
            if number % 4 == 0:
                outcomes += matcher.advance(tick_ns)
        for arrived_ns, modality in ((at_ns, first), (at_ns + late_ns, first.other)):
            outcomes += matcher.push(frame(modality, at_ns, number, arrived_ns))
            outcomes += matcher.advance(arrived_ns)
    outcomes += matcher.flush()
    assert [type(outcome) for outcome in outcomes] == [FramePair] * 80


@pytest.mark.parametrize("dead", list(Modality), ids=lambda m: f"{m.value} dies")
def test_a_camera_that_dies_in_a_common_pause_costs_one_deadline(dead):
    """After it the other camera's frames leave the moment they come."""
    period_ns = 33_333_333
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    for number in range(20):
        for modality in Modality:
            matcher.push(frame(modality, 10**10 + number * period_ns, number))
    waited = []
    for number in range(30, 40):
        at_ns = 10**10 + number * period_ns
        outcomes = matcher.push(frame(dead.other, at_ns, number)) + matcher.advance(at_ns)
        step_ns = at_ns
        while not outcomes and step_ns < at_ns + period_ns - 1_000_000:
            step_ns += 1_000_000
            outcomes = matcher.advance(step_ns)
        waited.append((step_ns - at_ns) / period_ns)
    assert waited[0] > 0.9
    assert max(waited[2:]) == 0
