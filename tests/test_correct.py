"""Drift correction: what is measured, what is believed of it, what is applied, and the thread that does it in a run."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import frame

from streamfuse.calibrate.detect.pairs import read_image
from streamfuse.correct import Estimator, Reading, witnessed, working_grid
from streamfuse.correct_limits import SHIFT
from streamfuse.correct_track import Tracker
from streamfuse.correction import Correction
from streamfuse.errors import UserError
from streamfuse.frames import Alignment, Clock, Frame, FramePair, Modality
from streamfuse.register import Registrar
from streamfuse.rig import Rig

SIZE = (320, 240)
MSRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "msrs"


def scene(seed: int = 0) -> np.ndarray:
    """Discs and bars of random brightness, H W uint8."""
    random, image = np.random.default_rng(seed), np.full(SIZE[::-1], 90, np.uint8)
    for _ in range(40):
        x, y, size, value = (int(v) for v in random.integers((0, 0, 8, 20), (*SIZE, 40, 230)))
        cv2.rectangle(image, (x, y), (x + size, y + size // 2), value, -1)
        cv2.circle(image, (y, x % SIZE[1]), size // 3, 255 - value, -1)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def pair(image: np.ndarray, moved: tuple[float, float] = (0, 0), sequence: int = 0) -> FramePair:
    """Thermal: 16-bit counts of the other polarity, shifted."""
    matrix = np.array([[1, 0, moved[0]], [0, 1, moved[1]]], dtype=np.float64)
    counts = cv2.warpAffine(20_000 - 40 * image.astype(np.uint16), matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)
    about = {"capture_ns": sequence, "sequence": sequence, "clock": Clock.DRIVER}
    return FramePair(
        thermal=Frame(modality=Modality.THERMAL, pixels=counts, **about),
        rgb=Frame(modality=Modality.RGB, pixels=np.repeat(image[..., None], 3, axis=2), **about),
        skew_ns=0,
    )


def estimator() -> Estimator:
    registrar = Registrar(Rig.identity(SIZE, SIZE))
    return Estimator(registrar.measuring_map(working_grid(registrar.warp.grid)), SIZE[0])


def read(reader: Estimator, frames: FramePair) -> Reading:
    return reader.read(reader.planes(frames.thermal.pixels, frames.rgb.pixels))


def test_a_shift_between_spectra_of_opposite_polarity_is_found() -> None:
    found = read(estimator(), pair(scene(), (5.3, -3.6)))
    assert found.sure
    np.testing.assert_allclose(found.shift_px, (5.3, -3.6), atol=0.2)


def test_a_moved_camera_is_the_same_scene_and_another_scene_is_not() -> None:
    reader = estimator()
    news = [read(reader, frames).new_scene for frames in (pair(scene(0)), pair(scene(0), (4, 2)), pair(scene(1)))]
    assert news == [True, False, True]


@pytest.mark.parametrize(
    ("change", "moved", "believed"),
    [
        ((6.4, -4.8), (6.5, -4.9), (6.4, -4.8)),  # a knock
        ((6.4, -4.8), (6.2, -4.65), (6.4, -4.8)),
        ((0.0, 1.3), (0.0, 0.0), (0.0, 0.3)),  # the scene changed, not the cameras
        ((0.0, 1.3), (0.0, -1.0), (0.0, 0.0)),
        ((0.3, 0.0), (1.2, 0.0), (0.3, 0.0)),  # something moves in one spectrum
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_a_change_counts_as_far_as_both_witnesses_bear_it_out(
    change: tuple[float, float], moved: tuple[float, float], believed: tuple[float, float]
) -> None:
    np.testing.assert_allclose(witnessed(np.array(change), np.array(moved), 0.3), believed, atol=0.02)


def test_a_scene_that_looks_otherwise_to_one_camera_only_is_no_drift() -> None:
    """Two halves of the thermal image, 2 px apart, the edges of first one and then the other being strong."""
    image, reader = scene(), estimator()
    left = np.arange(SIZE[0]) < SIZE[0] / 2
    aside = np.roll(image, 2, axis=1)
    seen = [
        np.where(left, 90 + (image - 90.0) * share, 90 + (aside - 90.0) * (1 - share)).astype(np.uint8)
        for share in (0.8, 0.2)
    ]
    rgb = pair(image).rgb.pixels
    first, second = (reader.read(reader.planes(255 - thermal, rgb)) for thermal in seen)
    alone = estimator().read(reader.planes(255 - seen[1], rgb))
    assert alone.shift_px[0] - first.shift_px[0] > 0.6
    assert second.sure
    assert not second.new_scene
    np.testing.assert_allclose(second.shift_px, first.shift_px, atol=0.3)


def test_neighbours_that_pass_for_one_scene_are_no_drift() -> None:
    """Two real pairs of a standing car: the estimate moves by 1.3 px, neither camera by more than 0.1."""
    if not MSRS.exists():
        pytest.skip(f"shared data not here: {MSRS}")
    first, second = (
        [read_image(MSRS / kind / f"{name}.jpg") for kind in ("ir", "vis")] for name in ("00671D", "00676D")
    )
    size = first[0].shape[1], first[0].shape[0]
    registrar = Registrar(Rig.identity(size, size))
    reader = Estimator(registrar.measuring_map(working_grid(registrar.warp.grid)), size[0])
    before, after = (reader.read(reader.planes(*images)) for images in (first, second))
    assert before.sure
    assert after.sure
    assert not after.new_scene
    assert np.hypot(*(after.shift_px - before.shift_px)) < 0.5


def test_images_without_common_edges_are_not_trusted() -> None:
    frames, other = pair(scene(0)), pair(scene(5))
    reader = estimator()
    assert not reader.read(reader.planes(other.thermal.pixels, frames.rgb.pixels)).sure
    flat = np.full(SIZE[::-1], 90, np.uint8)
    assert not read(estimator(), pair(flat)).sure


def test_too_small_an_overlap_is_told() -> None:
    away = ((1.0, 0.0, 230.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    rig = Rig(name="aside", thermal_size=SIZE, rgb_size=SIZE, rgb_from_thermal_homography=away)
    registrar = Registrar(rig)
    with pytest.raises(UserError, match="too little of the output"):
        Estimator(registrar.measuring_map(working_grid(registrar.warp.grid)), SIZE[0])


# What is believed and applied


def follow(
    tracker: Tracker, shifts: list[tuple[float, float]], *, sure: bool = True, new: bool = False, seed: int = 0
) -> list[Alignment]:
    """Readings every half second, with noise."""
    random = np.random.default_rng(seed)
    return [
        tracker.follow(Reading(np.array(shift) + random.normal(0, 0.15, 2), sure, new, 0.4, 1.5), 0.5)
        for shift in shifts
    ]


def error(alignment: Alignment, truth: tuple[float, float]) -> float:
    return float(np.hypot(*np.subtract(alignment.applied_px, truth)))


BIAS = (-4.0, 3.0)
STILL = [BIAS] * 30


@pytest.mark.parametrize("seed", range(8))
def test_nothing_moves_while_nothing_moved(seed: int) -> None:
    told = follow(Tracker(), STILL * 8, seed=seed)
    assert all(alignment.applied_px == (0.0, 0.0) for alignment in told)
    assert told[-1].state == "following"


@pytest.mark.parametrize("seed", range(8))
def test_a_knock_is_corrected_within_ten_seconds(seed: int) -> None:
    told = follow(Tracker(), [*STILL, *[(BIAS[0] + 6.4, BIAS[1] - 4.8)] * 20], seed=seed)
    assert error(told[-1], (6.4, -4.8)) < 1
    assert max(error(alignment, (6.4, -4.8)) for alignment in told[-10:]) < 1


@pytest.mark.parametrize("seed", range(8))
def test_a_slow_drift_is_followed(seed: int) -> None:
    ramp = [(0.2 * k, 0.15 * k) for k in range(1, 41)]
    told = follow(Tracker(), [*STILL, *[(BIAS[0] + x, BIAS[1] + y) for x, y in ramp]], seed=seed)[30:]
    assert max(error(alignment, truth) for alignment, truth in zip(told, ramp, strict=True)) < 2
    assert error(told[-1], ramp[-1]) < 1.25


def test_a_single_wild_reading_changes_nothing() -> None:
    tracker = Tracker()
    follow(tracker, STILL)
    told = follow(tracker, [(9.0, 9.0), BIAS, (-15.0, 2.0), BIAS, BIAS])
    assert all(alignment.applied_px == (0.0, 0.0) for alignment in told)


def test_other_scenes_with_other_biases_are_no_drift() -> None:
    random = np.random.default_rng(3)
    tracker = Tracker()
    for seed in range(60):
        bias = tuple(random.normal(0, 1.7, 2).tolist())
        told = follow(tracker, [bias], new=True, seed=seed) + follow(tracker, [bias] * 4, seed=seed)
        assert told[-1].applied_px == (0.0, 0.0)


def test_unsure_readings_freeze_the_correction_where_it_is() -> None:
    tracker = Tracker()
    before = follow(tracker, [*STILL, *[(BIAS[0] + 6, BIAS[1])] * 20])[-1]
    after = follow(tracker, [(0.0, 0.0)] * 40, sure=False)[-1]
    assert (before.state, after.state) == ("following", "frozen")
    assert after.applied_px == before.applied_px
    assert after.trusted == 0


def test_beyond_the_limit_nothing_is_corrected_any_more() -> None:
    told = follow(Tracker(), [*STILL, *[(BIAS[0] + SHIFT.most_px + 2, BIAS[1])] * 30])
    assert told[-1].state == "frozen"
    assert told[-1].applied_px == (0.0, 0.0)


def test_watching_measures_and_applies_nothing() -> None:
    told = follow(Tracker(apply=False), [*STILL, *[(BIAS[0] + 6, BIAS[1])] * 20])[-1]
    assert told.state == "watching"
    assert told.applied_px == (0.0, 0.0)
    assert told.drift_px[0] == pytest.approx(6, abs=0.7)


# In a run


def until(registrar: Registrar, correction: Correction, frames: FramePair, state: str, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        correction.offer(frames)
        if registrar.alignment.state == state:
            return True
        time.sleep(0.002)
    return False


def test_the_thread_says_what_it_sees_and_moves_the_map() -> None:
    registrar = Registrar(Rig.identity(SIZE, SIZE))
    image = scene()
    with Correction(registrar, apply=True, rate_hz=4) as correction:
        assert until(registrar, correction, pair(image), "following")
        before = registrar.warp
        end = time.monotonic() + 30
        while registrar.warp is before and time.monotonic() < end:
            correction.offer(pair(image, (6, 0)))
            time.sleep(0.002)
    moved = registrar.warp.thermal_from_output[120, 160] - before.thermal_from_output[120, 160]
    np.testing.assert_allclose(moved, (6, 0), atol=1)
    assert registrar.alignment == Alignment()


def test_a_rig_that_cannot_be_followed_stays_off_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    small = (64, 48)
    registrar = Registrar(Rig.identity(small, small))
    with Correction(registrar, apply=True, rate_hz=100) as correction:
        correction.offer(
            FramePair(thermal=frame(Modality.THERMAL, 0, 0, small), rgb=frame(Modality.RGB, 0, 0, small), skew_ns=0)
        )
    assert "is not followed" in caplog.text
    assert registrar.alignment.state == "off"
