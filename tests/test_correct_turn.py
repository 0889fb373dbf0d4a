"""Roll and zoom: measured by tiles, believed by medians, corrected in the map, and said in the message."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from test_correct import SIZE, error, estimator, pair, scene

from streamfuse.calibrate.drift_trial import displaced
from streamfuse.correct import Reading
from streamfuse.correct_limits import TURN
from streamfuse.correct_track import TOGETHER_S, Tracker
from streamfuse.correct_turn import find_turn, fit_turn
from streamfuse.correction import in_words
from streamfuse.depths import Geometry
from streamfuse.frames import Alignment, Turn
from streamfuse.register import Registrar
from streamfuse.rig import Rig
from streamfuse.wire import _alignment_entry

CORNER_PX = math.hypot(640, 512) / 2


# What is measured


@pytest.mark.parametrize("turn", [(0.0, 0.0), (0.009, 0.0), (0.0, -0.012), (-0.006, 0.008)])
def test_roll_and_zoom_between_spectra_are_found(turn: tuple[float, float]) -> None:
    frames = pair(scene())
    reader = estimator()
    moved = Geometry(turned=turn, moved_px=(3.0, -2.0))
    thermal = displaced(frames.thermal.pixels, moved, 1.0, reader.pivot)
    found = reader.read(reader.planes(thermal, frames.rgb.pixels))
    np.testing.assert_allclose(found.turn, turn, atol=0.0015)
    np.testing.assert_allclose(found.shift_px, (3.0, -2.0), atol=0.5)


def test_the_pivot_is_the_middle_of_what_both_see() -> None:
    np.testing.assert_allclose(estimator().pivot, ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2))


def test_images_without_common_edges_have_no_turn() -> None:
    reader = estimator()
    thermal, visible = pair(scene(0)).thermal.pixels, pair(scene(5)).rgb.pixels
    assert find_turn(reader.planes(thermal, visible), reader.region, (0.0, 0.0)) is None


def test_a_shift_at_the_edge_of_the_search_leaves_no_room_for_tiles() -> None:
    reader, frames = estimator(), pair(scene())
    planes = reader.planes(frames.thermal.pixels, frames.rgb.pixels)
    assert find_turn(planes, reader.region, (0.0, 0.0)) is not None
    assert find_turn(planes, reader.region, (-9.0, 0.0)) is None


PLACES = np.array([complex(x, y) for y in (-72, 0, 72) for x in (-111, -37, 37, 111)])


def test_tiles_that_stray_do_not_count() -> None:
    shifts = (2 - 1j) + (0.004 + 0.007j) * PLACES
    shifts[[1, 6, 11]] += [3, -3j, 2 + 2j]
    assert fit_turn(PLACES, shifts) == pytest.approx(0.004 + 0.007j, abs=1e-4)


def test_noise_of_the_tiles_averages_out() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (2, len(PLACES)))
    found = fit_turn(PLACES, 0.006j * PLACES + noise[0] + 1j * noise[1])
    assert found == pytest.approx(0.006j, abs=0.002)


# What is believed and applied

BIAS = np.array([0.004, -0.003])


def turned_by(roll: float, zoom: float) -> np.ndarray:
    return BIAS + np.array([roll, zoom])


def follow(
    tracker: Tracker, turns: list[np.ndarray], *, sure: bool = True, new: bool = False, seed: int = 0
) -> list[Alignment]:
    """Readings every half second, the shift at rest, with 0.7 px of noise at a corner."""
    random = np.random.default_rng(seed)
    told: list[Alignment] = []
    for k, turn in enumerate(turns):
        seen = turn + random.normal(0, 0.7 / CORNER_PX, 2)
        reading = Reading(random.normal(0, 0.1, 2), sure, new and k == 0, 0.4, 1.5, seen)
        told.append(tracker.follow(reading, 0.5))
    return told


def turn_of(alignment: Alignment) -> Turn:
    assert alignment.turn is not None
    return alignment.turn


STILL = [BIAS] * 80


@pytest.mark.parametrize("seed", range(4))
def test_nothing_turns_while_nothing_turned(seed: int) -> None:
    told = follow(Tracker(), STILL * 4, seed=seed)
    assert all(turn_of(each).applied == (0.0, 0.0) and each.applied_px == (0.0, 0.0) for each in told)
    assert not turn_of(told[-1]).frozen


@pytest.mark.parametrize("turned", [(math.radians(0.3), 0.0), (0.0, 0.005), (-0.004, -0.004)])
def test_a_slow_turn_is_followed(turned: tuple[float, float]) -> None:
    ramp = [BIAS + np.array(turned) * min(1.0, k / 40) for k in range(140)]
    told = follow(Tracker(), [*STILL, *ramp])[-1]
    left = np.subtract(turn_of(told).applied, turned)
    assert np.hypot(*left) * CORNER_PX < 0.75
    assert error(told, (0.0, 0.0)) == 0


def test_watching_turns_nothing() -> None:
    told = turn_of(follow(Tracker(apply=False), [*STILL, *[turned_by(0.006, 0.0)] * 120])[-1])
    assert told.applied == (0.0, 0.0)
    assert told.drift[0] == pytest.approx(0.006, abs=0.0015)


def test_five_wild_seconds_turn_nothing() -> None:
    wild = [turned_by(0.02, 0.01)] * round(TOGETHER_S * 2)
    told = follow(Tracker(), [*STILL, *wild, *STILL])
    assert all(turn_of(each).applied == (0.0, 0.0) for each in told)


def test_other_scenes_with_other_turns_are_no_drift() -> None:
    random, tracker = np.random.default_rng(5), Tracker()
    for seed in range(25):
        bias = random.normal(0, 2.0 / CORNER_PX, 2)
        told = follow(tracker, [bias] * 24, new=True, seed=seed)[-1]
        assert turn_of(told).applied == (0.0, 0.0)


def test_scenes_too_short_for_a_median_are_not_believed() -> None:
    tracker = Tracker()
    for seed in range(60):
        told = follow(tracker, [BIAS] * 4, new=True, seed=seed)[-1]
    assert turn_of(told).frozen


def test_unsure_readings_freeze_the_turn_where_it_is() -> None:
    tracker = Tracker()
    before = turn_of(follow(tracker, [*STILL, *[turned_by(0.006, 0.0)] * 120])[-1])
    after = turn_of(follow(tracker, [BIAS] * 100, sure=False)[-1])
    assert before.applied[0] > 0.004
    assert after.frozen
    assert not before.frozen
    assert after.applied == before.applied


def test_beyond_the_limit_nothing_is_turned_any_more() -> None:
    far = (TURN.most_px + 1) / CORNER_PX
    told = turn_of(follow(Tracker(), [*STILL, *[turned_by(far, 0.0)] * 120])[-1])
    assert told.frozen
    assert told.applied == (0.0, 0.0)


# What becomes of it


def test_the_map_is_turned_about_the_pivot() -> None:
    registrar = Registrar(Rig.identity(SIZE, SIZE))
    before = registrar.warp.thermal_from_output.copy()
    registrar.correct((1.0, 0.0), (0.01, 0.02), (100.0, 80.0))
    assert registrar.wait(20)
    moved = registrar.warp.thermal_from_output - before
    np.testing.assert_allclose(moved[80, 100], (1.0, 0.0), atol=1e-3)
    np.testing.assert_allclose(moved[80, 150], (1.0 + 0.02 * 50, 0.01 * 50), atol=1e-3)
    np.testing.assert_allclose(moved[130, 100], (1.0 - 0.01 * 50, 0.02 * 50), atol=1e-3)


def test_a_turn_that_is_not_corrected_costs_confidence() -> None:
    registrar = Registrar(Rig.identity(SIZE, SIZE).model_copy(update={"residual_px": 1.0}))
    frames = pair(scene())
    turn = Turn(frozen=False, drift=(0.01, 0.0), spread=0.001)
    registrar.alignment = Alignment(state="watching", turn=turn)
    half_way_px = 0.5 * math.hypot(*SIZE) / 2
    assert registrar.register(frames).confidence == pytest.approx(1 / (1 + 0.007 * half_way_px), rel=1e-3)
    registrar.alignment = Alignment(state="following", turn=Turn(frozen=False, drift=(0.01, 0.0), applied=(0.01, 0.0)))
    assert registrar.register(frames).confidence == pytest.approx(1.0)


def test_the_message_carries_the_turn() -> None:
    told = Alignment(state="following", turn=Turn(frozen=True, drift=(0.005, -0.002), spread=1e-4, applied=(0.004, 0)))
    assert msgspec.json.decode(msgspec.json.encode(_alignment_entry(told)), type=Alignment) == told
    assert b"turn" not in msgspec.json.encode(_alignment_entry(Alignment()))


def test_in_words() -> None:
    told = Alignment(state="frozen", drift_px=(1.25, -2.0), turn=Turn(frozen=True, drift=(math.radians(0.3), 0.005)))
    assert in_words(told).startswith("frozen: drift +1.2 -2.0 px, roll +0.30 degrees, zoom +0.50 %; corrected +0.0")
