"""The synthetic scene against its own truth, and that truth against independent geometry."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from streamfuse.errors import UserError
from streamfuse.frames import Clock, Modality
from streamfuse.rig import Rig
from streamfuse.sources.synthetic import SceneConfig, SyntheticPair, open_synthetic, synthetic_rig
from streamfuse.sources.synthetic.camera import RgbCamera, ThermalCamera
from streamfuse.sources.synthetic.scene import Light, Part, Scene, ellipse
from streamfuse.sources.synthetic.street import MARKER_KELVIN
from streamfuse.sources.synthetic.truth import Timing

SMALL = SceneConfig(thermal_size=(160, 128), rgb_size=(320, 256))
SIZED = SceneConfig(thermal_size=(320, 256), rgb_size=(640, 512), noise=0.0, people=0, vehicles=0)
MS = 1_000_000


@pytest.fixture(scope="module")
def lively() -> SyntheticPair:
    return open_synthetic(SMALL, pace="fast")


@pytest.fixture(scope="module")
def bare() -> SyntheticPair:
    return open_synthetic(SIZED, pace="fast")


@pytest.fixture(scope="module")
def marked() -> SyntheticPair:
    return open_synthetic(replace(SIZED, markers=True), pace="fast")


@dataclass(frozen=True)
class Ball:
    """A warm white disc on a straight way, at 1 m/s to the right."""

    identity: int = 1
    kind: str = "ball"
    ground_m: float = 0.0

    def parts(self, time_s: float) -> list[Part]:
        return [Part(ellipse((time_s - 3.0, 2.9), 0.3, 0.3, corners=48), (255, 255, 255), 320.0, shines=True)]

    def lights(self, time_s: float) -> list[Light]:
        return []


def centroid(cover: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """Centre of mass of a coverage picture around a pixel."""
    x, y = np.meshgrid(np.arange(cover.shape[1]), np.arange(cover.shape[0]))
    weight = cover * (np.hypot(x - near[0], y - near[1]) < reach)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def cover_of(pair: SyntheticPair, plain: SyntheticPair, modality: Modality) -> np.ndarray:
    """How much of every pixel a marker covers, from the pictures with and without the markers."""
    if modality is Modality.THERMAL:
        with_, without = (p.thermal.frame(0).pixels.astype(float) / 100 for p in (pair, plain))
        return (with_ - without) / (MARKER_KELVIN - without)
    with_, without = (p.rgb.frame(0).pixels[..., 2].astype(float) for p in (pair, plain))
    return (with_ - without) / np.maximum(255 - without, 1)


@pytest.mark.parametrize("modality", Modality)
def test_painted_discs_lie_where_the_truth_says(marked: SyntheticPair, bare: SyntheticPair, modality: Modality) -> None:
    cover = cover_of(marked, bare, modality)
    pixels = marked.truth.pixel(modality, marked.truth.markers_m)
    reach = 0.3 * marked.truth.views[modality].px_per_m + 2
    size = np.array(marked.truth.views[modality].lens.size)
    inside = pixels[((pixels > reach) & (pixels < size - 1 - reach)).all(axis=1)]
    errors = [np.hypot(*(centroid(cover, pixel, reach) - pixel)) for pixel in inside]
    assert len(errors) >= 25
    assert max(errors) < 0.05


@pytest.mark.parametrize("time_s", [0.5, 1.234, 3.0, 5.77])
def test_moving_things_are_drawn_where_the_truth_says(bare: SyntheticPair, time_s: float) -> None:
    views, backdrop = bare.truth.views, bare.truth.scene.backdrop
    still, moving = (Scene(backdrop, actors, np.zeros((0, 2))) for actors in ((), (Ball(),)))
    thermal = [
        ThermalCamera(s, views[Modality.THERMAL], seed=0, bits=16, noise=0.0).kelvin(time_s) for s in (still, moving)
    ]
    rgb = [
        RgbCamera(s, views[Modality.RGB], seed=0, night=True, noise=0.0).picture(time_s, 0)[..., 2].astype(float)
        for s in (still, moving)
    ]
    for modality, (without, with_), full in ((Modality.THERMAL, thermal, 320.0), (Modality.RGB, rgb, 255.0)):
        expected = bare.truth.pixel(modality, np.array([[time_s - 3.0, 2.9]]))[0]
        reach = 0.4 * views[modality].px_per_m + 2
        found = centroid((with_ - without) / np.maximum(full - without, 1), expected, reach)
        assert np.hypot(*(found - expected)) < 0.05


def test_truth_agrees_with_opencv_projection(bare: SyntheticPair) -> None:
    rig, points = bare.rig, np.array([[-7.0, -4.0], [0.0, 0.0], [3.3, 4.1], [8.0, -2.0]])
    world = np.column_stack([points, np.full(len(points), rig.working_depth_m)])
    rotation, translation = np.array(rig.rgb_from_thermal.rotation), np.array(rig.rgb_from_thermal.translation)
    for modality, lens, turn, shift in (
        (Modality.RGB, rig.rgb, np.eye(3), np.zeros(3)),
        (Modality.THERMAL, rig.thermal, rotation.T, -rotation.T @ translation),
    ):
        matrix = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
        expected, _ = cv2.projectPoints(world, cv2.Rodrigues(turn)[0], shift, matrix, np.array(lens.distortion))
        np.testing.assert_allclose(bare.truth.pixel(modality, points), expected[:, 0], atol=1e-6)


def test_the_warp_joins_the_same_plane_point_in_both_images(bare: SyntheticPair) -> None:
    warp, inside = bare.truth.thermal_from_rgb()
    assert warp.shape == (512, 640, 2)
    assert 0.6 < inside.mean() < 1.0
    column, row = 411, 203
    plane, _ = bare.truth.views[Modality.RGB].plane(np.array([float(column), float(row)]))
    np.testing.assert_allclose(warp[row, column], bare.truth.pixel(Modality.THERMAL, plane[None])[0], atol=1e-6)
    np.testing.assert_allclose(bare.truth.pixel(Modality.RGB, plane[None])[0], [column, row], atol=1e-6)


def test_warped_thermal_discs_fall_on_the_rgb_discs(marked: SyntheticPair, bare: SyntheticPair) -> None:
    warp, _ = marked.truth.thermal_from_rgb()
    cover = cover_of(marked, bare, Modality.THERMAL).astype(np.float32)
    warped = cv2.remap(cover, warp.astype(np.float32), None, cv2.INTER_CUBIC)
    target = marked.truth.pixel(Modality.RGB, np.array([[0.0, 0.0], [4.8, 2.1]]))
    assert max(np.hypot(*(centroid(warped, pixel, 16) - pixel)) for pixel in target) < 0.1


def test_another_rig_can_be_asked_for() -> None:
    config = replace(SMALL, markers=True, noise=0.0, people=0, vehicles=0)
    own = synthetic_rig(config)
    barrel = own.rgb.model_copy(update={"distortion": (-0.25, 0.05, 0.0, 0.0, 0.0)})
    pair, plain = (
        open_synthetic(replace(config, markers=markers), pace="fast", rig=own.model_copy(update={"rgb": barrel}))
        for markers in (True, False)
    )
    expected = pair.truth.pixel(Modality.RGB, np.array([[4.8, 2.1]]))[0]
    assert np.hypot(*(expected - marked_pixel(own, config))) > 1
    found = centroid(cover_of(pair, plain, Modality.RGB), expected, 7)
    assert np.hypot(*(found - expected)) < 0.05


def marked_pixel(rig: Rig, config: SceneConfig) -> np.ndarray:
    pixels, _ = rig.rgb.project(np.array([[4.8, 2.1, config.depth_m]]))
    return pixels[0]


def test_stamps_follow_rate_phase_offset_and_drift_exactly() -> None:
    timing = Timing(30.0, phase_ns=5 * MS, offset_ns=7 * MS, drift_ppm=100.0)
    assert [timing.stamp_ns(k) for k in (0, 3, 30)] == [12 * MS, 112 * MS, 1012 * MS]
    assert timing.exposed_ns(0) == 5 * MS
    # 100 ppm fast: an hour on the camera's clock takes 3600 / 1.0001 s
    assert timing.exposed_ns(108_000) == 5 * MS + round(3600 * 10**9 / 1.0001)
    assert timing.frames_before(1_000 * MS) == 30
    assert Timing(25.0).frames_before(1_000 * MS) == 25
    assert Timing(25.0).frames_before(1_000 * MS + 1) == 26


def test_jitter_moves_stamps_only_and_keeps_them_rising() -> None:
    even, jittery = Timing(30.0), Timing(30.0, jitter_ns=4 * MS, seed=1)
    late = [jittery.stamp_ns(k) - even.stamp_ns(k) for k in range(200)]
    assert all(a < b for a, b in pairwise(jittery.stamp_ns(k) for k in range(200)))
    assert 3 * MS < np.std(late) < 5 * MS
    assert max(map(abs, late)) <= 12 * MS
    assert [jittery.exposed_ns(k) for k in range(9)] == [even.exposed_ns(k) for k in range(9)]


def test_frames_carry_their_times() -> None:
    config = replace(SMALL, duration_s=0.2, thermal_rate_hz=50.0, thermal_offset_ns=-3 * MS)
    pair = open_synthetic(config, pace="fast")
    with pair.thermal as thermal, pair.rgb as rgb:
        hot, coloured = list(thermal), list(rgb)
    assert (len(hot), len(coloured)) == (10, 6) == (thermal.info.frames, rgb.info.frames)
    assert [f.recording_ns for f in hot] == [20 * MS * k - 3 * MS for k in range(10)]
    assert [f.sequence for f in coloured] == list(range(6))
    assert pair.rig.thermal_delay_ns == -3 * MS
    for frame in (*hot, *coloured):
        assert frame.capture_ns - hot[0].capture_ns == frame.recording_ns - hot[0].recording_ns
        assert frame.stamps == {"offered": frame.capture_ns}
        assert frame.clock is Clock.RECORDING
    assert pair.truth.time_ns(Modality.THERMAL, 4) == 80 * MS


def test_shutter_repeats_the_last_picture_and_nothing_else_does() -> None:
    config = replace(SMALL, duration_s=1.0, shutter_every_s=0.5, shutter_duration_s=0.2)
    pair = open_synthetic(config, pace="fast")
    pictures = [frame.pixels for frame in pair.thermal]
    same = [k for k, (before, after) in enumerate(pairwise(pictures), 1) if (before == after).all()]
    assert same == list(range(15, 21))
    assert pair.truth.shown_time_ns(Modality.THERMAL, 18) == pair.truth.time_ns(Modality.THERMAL, 14)
    assert pair.truth.shown_time_ns(Modality.THERMAL, 21) == pair.truth.time_ns(Modality.THERMAL, 21)


def test_same_seed_same_pictures_other_seed_other_pictures(lively: SyntheticPair) -> None:
    again, other = open_synthetic(SMALL, pace="fast"), open_synthetic(replace(SMALL, seed=1), pace="fast")
    for number in (0, 41):
        for name in ("thermal", "rgb"):
            first, second, third = (getattr(pair, name).frame(number).pixels for pair in (lively, again, other))
            np.testing.assert_array_equal(first, second)
            assert (first != third).mean() > 0.3


def test_pictures_have_the_promised_form(lively: SyntheticPair) -> None:
    thermal, rgb = lively.thermal.frame(0), lively.rgb.frame(0)
    assert thermal.pixels.shape == (128, 160)
    assert thermal.pixels.dtype == np.uint16
    assert rgb.pixels.shape == (256, 320, 3)
    assert rgb.pixels.dtype == np.uint8
    assert lively.thermal.info.bits == 16
    kelvin = thermal.pixels * thermal.radiometric.scale + thermal.radiometric.offset
    assert 255 < kelvin.min() < 275
    assert 300 < kelvin.max() < 335


def test_8_bit_thermal_spans_its_range_in_the_same_order(lively: SyntheticPair) -> None:
    pair = open_synthetic(replace(SMALL, thermal_bits=8), pace="fast")
    frame = pair.thermal.frame(20)
    assert frame.pixels.dtype == np.uint8
    assert frame.radiometric is None
    assert pair.thermal.info.bits == 8
    assert (frame.pixels.min(), frame.pixels.max()) == (0, 255)
    counts = lively.thermal.frame(20).pixels.astype(float)
    straight = np.polyval(np.polyfit(counts.ravel(), frame.pixels.ravel(), 1), counts)
    middle = (frame.pixels > 0) & (frame.pixels < 255)
    assert np.abs(straight - frame.pixels)[middle].mean() < 3


@pytest.mark.parametrize("time_ns", [0, 2_000 * MS])
def test_boxes_hold_what_moves_and_are_tight(lively: SyntheticPair, time_ns: int) -> None:
    truth = lively.truth
    view = truth.views[Modality.THERMAL]
    empty = ThermalCamera(replace(truth.scene, actors=()), view, seed=0, bits=16, noise=0.0).kelvin(0.0)
    boxes = truth.boxes(Modality.THERMAL, time_ns)
    assert {"person", "vehicle", "dog"} >= {box.kind for box in boxes} >= {"person"}
    assert len({box.identity for box in boxes}) == len(boxes)
    for box in boxes:
        alone = replace(truth.scene, actors=tuple(a for a in truth.scene.actors if a.identity == box.identity))
        kelvin = ThermalCamera(alone, view, seed=0, bits=16, noise=0.0).kelvin(time_ns / 1e9)
        y, x = np.nonzero(np.abs(kelvin - empty) > 2.0)
        assert box.x - 1 <= x.min() <= box.x + 3
        assert box.x + box.width - 3 <= x.max() <= box.x + box.width + 1
        assert box.y - 1 <= y.min() <= box.y + 3
        assert box.y + box.height - 3 <= y.max() <= box.y + box.height + 1


def test_people_in_the_dark_are_seen_by_the_thermal_camera_only(lively: SyntheticPair) -> None:
    """The scene's reason to be: the figure between the houses is bright in one image and nearly absent in the other."""
    hidden = 3
    contrast = {}
    for modality, source in ((Modality.THERMAL, lively.thermal), (Modality.RGB, lively.rgb)):
        box = next(b for b in lively.truth.boxes(modality, 0) if b.identity == hidden)
        image = source.frame(0).pixels.astype(float)
        image = image if image.ndim == 2 else image.mean(axis=2)
        middle = image[round(box.y + 2) : round(box.y + box.height / 2), round(box.x + box.width / 2)]
        contrast[modality] = (middle.mean() - np.median(image)) / image.std()
    assert contrast[Modality.THERMAL] > 1.0
    assert contrast[Modality.RGB] < 0.1


def test_by_day_the_street_is_bright(lively: SyntheticPair) -> None:
    day = open_synthetic(replace(SMALL, night=False), pace="fast").rgb.frame(0).pixels
    assert day.mean() > 1.6 * lively.rgb.frame(0).pixels.mean()


def test_without_a_duration_it_never_ends() -> None:
    pair = open_synthetic(SMALL, pace="every")
    assert pair.rgb.info.frames is None
    with pair.thermal as thermal:
        assert [frame.sequence for frame in islice(thermal, 70)][-1] == 69


def test_real_pace_keeps_the_schedule_and_close_ends_it_at_once() -> None:
    pair = open_synthetic(replace(SMALL, thermal_rate_hz=20.0, rgb_rate_hz=0.5), pace="real")
    early: list[int] = []
    ended = threading.Event()

    def read_thermal() -> None:
        early.extend(time.monotonic_ns() - frame.capture_ns for frame in pair.thermal)
        ended.set()

    def read_rgb() -> None:
        for _ in pair.rgb:
            pass
        slow.set()

    slow = threading.Event()
    threads = [threading.Thread(target=read) for read in (read_thermal, read_rgb)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    pair.thermal.close()
    pair.rgb.close()
    pair.rgb.close()
    assert ended.wait(0.5)
    assert slow.wait(0.5)
    assert early
    assert min(early) >= 0
    assert list(pair.thermal) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"thermal_bits": 12}, "thermal_bits is 12; allowed is 8 or 16"),
        ({"thermal_rate_hz": 0.0}, "thermal_rate_hz is 0.0; allowed is a positive number"),
        ({"rgb_size": (8, 720)}, r"rgb_size is \(8, 720\); allowed is"),
        ({"jitter_ns": 10 * MS}, "jitter_ns is 10000000; allowed is 0 to 4761905"),
        ({"seed": -1}, "seed is -1; allowed is 0 or more"),
        ({"duration_s": -2.0}, "duration_s is -2.0; allowed is a positive number or None"),
    ],
)
def test_values_out_of_range_are_refused_by_name(changes: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        SceneConfig(**changes)


def test_unusable_rigs_and_paces_are_refused() -> None:
    with pytest.raises(UserError, match="planar rig"):
        open_synthetic(SMALL, rig=Rig.identity(SMALL.thermal_size, SMALL.rgb_size))
    with pytest.raises(UserError, match=r"rgb_size is \(320, 256\), rig 'synthetic' has \(640, 512\)"):
        open_synthetic(SMALL, rig=synthetic_rig(SIZED).model_copy(update={"thermal": synthetic_rig(SMALL).thermal}))
    with pytest.raises(UserError, match="pace is 'slow'; allowed is real, fast, every"):
        open_synthetic(SMALL, pace="slow")
