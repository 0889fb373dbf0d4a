"""Detection on drawn boards with a known answer, and on the real hard ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamfuse.calibrate.detect import detect, look_for
from streamfuse.calibrate.detect.folders import detect_folders
from streamfuse.calibrate.detect.pairs import read_image
from streamfuse.calibrate.detect.preparations import preparations
from streamfuse.calibrate.detect.stored import load, save
from streamfuse.calibrate.target import Target, parse_target
from streamfuse.calibrate.views import View
from streamfuse.errors import UserError
from streamfuse.terminal import console

BOARD = parse_target("checkerboard:7x5:30")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PIXELS_FROM_BOARD = np.array([[0.95, 0.12, 78.0], [-0.1, 0.9, 92.0], [2e-4, 1e-4, 1.0]])


def drawn(target: Target = BOARD, size=(420, 340)) -> tuple[np.ndarray, np.ndarray]:
    """A tilted checkerboard in [0, 1], softened, and its true corners."""
    x, y = np.meshgrid(np.arange(4 * size[0]) / 4 - 0.375, np.arange(4 * size[1]) / 4 - 0.375)
    plane = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(PIXELS_FROM_BOARD).T
    u, v = plane[..., 0] / plane[..., 2] / 30, plane[..., 1] / plane[..., 2] / 30
    on = (u > -1) & (v > -1) & (u < target.columns) & (v < target.rows)
    image = np.where(on & ((np.floor(u) + np.floor(v)) % 2 == 0), 0.2, 0.8).astype(np.float32)
    image = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 1.2)
    corners = (target.points_m * [1000, 1000, 0] + [0, 0, 1]) @ PIXELS_FROM_BOARD.T
    return image, corners[:, :2] / corners[:, 2:]


def rms(image: np.ndarray, truth: np.ndarray) -> float:
    sighting = detect(image, BOARD)
    assert sighting is not None
    assert len(sighting.indices) == len(truth)
    return float(np.sqrt(((sighting.pixels - truth[sighting.indices]) ** 2).sum(axis=1).mean()))


def test_both_polarities_give_the_same_corners():
    image, truth = drawn()
    assert rms((image * 255).astype(np.uint8), truth) < 0.05
    assert rms(255 - (image * 255).astype(np.uint8), truth) < 0.05


def test_no_corner_is_lost_to_a_spacing_that_binary_numbers_cannot_hold():
    """0.1 m three times, divided by 0.1 m, is not 3."""
    image, truth = drawn()
    sighting = detect((image * 255).astype(np.uint8), parse_target("checkerboard:7x5:100"))
    assert sighting is not None
    assert len(sighting.indices) == len(truth)


def test_a_faint_board_under_a_hot_spot_is_found_in_counts():
    image, truth = drawn()
    x, y = np.meshgrid(np.arange(420), np.arange(340))
    spot = 20_000 * np.exp(-((x - 200) ** 2 + (y - 160) ** 2) / (2 * 120**2))
    counts = 8000 + spot + 900 * image + np.random.default_rng(1).normal(0, 25, image.shape)
    counts[5, 5], counts[100, 200] = 0, 65_000
    assert rms(counts.astype(np.uint16), truth) < 0.2


def test_false_colours_become_one_scale_again():
    image, truth = drawn()
    coloured = cv2.applyColorMap((image * 255).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    sighting = detect(np.ascontiguousarray(coloured), BOARD)
    assert sighting is not None
    assert sighting.shown_by.startswith("palette jet")
    assert rms(np.ascontiguousarray(coloured), truth) < 0.2


def test_a_small_sensor_is_enlarged_and_measured_in_its_own_pixels():
    image, truth = drawn()
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert rms((small * 255).astype(np.uint8), (truth + 0.5) / 2 - 0.5) < 0.08


def test_a_huge_image_is_searched_on_a_smaller_one_and_measured_in_its_own_pixels():
    image, truth = drawn()
    huge = cv2.resize(image, None, fx=7, fy=7, interpolation=cv2.INTER_CUBIC)
    assert rms((huge.clip(0, 1) * 255).astype(np.uint8), (truth + 0.5) * 7 - 0.5) < 0.35
    assert max(min(one.image.shape) for one in preparations(huge)) == 1500


@pytest.mark.parametrize("asked", ["checkerboard:6x5", "checkerboard:8x5", "checkerboard:6x4", "checkerboard:5x4"])
def test_a_board_of_another_size_is_not_taken_for_the_asked_one(asked):
    image, _ = drawn()
    look = look_for((image * 255).astype(np.uint8), parse_target(asked))
    assert look.sighting is None
    assert look.other_size == (7, 5)


def test_an_image_without_a_board_shows_none():
    noise = np.random.default_rng(2).normal(120, 30, (200, 260))
    assert detect(cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8), BOARD) is None


def test_stored_sightings_come_back(tmp_path):
    image, _ = drawn()
    sighting = detect((image * 255).astype(np.uint8), BOARD)
    save(tmp_path / "s.json", BOARD, [View("a", sighting, None)])
    stored = load(tmp_path / "s.json")
    assert stored.target == BOARD
    back = stored.views[0].thermal
    assert back is not None
    assert sighting is not None
    assert np.allclose(back.pixels, sighting.pixels, atol=1e-4)
    assert stored.views[0].rgb is None
    (tmp_path / "s.json").write_text((tmp_path / "s.json").read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(UserError, match="version 9"):
        load(tmp_path / "s.json")


def test_folders_become_sightings_or_a_reason(tmp_path):
    image, _ = drawn()
    pixels = (image * 255).astype(np.uint8)
    for camera, shown in (("ir", 255 - pixels), ("vis", pixels)):
        (tmp_path / camera).mkdir()
        cv2.imwrite(str(tmp_path / camera / "pose1.png"), shown)
    told = detect_folders([tmp_path], BOARD, tmp_path / "out", console)
    assert told["both"] == 1
    assert (tmp_path / "out" / "overlays" / "pose1_thermal.png").exists()
    with pytest.raises(UserError, match="a board of 7x5"):
        detect_folders([tmp_path], parse_target("checkerboard:8x6:30"), tmp_path / "out", console)
    cv2.imwrite(str(tmp_path / "vis" / "pose1.png"), np.full_like(pixels, 90))
    with pytest.raises(UserError, match=r"no rgb image shows .* blurred there: .* focus"):
        detect_folders([tmp_path], BOARD, tmp_path / "out", console)
    cv2.imwrite(str(tmp_path / "ir" / "pose2.png"), pixels[:200])
    with pytest.raises(UserError, match="two sizes"):
        detect_folders([tmp_path], BOARD, tmp_path / "out", console)


@pytest.mark.parametrize("file", ["ir_5003/000000029.png", "ir_5270/000000066.png"])
def test_the_board_that_min_max_scaling_hides_is_found(file):
    path = DATA / "calib_vimslab16" / file
    if not path.exists():
        pytest.skip(f"shared data not here: {path}")
    sighting = detect(read_image(path), parse_target("checkerboard:9x6"))
    assert sighting is not None
    assert len(sighting.indices) >= 50
