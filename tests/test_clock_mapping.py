"""ClockMapping: simulated hours of drift, jitter, bursts, jumps and lying senders; truth is known for every frame."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamfuse.drift import ClockMapping, Delay, MappedTime, floor_under
from streamfuse.frames import Clock, Frame, FramePair, Modality
from streamfuse.sync import PairMatcher

MS, S = 1_000_000, 1_000_000_000
PERIOD = 33_333_333
START = 1000 * S  # the machine's monotonic clock when the camera starts
DELAY = 20 * MS  # what every frame takes at least
T, V = Modality.THERMAL, Modality.RGB

Late = Callable[[random.Random, int], float]  # (chance, frame number) -> ns on top of DELAY


@dataclass(frozen=True)
class Seen:
    """One frame: when it was really captured (and a constant DELAY later), and what the mapping said."""

    true_ns: int
    device_ns: int
    arrival_ns: int
    mapped: MappedTime

    @property
    def error_ns(self) -> int:
        return self.mapped.capture_ns - self.true_ns - DELAY


def exponential(mean_ms: float) -> Late:
    return lambda chance, _: chance.expovariate(1 / (mean_ms * MS))


def bursts_of_ten(chance: random.Random, number: int) -> float:
    return (9 - number % 10) * PERIOD


def congested(chance: random.Random, number: int) -> float:
    """A link that is 100 ms worse for two seconds out of seven."""
    return chance.expovariate(1 / (2 * MS)) + (100 * MS if number // 30 % 7 < 2 else 0)


def camera(ppm: float, seconds: float, late: Late, seed: int = 0) -> Iterator[tuple[int, int, int]]:
    """(true, device, arrival) of every frame; the device's clock starts near zero and runs `ppm` too fast."""
    chance, arrived = random.Random(seed), 0
    for number in range(int(seconds * S / PERIOD)):
        true_ns = START + number * PERIOD
        arrived = max(arrived, true_ns + DELAY + round(late(chance, number)))
        yield true_ns, 5 * S + round(number * PERIOD * (1 + ppm * 1e-6)), arrived


def mapping() -> ClockMapping:
    return ClockMapping(Clock.SENSOR, period_ns=PERIOD)


def watched(frames: Iterator[tuple[int, int, int]], maps: ClockMapping | None = None) -> list[Seen]:
    maps = maps or mapping()
    return [Seen(true, device, arrival, maps.map(device, arrival)) for true, device, arrival in frames]


def after(seen: list[Seen], seconds: float) -> list[Seen]:
    return [each for each in seen if each.true_ns - START >= seconds * S]


def worst_ms(seen: list[Seen]) -> float:
    return max(abs(each.error_ns) for each in seen) / MS


@pytest.mark.parametrize("ppm", [-1000, -400, 0, 400, 1000])
@pytest.mark.parametrize(
    ("late", "bound_ms"), [(exponential(3), 0.3), (exponential(20), 1.0), (bursts_of_ten, 0.1), (congested, 0.3)]
)
def test_after_thirty_seconds_the_mapping_is_right_whatever_the_link_does(ppm, late, bound_ms):
    seen = after(watched(camera(ppm, 120, late)), 30)
    assert worst_ms(seen) < bound_ms
    assert all(each.mapped.origin is Clock.SENSOR and each.mapped.valid for each in seen)


def test_an_hour_at_400_ppm_stays_within_two_tenths_of_a_millisecond():
    maps = mapping()
    seen = after(watched(camera(400, 3600, exponential(5)), maps), 30)
    assert worst_ms(seen) < 0.2
    assert maps.resets == 0
    arrival_error_ms = max(each.arrival_ns - each.true_ns - DELAY for each in seen) / MS
    assert arrival_error_ms > 20  # what one would have without the mapping


@pytest.mark.parametrize("late", [exponential(3), exponential(20), congested])
def test_the_stated_error_covers_the_real_one_and_is_not_a_fright(late):
    seen = after(watched(camera(400, 300, late)), 30)
    assert np.mean([abs(each.error_ns) <= each.mapped.error_ns for each in seen]) > 0.99
    assert np.median([each.mapped.error_ns for each in seen]) < 2 * MS


def test_it_says_arrival_until_it_knows_the_clock_and_then_the_device():
    seen = watched(camera(400, 20, exponential(3)))
    first_valid = next(each for each in seen if each.mapped.valid)
    assert 4 * S < first_valid.true_ns - START < 8 * S
    unsettled = [each for each in seen if each.true_ns < first_valid.true_ns]
    assert {each.mapped.origin for each in unsettled} == {Clock.ARRIVAL}
    assert all(abs(each.error_ns) <= each.mapped.error_ns for each in unsettled[60:])
    assert unsettled[0].mapped.capture_ns == unsettled[0].arrival_ns


def test_pairs_of_two_drifting_cameras_are_within_two_milliseconds_of_the_truth():
    """Drift of 400 ppm either way; both links bursty in their own way; ten minutes, through the matcher."""
    thermal = watched(camera(400, 600, exponential(8), seed=1))
    rgb = watched(camera(-400, 600, bursts_of_ten, seed=2))
    arrivals = sorted([(each.arrival_ns, T, k) for k, each in enumerate(thermal)]
                      + [(each.arrival_ns, V, k) for k, each in enumerate(rgb)])  # fmt: skip
    matcher = PairMatcher(thermal_rate_hz=30, rgb_rate_hz=30)
    pairs = []
    for arrival_ns, modality, number in arrivals:
        seen = (thermal if modality is T else rgb)[number]
        pairs += matcher.push(framed(modality, number, seen))
        pairs += matcher.advance(arrival_ns)
    settled = [each for each in pairs if isinstance(each, FramePair) and each.thermal.sequence > 30 * 30]
    expected = len(thermal) - 30 * 30
    assert len(settled) > 0.99 * expected
    assert all(each.thermal.sequence == each.rgb.sequence for each in settled)  # the same true instant
    assert max(abs(each.skew_ns) for each in settled) <= 2 * MS


def framed(modality: Modality, number: int, seen: Seen) -> Frame:
    return Frame(
        modality=modality,
        pixels=np.zeros((1, 1, 3) if modality is V else (1, 1), np.uint8),
        capture_ns=seen.mapped.capture_ns,
        capture_error_ns=seen.mapped.error_ns,
        clock=seen.mapped.origin,
        sequence=number,
        stamps={"captured": seen.arrival_ns},
    )


# -- what a link and a clock may do to it ---------------------------------------------------------------------------


def test_a_stalled_link_that_delivers_in_one_burst_keeps_the_device_times():
    """Three seconds of nothing, then ninety frames at once: late they are, but their times are known."""

    def stall(chance, number):
        return max(0, (1890 - number) * PERIOD) if number >= 1800 else chance.expovariate(1 / MS)

    maps = mapping()
    seen = after(watched(camera(100, 90, stall), maps), 59)
    assert max(each.arrival_ns - each.mapped.capture_ns for each in seen) > 2.9 * S
    assert worst_ms(seen) < 1
    assert maps.resets == 0


@pytest.mark.parametrize("jump_s", [-40, -1.7, 1.7, 3600])
def test_a_jump_of_the_device_clock_is_one_reset_and_no_frame_is_stamped_off(jump_s):
    frames = [
        (true, device + round(jump_s * S) if number >= 1200 else device, arrival)
        for number, (true, device, arrival) in enumerate(camera(200, 90, exponential(3)))
    ]
    maps = mapping()
    seen = watched(iter(frames), maps)
    assert maps.resets == 1
    assert not seen[1200].mapped.valid  # said at once
    assert seen[1200].mapped.capture_ns == seen[1200].arrival_ns
    assert worst_ms(seen[1200:]) < 40  # no worse than the arrival itself, never 1.7 s
    assert worst_ms(seen[1200 + 30 * 30 :]) < 0.3
    assert all(each.mapped.valid for each in seen[1200 + 8 * 30 :])
    times = [each.mapped.capture_ns for each in seen]
    assert times == sorted(set(times))


@pytest.mark.parametrize("ppm", [-57_000, 57_000])
def test_sender_times_that_wander_by_1700_ms_under_congestion_are_not_believed(ppm):
    """The sender's own mapping slides by 57 ms a second for half a minute, then is right again."""

    def slid(number):
        return round(min(max(0, number - 1200), 900) * PERIOD * ppm * 1e-6)

    frames = [(t, d + slid(k), a) for k, (t, d, a) in enumerate(camera(0, 130, exponential(2)))]
    seen = watched(iter(frames))
    sliding, recovered = seen[1200 + 30 * 30 // 2 : 2100], seen[2100 + 30 * 30 :]
    assert not any(each.mapped.valid for each in seen[1200 + 5 * 30 : 2100])
    assert worst_ms(seen[1200:]) < 400  # never off by the whole 1.7 s
    assert worst_ms(sliding) < 250
    assert all(abs(each.error_ns) <= each.mapped.error_ns + 60 * MS for each in sliding)
    assert worst_ms(recovered) < 0.5
    assert all(each.mapped.valid for each in recovered)


def test_a_clock_that_stood_still_while_the_camera_was_away_is_noticed():
    frames = list(camera(0, 60, exponential(2)))
    paused = [(t, d - 10 * S if k >= 900 + 330 else d, a) for k, (t, d, a) in enumerate(frames) if not 900 <= k < 1230]
    maps = mapping()
    seen = watched(iter(paused), maps)
    assert maps.resets == 1
    assert worst_ms(seen[900 + 5 * 30 :]) < 40
    assert seen[-1].mapped.valid


def test_an_early_congestion_that_ends_is_corrected_without_stepping_back():
    seen = watched(camera(0, 60, lambda chance, k: 120 * MS if k < 240 else chance.expovariate(1 / MS)))
    assert seen[239].error_ns == pytest.approx(120 * MS, rel=0.01)
    assert worst_ms(seen[240 + 10 * 30 :]) < 1
    intervals = np.diff([each.mapped.capture_ns for each in seen])
    assert intervals.min() > 0.89 * PERIOD  # slewed, not stepped
    assert not any(each.mapped.valid for each in seen[240:270])  # meanwhile it says so


def test_a_slow_step_of_the_path_is_learnt_without_a_reset():
    """Half a period more from one moment on: the floor follows within a minute, and slowly."""
    maps = mapping()
    late = lambda chance, k: chance.expovariate(1 / MS) + (15 * MS if k > 1800 else 0)  # noqa: E731
    seen = watched(camera(0, 180, late), maps)
    assert maps.resets == 0
    assert abs(seen[-1].error_ns - 15 * MS) < MS
    assert np.abs(np.diff([each.mapped.capture_ns for each in seen]) - PERIOD)[300:].max() < 0.05 * PERIOD


def test_frames_without_a_stamp_are_arrivals_and_later_stamps_go_on_from_there():
    maps, frames = mapping(), list(camera(0, 20, exponential(1)))
    times = [maps.map(None if k < 100 else device, arrival) for k, (_, device, arrival) in enumerate(frames)]
    assert [each.capture_ns for each in times[:100]] == [arrival for _, _, arrival in frames[:100]]
    assert {each.origin for each in times[:100]} == {Clock.ARRIVAL}
    assert times[-1].valid
    assert np.diff([each.capture_ns for each in times]).min() > 0


def test_a_stamp_missing_now_and_then_leaves_the_times_rising():
    maps, frames = mapping(), list(camera(100, 40, exponential(4)))
    times = [maps.map(None if k % 50 == 49 else device, arrival) for k, (_, device, arrival) in enumerate(frames)]
    assert np.diff([each.capture_ns for each in times]).min() > 0
    assert times[-2].valid


def test_a_repeated_and_a_late_stamp_stay_what_they_are_for_the_matcher_to_see():
    maps = mapping()
    seen = watched(camera(0, 10, exponential(1)), maps)
    last, before = seen[-1], seen[-2]
    again = maps.map(last.device_ns, last.arrival_ns + MS)
    assert again.capture_ns == last.mapped.capture_ns
    late = maps.map(before.device_ns, last.arrival_ns + 2 * MS)
    assert abs(late.capture_ns - before.mapped.capture_ns) < MS
    assert late.capture_ns < again.capture_ns


def test_a_minute_of_silence_or_a_reset_forgets_everything():
    maps, frames = mapping(), list(camera(300, 100, exponential(1)))
    seen = watched(iter(frames[:900]), maps)
    assert seen[-1].mapped.valid
    assert not maps.map(frames[-1][1], frames[-1][2]).valid
    maps.reset()
    again = watched(iter(frames), maps)
    assert not again[0].mapped.valid
    assert again[0].mapped.capture_ns == frames[0][2]  # time may begin anew


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    ppm=st.floats(-900, 900),
    seed=st.integers(0, 1000),
    jitter_ms=st.floats(0.01, 60),
    rate_hz=st.sampled_from([9.0, 15.0, 30.0, 60.0]),
)
def test_times_rise_with_the_device_whatever_the_jitter(ppm, seed, jitter_ms, rate_hz):
    chance, maps, arrived = random.Random(seed), ClockMapping(Clock.DRIVER, period_ns=round(S / rate_hz)), 0
    times = []
    for number in range(int(40 * rate_hz)):
        true_ns = START + round(number * S / rate_hz)
        arrived = max(arrived, true_ns + round(chance.expovariate(1 / (jitter_ms * MS))))
        times.append(maps.map(round(number * S / rate_hz * (1 + ppm * 1e-6)), arrived).capture_ns)
    intervals = np.diff(times) * rate_hz / S
    assert intervals.min() > 0.89
    assert intervals.max() < 1.11


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.integers(0, 60 * S), st.integers(-S, S), min_size=1, max_size=60))
def test_the_floor_lies_under_every_delay_and_touches_one(points):
    delays = [Delay(device, delay) for device, delay in points.items()]
    floor = floor_under(delays)
    above = [each.delay_ns - floor.delay_at(each.device_ns) for each in delays]
    assert min(above) >= -1  # rounding
    assert min(above) <= 1
    assert abs(floor.slope) <= 1000e-6
