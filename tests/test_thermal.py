"""Tone curves: rising, limited, invertible, steady in time, and sensible on real 16-bit files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamfuse.errors import UserError
from streamfuse.thermal import KNOTS, METHODS, ToneCurve, ToneMapper, limited_shares

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FRAME_NS = 33_333_333


def scene(seed: int = 0, *, offset: int = 7000, noise: float = 3.0, size: tuple[int, int] = (160, 128)) -> np.ndarray:
    """Two thirds cold sky, one third rolling ground, a small hot target, and sensor noise (sigma in counts)."""
    width, height = size
    counts = np.full((height, width), float(offset))
    ground = height // 3
    counts[-ground:] += 150 + 80 * np.sin(np.arange(width) / 9) + np.arange(ground)[:, None]
    counts[height // 2 : height // 2 + 6, width // 2 : width // 2 + 4] += 900
    return (counts + np.random.default_rng(seed).normal(0, noise, counts.shape)).round().astype(np.uint16)


def slopes(curve: ToneCurve) -> np.ndarray:
    """Rise of the curve per count, between knots."""
    return np.diff(curve.values.astype(np.float64)) / np.diff(curve.counts.astype(np.float64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "clahe"},
        {"plateau": 0.5},
        {"percentiles": (60, 40)},
        {"percentiles": (-1, 50)},
        {"time_constant_s": -0.1},
        {"max_gain": 0},
        {"max_gain": float("nan")},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="|".join(wrong)):
        ToneMapper(**wrong)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    st.sampled_from(METHODS),
    st.sampled_from([np.uint8, np.uint16]),
    st.lists(st.tuples(st.integers(0, 65535), st.integers(1, 200)), min_size=1, max_size=12),
    st.floats(1, 50),
    st.floats(0.1, 64),
)
def test_every_curve_rises_and_stays_within_zero_and_one(method, dtype, groups, plateau, max_gain) -> None:
    counts = np.repeat(*np.array(groups).T) % (np.iinfo(dtype).max + 1)
    pixels = np.resize(counts, (29, 31)).astype(dtype)
    mapper = ToneMapper(method, plateau=plateau, max_gain=max_gain)
    for curve in (mapper.update(pixels, 0), mapper.update(pixels[::-1, ::-1], FRAME_NS)):
        assert (np.diff(curve.counts) > 0).all()
        assert (np.diff(curve.values) >= 0).all()
        assert (curve.values[0], curve.values[-1]) == (0, 1)
        assert len(curve.counts) == len(curve.values) <= KNOTS
        assert curve.lut.shape == (np.iinfo(dtype).max + 1,)
        assert (np.diff(curve.lut) >= 0).all()
        assert np.allclose(curve.lut, np.interp(np.arange(curve.levels), curve.counts, curve.values), atol=1e-6)


@pytest.mark.parametrize("method", ["auto", "linear"])
def test_eight_bit_thermal_passes_as_it_is(method: str) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    curve = ToneMapper(method).update(pixels, 0)
    assert np.abs(curve.apply(pixels) - pixels / 255.0).max() < 1e-7
    assert curve.apply(pixels).dtype == np.float32


def test_linear_sixteen_bit_spans_the_scene() -> None:
    pixels = scene()
    toned = ToneMapper("linear").update(pixels, 0).apply(pixels)
    assert (toned.min(), toned.max()) == (0, 1)
    assert np.allclose(toned, (pixels - float(pixels.min())) / np.ptp(pixels), atol=1e-5)


def test_percentile_clips_what_it_says_and_no_more() -> None:
    pixels = np.random.default_rng(1).integers(3000, 9000, (100, 100)).astype(np.uint16)
    curve = ToneMapper("percentile", percentiles=(2, 90)).update(pixels, 0)
    low, high = np.percentile(pixels, (2, 90))
    assert np.allclose(curve.counts, (low, high), atol=0.5)
    assert (curve.apply(pixels) <= 0).mean() == pytest.approx(0.02, abs=0.002)
    assert (curve.apply(pixels) >= 1).mean() == pytest.approx(0.10, abs=0.002)


def test_plateau_gives_no_count_more_than_its_limit() -> None:
    pixels = scene(noise=2)
    low, high = np.percentile(pixels, (10, 90))
    for plateau in (1.5, 3.0, 6.0):
        curve = ToneMapper("plateau", plateau=plateau, max_gain=64).update(pixels, 0)
        assert slopes(curve).max() <= plateau / (high - low - 1) * 1.001
    noisy_sky = pixels[: 128 // 2]
    spread = [np.std(ToneMapper("plateau", plateau=p).update(pixels, 0).apply(noisy_sky)) for p in (1.5, 3.0, 6.0)]
    assert spread[0] < spread[1] < spread[2]


def test_plateau_shows_the_scene_that_a_straight_line_loses_to_one_hot_spot() -> None:
    pixels = scene()
    pixels[:4, :4] = 60_000
    ground = pixels[-40:]
    straight = ToneMapper("linear").update(pixels, 0).apply(ground)
    plateau = ToneMapper("plateau").update(pixels, 0).apply(ground)
    assert np.ptp(straight) < 0.01
    assert np.ptp(plateau) > 0.3


@pytest.mark.parametrize("method", ["percentile", "plateau", "linear"])
def test_gain_limit_keeps_noise_small_and_a_flat_image_in_the_middle(method: str) -> None:
    mapper = ToneMapper(method, max_gain=2.0)
    flat = np.full((64, 64), 5000, np.uint16)
    assert ToneMapper(method).update(flat, 0).apply(flat) == pytest.approx(0.5, abs=0.01)
    blank = np.random.default_rng(0).normal(5000, 3, (128, 128)).round().astype(np.uint16)
    curve = mapper.update(blank, 0)
    assert slopes(curve).max() <= 2 / 255 * 1.001
    assert np.std(curve.apply(blank)) <= 3.1 * 2 / 255


@pytest.mark.parametrize("pixels", [scene(), scene(noise=40), np.full((8, 8), 65535, np.uint16)])
def test_the_curve_can_be_inverted_to_a_count(pixels: np.ndarray) -> None:
    curve = ToneMapper("plateau").update(pixels, 0)
    inside = pixels[(pixels > curve.counts[0]) & (pixels < curve.counts[-1])]
    assert len(inside) >= 0.99 * pixels.size
    assert np.abs(curve.invert(curve.apply(inside)) - inside).max() <= 1


@settings(max_examples=100)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=60), st.floats(1.0, 20.0))
def test_shares_follow_the_weights_up_to_the_limit(raw: list[int], over: float) -> None:
    weights = np.array([*raw, 1], dtype=float) / (sum(raw) + 1)
    limit = over / len(weights)
    shares = limited_shares(weights, limit)
    assert shares.sum() == pytest.approx(1)
    assert shares.max() <= limit * (1 + 1e-9)
    order = np.argsort(weights, kind="stable")
    if limit * np.count_nonzero(weights) > 1:
        assert (np.diff(shares[order]) >= -1e-12).all()
        below = (shares < limit * (1 - 1e-9)) & (weights > 0)
        assert np.ptp(shares[below] / weights[below]) < 1e-9 if below.any() else True


def test_brightness_of_a_noisy_static_scene_does_not_flicker() -> None:
    steady, flickering = ToneMapper(), ToneMapper(time_constant_s=0)
    means: list[tuple[float, float]] = []
    for k in range(60):
        pixels = scene(k, noise=8)
        if k % 2:
            pixels[:20, :20] += 4000  # a hot thing that comes and goes
        probe = scene(0, noise=0)
        means.append(tuple(float(m.update(pixels, k * FRAME_NS).apply(probe).mean()) for m in (steady, flickering)))
    jumps = np.abs(np.diff(np.array(means)[20:], axis=0)).max(axis=0)
    assert jumps[0] < 0.002  # half a grey level
    assert jumps[1] > 4 * jumps[0]


def test_smoothing_depends_on_time_and_not_on_the_frame_rate() -> None:
    start, end = scene(1), scene(2, offset=7300)
    first, last = (ToneMapper("plateau").update(pixels, 0).counts.astype(float) for pixels in (start, end))
    wanted = last + np.exp(-1.0) * (first - last)
    for steps in (2, 10, 40):
        mapper = ToneMapper("plateau", time_constant_s=1.0)
        mapper.update(start, 0)
        for k in range(steps):
            noisy = end.copy()
            noisy[0, 0] += k % 2  # not a repeated frame, and no sample of the histogram
            curve = mapper.update(noisy, round((k + 1) * 1e9 / steps))
        assert np.abs(curve.counts - wanted).max() < 1.0


def test_an_offset_step_is_followed_smoothly_and_completely() -> None:
    mapper = ToneMapper(time_constant_s=0.5)
    for k in range(5):
        mapper.update(scene(k), k * FRAME_NS)
    means = []
    for k in range(5, 155):
        pixels = scene(k, offset=7400)
        means.append(float(mapper.update(pixels, k * FRAME_NS).apply(pixels).mean()))
    settled = ToneMapper().update(scene(0), 0).apply(scene(0)).mean()
    assert means[0] > settled + 0.2
    assert np.abs(np.diff(means)).max() < 0.1
    assert means[-1] == pytest.approx(settled, abs=0.01)


def test_a_frozen_shutter_holds_the_curve_and_says_so() -> None:
    mapper = ToneMapper()
    before = mapper.update(scene(0), 0)
    held = [mapper.update(scene(0).copy(), k * FRAME_NS) for k in range(1, 15)]
    assert not before.held
    assert all(curve.held for curve in held)
    assert np.array_equal(held[-1].counts, before.counts)
    after = mapper.update(scene(1, offset=7300), 15 * FRAME_NS)
    assert not after.held
    moved = (after.counts[128] - before.counts[128]) / 300
    assert moved == pytest.approx(1 - np.exp(-FRAME_NS / 1e9), abs=0.01)  # the freeze does not count as waiting


def test_a_frame_that_differs_in_one_pixel_is_not_held_even_in_a_reused_buffer() -> None:
    mapper = ToneMapper()
    buffer = scene(0)
    mapper.update(buffer, 0)
    buffer[-1, -1] += 1
    assert not mapper.update(buffer, FRAME_NS).held
    assert mapper.update(buffer, 2 * FRAME_NS).held


def test_time_that_runs_back_moves_nothing_and_reset_forgets() -> None:
    mapper = ToneMapper()
    before = mapper.update(scene(0), 10**12)
    assert np.array_equal(mapper.update(scene(1, offset=9000), 10**9).counts, before.counts)
    mapper.reset()
    fresh = mapper.update(scene(1, offset=9000), 10**9)
    assert not fresh.held
    assert np.array_equal(fresh.counts, ToneMapper().update(scene(1, offset=9000), 0).counts)


def test_no_smoothing_makes_every_frame_its_own() -> None:
    mapper = ToneMapper(time_constant_s=0)
    mapper.update(scene(0), 0)
    assert np.array_equal(mapper.update(scene(3), 1).counts, ToneMapper().update(scene(3), 0).counts)


def raw_files() -> list[Path]:
    folders = ("raw16_flir/raw16", "raw16_flirpy", "calib_vimslab16/ir_5003", "calib_vimslab16/ir_5270")
    return [file for folder in folders for file in sorted((SHARED / folder).glob("*.[pt][ni][gf]*"))]


@pytest.mark.parametrize("method", ["percentile", "plateau"])
def test_real_raw_files_give_sensible_pictures(method: str) -> None:
    files = raw_files()
    if not files:
        pytest.skip(f"shared data not here: {SHARED}")
    assert len(files) == 19
    for file in files:
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == np.uint16, file
        curve = ToneMapper(method).update(pixels, 0)
        toned = curve.apply(pixels)
        assert np.isfinite(toned).all()
        floor = (pixels == pixels.min()).mean()  # what the sensor itself cut off
        assert (toned <= 0).mean() <= 0.005 + 0.003 + floor, file  # 0.3 % for the histogram being a sample
        assert (toned >= 1).mean() <= 0.005 + 0.003, file
        assert 0.05 < toned.mean() < 0.95, file
        if method == "plateau":
            assert toned.std() > 0.2, file
            inside = pixels[(toned > 0) & (toned < 1)]
            assert np.abs(curve.invert(curve.apply(inside)) - inside).max() <= 1, file
