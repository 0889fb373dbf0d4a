"""Delay between two cameras: found where it can be, with an honest error; refused where it cannot."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from delay_scenes import Show, blinking, hand_held, scene, shots, still
from rigs import full_rig
from typer.testing import CliRunner

from streamfuse.calibrate.commands import app
from streamfuse.calibrate.delay import Delay, Signal, estimate_delay
from streamfuse.calibrate.delay_edges import edges, refine
from streamfuse.calibrate.delay_record import DRIFT_PPM, Watched, drifts, measure, written
from streamfuse.calibrate.delay_watch import Watch
from streamfuse.errors import UserError
from streamfuse.frames import Clock, Frame, FramePair, Modality
from streamfuse.rig import Rig
from streamfuse.sync import PairMatcher

runner = CliRunner()


def wave(times_s: np.ndarray, seed: int = 0) -> np.ndarray:
    """Something irregular, of up to 4 Hz."""
    rng = np.random.default_rng(seed)
    hertz, phase = rng.uniform(0.3, 4, 12), rng.uniform(0, 6.28, 12)
    return np.sin(2 * np.pi * hertz * times_s[:, None] + phase).sum(axis=1, keepdims=True)


def stamps(seed: int, seconds: float = 20.0, hertz: float = 30.0, jitter_s: float = 0.0005) -> np.ndarray:
    """Uneven times with 5 % lost and a hole of half a second."""
    rng = np.random.default_rng([seed, 1])
    times = rng.uniform(0, 1 / hertz) + np.arange(0, seconds, 1 / hertz)
    times = times[(rng.random(len(times)) > 0.05) & ((times < 8) | (times > 8.5))]
    return times + jitter_s * rng.standard_normal(len(times))


def two_signals(delay_s: float, seed: int = 0, drift: float = 0.0, **kinds: Any) -> tuple[Signal, Signal]:
    first, second = stamps(2 * seed, **kinds), stamps(2 * seed + 1, **kinds)
    late = first + delay_s + drift * (first - 10)
    rng = np.random.default_rng([seed, 2])
    noise = [0.2 * rng.standard_normal((len(times), 1)) for times in (first, second)]
    return Signal(late, wave(first, seed) * 3 + 7 + noise[0]), Signal(second, wave(second, seed) + noise[1])


class Says:
    """A watch that has seen these signals."""

    def __init__(self, **signals: Signal) -> None:
        self._signals = signals

    def signals(self, _: int) -> dict[str, Signal]:
        return self._signals


def watched(show: Show, seed: int, **asked: Any) -> Watched:
    pair = scene(seed, **asked)
    watches = {}
    for modality, shot in shots(pair, show, seed).items():
        watches[modality] = Watch()
        for pixels, stamp_ns in shot.frames():
            watches[modality].add(pixels, stamp_ns)
    return Watched(watches[Modality.THERMAL], watches[Modality.RGB], 0, ())


@pytest.mark.parametrize("delay_ms", [-143.0, -8.3, 0.0, 41.7, 320.0])
def test_known_delay_comes_back_from_uneven_stamps_with_losses(delay_ms: float) -> None:
    found = estimate_delay(*two_signals(delay_ms / 1e3, seed=3))
    assert not found.refused
    assert found.delay_ms == pytest.approx(delay_ms, abs=1.0)
    assert found.error_ms < 5


def test_swapping_the_cameras_changes_the_sign() -> None:
    late, other = two_signals(0.05, seed=4)
    assert estimate_delay(late, other).delay_ms == pytest.approx(-estimate_delay(other, late).delay_ms, abs=0.3)


def test_stated_error_covers_the_truth() -> None:
    found = [estimate_delay(*two_signals(0.02, seed=seed)) for seed in range(20)]
    assert sum(abs(one.delay_ms - 20) <= one.error_ms for one in found) >= 17
    assert np.median([one.error_ms for one in found]) < 2.5


def test_different_rates_are_no_trouble() -> None:
    late, _ = two_signals(0.03, seed=5, hertz=9.0)
    _, other = two_signals(0.03, seed=5, hertz=60.0)
    found = estimate_delay(late, other)
    assert not found.refused
    assert found.delay_ms == pytest.approx(30, abs=max(3.0, found.error_ms))


def test_drift_is_followed_and_no_drift_is_none() -> None:
    found = estimate_delay(*two_signals(0.03, seed=6, drift=400e-6, seconds=60.0))
    assert found.drift_ppm == pytest.approx(400, abs=40)
    assert found.delay_ms == pytest.approx(30 + 400e-3 * 20, abs=1)  # in the middle of the record, 20 s after 10 s
    assert drifts(found)
    assert not drifts(estimate_delay(*two_signals(0.03, seed=6, seconds=60.0)))


def test_short_record_does_not_invent_a_drift() -> None:
    found = [estimate_delay(*two_signals(0.02, seed=seed, seconds=13.0)) for seed in range(20)]
    assert sum(map(drifts, found)) <= 2
    assert max(abs(one.drift_ppm) for one in found) <= 1000.001


def test_opposite_brightness_has_to_be_said() -> None:
    late, other = two_signals(0.03, seed=7)
    upside_down = Signal(late.times_s, -late.values)
    assert estimate_delay(upside_down, other, opposite=True).delay_ms == pytest.approx(30, abs=1)
    wrong = estimate_delay(upside_down, other)
    assert wrong.refused or abs(wrong.delay_ms - 30) > 50


def test_flat_and_unrelated_signals_are_refused() -> None:
    late, other = two_signals(0.03, seed=8)
    flat = Signal(other.times_s, np.full_like(other.values, 3.0))
    assert "flat" in estimate_delay(late, flat).refused
    unrelated = [
        estimate_delay(two_signals(0.0, seed=seed)[0], two_signals(0.0, seed=seed + 50)[1]) for seed in range(20)
    ]
    assert all(one.refused for one in unrelated)


def test_periodic_signal_is_refused_with_its_period_unless_the_search_is_short() -> None:
    late, other = two_signals(0.03, seed=9)
    beats = [Signal(one.times_s, np.sign(np.sin(2 * np.pi * (one.times_s - off) / 0.4))[:, None])
             for one, off in ((late, 0.03), (other, 0.0))]  # fmt: skip
    found = estimate_delay(*beats)
    assert "ambiguous" in found.refused
    assert re.search(r"repeats every (399|400|401) ms", found.refused)
    assert any(abs(other_ms - found.delay_ms) == pytest.approx(400, abs=5) for other_ms in found.others_ms)
    short = estimate_delay(*beats, within_s=0.18)
    assert not short.refused
    assert short.delay_ms == pytest.approx(30, abs=8)  # edges are known to a frame only


def test_clocks_that_run_apart_as_far_as_the_search_goes_are_not_believed() -> None:
    """Smooth unrelated signals agree along some slanting line, and there leaving windows out changes nothing."""
    found = estimate_delay(*two_signals(0.03, seed=6, drift=1500e-6, seconds=30.0))
    assert found.drift_ppm == pytest.approx(1000)
    assert "1000 ppm or more" in found.refused
    assert not estimate_delay(*two_signals(0.03, seed=6, drift=700e-6, seconds=30.0)).refused


def test_short_record_is_told() -> None:
    late, other = two_signals(0.0)
    early = other.times_s < 6
    with pytest.raises(UserError, match=r"seen together for [56]\.\d s; at least 11 s are needed: record longer"):
        estimate_delay(late, Signal(other.times_s[early], other.values[early]))


def test_delay_beyond_the_search_is_not_told() -> None:
    assert estimate_delay(*two_signals(0.9, seed=10)).refused


# Edges of a lamp

EXPOSURE_S = 0.008


def lamp(times_s: np.ndarray, seed: int) -> np.ndarray:
    """Share of the exposure around each time in which an irregularly blinking lamp was on, with some noise."""
    rng = np.random.default_rng([seed, 6])
    steps = rng.uniform(0.1, 0.4, 400)
    at = np.concatenate([[-1.0], -1.0 + np.cumsum(steps)])
    lit = np.concatenate([[0.0], np.cumsum(np.where(np.arange(len(steps)) % 2, steps, 0.0))])
    share = np.diff(np.interp(np.stack([times_s - EXPOSURE_S / 2, times_s + EXPOSURE_S / 2]), at, lit), axis=0)[0]
    return (share / EXPOSURE_S + 0.02 * rng.standard_normal(len(times_s)))[:, None]


def two_lamps(delay_s: float, seed: int, drift: float = 0.0, **kinds: Any) -> tuple[Signal, Signal]:
    first, second = stamps(2 * seed, **kinds), stamps(2 * seed + 1, **kinds)
    late = first + delay_s + drift * (first - 15)
    return Signal(late, 800 * lamp(first, seed) + 30), Signal(second, lamp(second, seed))


def test_edges_lie_between_the_frames_that_tell_them() -> None:
    times = np.arange(60) / 30
    values = np.where((times > 0.65) & (times < 1.25), 1.0, 0.0)[:, None]
    values[38] = 0.25  # the lamp went out in the first quarter of this frame's exposure
    signal = Signal(times, values)
    found = edges(signal)
    assert found.rising.tolist() == [True, False]
    assert found.first_s[0] < 0.65 < found.last_s[0]
    assert found.last_s[1] - found.first_s[1] < 0.011
    assert times[37] < found.first_s[1] < found.last_s[1] < times[39]
    lost = np.delete(np.arange(60), [20])  # between dark and bright
    assert edges(Signal(times[lost], values[lost])).rising.tolist() == [False]


def test_lamp_is_known_better_by_its_edges_and_the_error_holds() -> None:
    before, after, inside = [], [], 0
    for seed in range(8):
        pair = two_lamps(0.0431, seed, seconds=30.0)
        coarse = estimate_delay(*pair)
        fine = refine(coarse, *pair)
        assert fine is not None
        before.append(abs(coarse.delay_ms - 43.1))
        after.append(abs(fine.delay_ms - 43.1))
        inside += after[-1] <= fine.error_ms
        assert not drifts(fine)
    assert max(after) < 2
    assert max(after) < max(before)
    assert inside >= 7


def test_drift_of_a_lamp_and_its_opposite() -> None:
    late, other = two_lamps(0.02, 3, drift=400e-6, seconds=30.0)
    upside_down = Signal(late.times_s, -late.values)
    fine = refine(estimate_delay(upside_down, other, opposite=True), upside_down, other, opposite=True)
    assert fine is not None
    assert fine.drift_ppm == pytest.approx(400, abs=1.5 * fine.drift_error_ppm)
    assert fine.delay_ms == pytest.approx(20, abs=2.5)


def test_what_is_no_lamp_is_left_as_it_is() -> None:
    late, other = two_signals(0.03, seed=3)
    assert refine(estimate_delay(late, other), late, other) is None
    pair = two_lamps(0.02, 1)
    assert refine(replace(estimate_delay(*pair), refused="flat"), *pair) is None


def test_lamp_is_believed_by_its_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another signal of the same lamp may tell a small error, since all its windows are wrong alike."""
    pair = two_lamps(0.02, 2)

    def too_sure(late: Signal, other: Signal, **kinds: Any) -> Delay:
        return replace(estimate_delay(late, other, **kinds), error_ms=0.1)

    monkeypatch.setattr("streamfuse.calibrate.delay_record.estimate_delay", too_sure)
    both: Any = Watched(*(Says(energy=one, blink=one) for one in pair), 0, ())  # type: ignore[arg-type]
    found = measure(both)
    assert found.by == "blink"
    assert found.delay.error_ms > 0.5
    assert found.all["energy"].error_ms == 0.1


@pytest.mark.parametrize(("peak", "contradicts"), [(0.8, True), (0.6, False)])
def test_only_a_signal_that_correlates_well_contradicts_a_lamps_edges(
    peak: float, contradicts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lamp that blinks seems to move the image a little, at other times."""

    def correlating(late: Signal, other: Signal, **kinds: Any) -> Delay:
        return replace(estimate_delay(late, other, **kinds), peak=peak)

    monkeypatch.setattr("streamfuse.calibrate.delay_record.estimate_delay", correlating)
    lamps, moving = two_lamps(0.02, 2), two_signals(0.2, seed=3)
    both: Any = Watched(*(Says(blink=lamps[one], shift=moving[one]) for one in (0, 1)), 0, ())  # type: ignore[arg-type]
    found = measure(both).delay
    assert ("contradiction" in found.refused) == contradicts
    assert found.delay_ms == pytest.approx(20, abs=3)


# Whole pictures


@pytest.mark.parametrize(("seed", "what"), [(0, hand_held), (1, hand_held), (2, blinking)])
def test_injected_delay_is_found_in_pictures(seed: int, what: Any) -> None:
    found = measure(watched(what(seed), seed, delay_ms=37.0, seconds=14.0))
    assert not found.delay.refused
    assert found.delay.delay_ms == pytest.approx(37, abs=2 if what is hand_held else 6)


def test_still_scene_is_refused() -> None:
    assert measure(watched(still, 3, seconds=12.0)).delay.refused


def test_frozen_pictures_are_left_out() -> None:
    watch = Watch()
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (4, 40, 50), np.uint8)
    for number, stamp_ns in ((0, 0), (1, 33), (1, 66), (1, 99), (2, 132), (3, 131)):
        watch.add(pictures[number], stamp_ns * 1_000_000)
    assert watch.frames == 3
    np.testing.assert_allclose(watch.signals(0)["blink"].times_s, [0, 0.033, 0.132])


def test_region_outside_the_image_is_told() -> None:
    with pytest.raises(UserError, match="reaches beyond the image of 50x40"):
        Watch((30, 0, 30, 10)).add(np.zeros((40, 50), np.uint8), 0)


def test_pictures_of_two_sizes_are_no_stream() -> None:
    watch = Watch()
    watch.add(np.zeros((40, 50), np.uint8), 0)
    with pytest.raises(UserError, match="two sizes or kinds, 50x40 and 60x40"):
        watch.add(np.zeros((40, 60), np.uint8), 1)


def test_two_sure_answers_that_contradict_are_none() -> None:
    late, other = two_signals(0.03, seed=3)
    elsewhere, _ = two_signals(0.2, seed=3)
    both: Any = Watched(Says(blink=late, energy=elsewhere), Says(blink=other, energy=other), 0, ())  # type: ignore[arg-type]
    assert "contradiction" in measure(both).delay.refused
    assert measure(both, by="energy").delay.delay_ms == pytest.approx(200, abs=1)


# What becomes of it


def test_measured_delay_makes_the_matcher_pair_what_was_seen_together() -> None:
    """Thermal stamps say 50 ms more than the truth: with the measured delay, pairs show one instant."""
    pair = scene(4, delay_ms=50.0, seconds=13.0)
    watches, frames = {}, []
    for modality, shot in shots(pair, hand_held(4), 4).items():
        watches[modality] = Watch()
        for number, (pixels, stamp_ns) in enumerate(shot.frames()):
            watches[modality].add(pixels, stamp_ns)
            small = np.zeros((2, 2, 3) if modality is Modality.RGB else (2, 2), np.uint8)
            frames.append(
                Frame(modality=modality, pixels=small, capture_ns=stamp_ns, sequence=number, clock=Clock.RECORDING)
            )
    found = measure(Watched(watches[Modality.THERMAL], watches[Modality.RGB], 0, ())).delay
    rig = written(full_rig(), found)
    assert rig.calibration is not None
    assert rig.calibration.delay_error_ms == pytest.approx(found.error_ms, abs=1e-3)
    matcher = PairMatcher(thermal_delay_ns=rig.thermal_delay_ns, thermal_rate_hz=30, rgb_rate_hz=30)
    pairs = []
    for frame in sorted(frames, key=lambda one: one.capture_ns):
        pairs += [one for one in matcher.push(frame) if isinstance(one, FramePair)]
    apart_ms = [(one.thermal.capture_ns - 50_000_000 - one.rgb.capture_ns) / 1e6 for one in pairs]
    assert len(pairs) > 330
    assert max(map(abs, apart_ms)) < 18  # half a period and the jitter; without the delay it would be 50
    told_ms = [one.skew_ns / 1e6 for one in pairs]
    np.testing.assert_allclose(told_ms, apart_ms, atol=2.0)


def test_refused_delay_is_not_written_and_drift_enlarges_the_error() -> None:
    sure = Delay(12.3456, 0.8, 0.0, 10.0, 0.9, 0.2, 30.0)
    rig = written(full_rig(), sure)
    assert (rig.thermal_delay_ms, rig.calibration.delay_error_ms) == (12.346, 0.8)
    drifting = written(full_rig(), replace(sure, drift_ppm=400.0))
    assert drifting.calibration.delay_error_ms == pytest.approx(0.8 + 6.0)
    with pytest.raises(UserError, match="rig test keeps its delay: flat"):
        written(full_rig(), replace(sure, refused="flat"))


def recording(folder: Path, show: Show, seed: int, **asked: Any) -> list[str]:
    for modality, shot in shots(scene(seed, **asked), show, seed).items():
        place = folder / modality.value
        place.mkdir()
        rows = ["frame,time_ns"]
        for number, (pixels, stamp_ns) in enumerate(shot.frames()):
            cv2.imwrite(str(place / f"{number:05d}.png"), pixels if pixels.ndim == 2 else pixels[..., ::-1])
            rows.append(f"{number:05d},{stamp_ns}")
        (place / "times.csv").write_text("\n".join(rows))
    return [str(folder / "thermal"), str(folder / "rgb")]


def test_command_measures_recordings_and_writes_the_rig_file(tmp_path: Path) -> None:
    full_rig(thermal_delay_ms=3.0).save(tmp_path / "rig.yaml")
    folders = recording(tmp_path, hand_held(6), 6, delay_ms=-22.0, seconds=13.0)
    done = runner.invoke(app, ["delay", *folders, "--seconds", "20", "--into", str(tmp_path / "rig.yaml"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    rig = Rig.load(tmp_path / "rig.yaml")
    assert told["delay_ms"] == pytest.approx(-22, abs=2.5)
    assert rig.thermal_delay_ms == pytest.approx(told["delay_ms"], abs=1e-3)
    apart = abs(told["drift_ppm"]) > max(1.5 * told["drift_error_ppm"], DRIFT_PPM)
    grown_ms = abs(told["drift_ppm"]) * told["seconds"] / 2e3 if apart else 0  # over half the record
    assert rig.calibration.delay_error_ms == pytest.approx(told["error_ms"] + grown_ms, abs=1e-3)
