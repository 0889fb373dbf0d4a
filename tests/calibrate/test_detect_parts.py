"""Targets seen in part: coded boards serve, plain ones where no doubt is left; else the remedy is told."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from printed import FOCAL, RGB_FROM_THERMAL, SIZES, Photographed

from streamfuse.calibrate.detect import detect, look_for
from streamfuse.calibrate.detect.folders import detect_folders
from streamfuse.calibrate.solve import solve
from streamfuse.calibrate.target import parse_target
from streamfuse.calibrate.views import View
from streamfuse.errors import UserError
from streamfuse.terminal import console

MIDDLE, ASIDE = np.array([0, 0, 0.42]), np.array([0.15, 0.02, 0.42])
CODED = ["charuco:6x5:30", "aprilgrid:4x3:39:30", "aruco:4x3:40:30"]


def leaning(*degrees: float) -> np.ndarray:
    return cv2.Rodrigues(np.radians(degrees))[0]


@pytest.fixture(scope="module", params=CODED)
def coded(request):
    return Photographed(parse_target(request.param))


@pytest.mark.parametrize(("middle", "hidden"), [(MIDDLE, 0.35), (ASIDE, 0.0)], ids=["a third hidden", "cut off"])
def test_a_coded_board_is_found_in_part_and_no_covered_point_is_made_up(coded, middle, hidden):
    image, truth = coded.by("rgb", leaning(10, -15, 3), middle, hidden)
    sighting = detect(image, coded.target)
    assert sighting is not None
    assert 0.35 * len(truth) < len(sighting.indices) < 0.9 * len(truth)
    assert np.abs(sighting.pixels - truth[sighting.indices]).max() < 1.5  # half covered ones: 1; made-up ones: 3 to 6


def test_small_tags_in_thermal_are_found_from_the_few_that_are_read():
    """26 px a tag, joined by their corner squares: OpenCV reads one or two of the seven that nothing covers."""
    board = Photographed(parse_target(CODED[1]))
    image, truth = board.by("thermal", leaning(10, -15, 3), np.array([0, 0, 0.5]), 0.35)
    sighting = detect(image, board.target)
    assert sighting is not None
    assert 20 <= len(sighting.indices) <= 32
    assert np.abs(sighting.pixels - truth[sighting.indices]).max() < 1.5


def test_coded_boards_in_part_are_solved():
    """Seven poses, none of which shows all of the board to both cameras."""
    board = Photographed(parse_target(CODED[0]))
    places = [(0.1, 0.08), (-0.1, 0.08), (0.1, -0.09), (-0.1, -0.09), (0.12, 0.0), (0.0, 0.0), (-0.03, 0.03)]
    leans = [(25, 5, 0), (-25, 10, 5), (5, 28, -5), (8, -28, 3), (-20, -20, 0), (22, 22, 8), (-12, 25, 4)]
    views = []
    for number, (at, lean) in enumerate(zip(places, leans, strict=True)):
        shots = [board.by(camera, leaning(*lean), np.array([*at, 0.4]), 0.3 * (number > 4))[0] for camera in SIZES]
        views.append(View(f"pose{number}", *(detect(shot, board.target) for shot in shots)))
    seen = [len(sighting.indices) for view in views for sighting in (view.thermal, view.rgb) if sighting]
    assert len(seen) == 14
    assert sum(count < len(board.target.points_m) for count in seen) >= 7
    solution = solve(views, board.target, ("pinhole", "pinhole"))
    assert solution.rig.thermal.fx == pytest.approx(FOCAL["thermal"], rel=0.03)
    assert solution.rig.rgb.fx == pytest.approx(FOCAL["rgb"], rel=0.03)
    np.testing.assert_allclose(solution.rig.rgb_from_thermal.translation_vector, RGB_FROM_THERMAL, atol=0.008)
    assert solution.thermal.rms_px < 0.3


# Plain boards

PLAIN = Photographed(parse_target("checkerboard:7x5:24"))


@pytest.mark.parametrize("lean", [(10, -15, 3), (5, 5, 172)], ids=["upright", "upside down"])
@pytest.mark.parametrize("camera", SIZES)
def test_a_checkerboard_that_the_image_cuts_off_is_counted_from_its_visible_edge(camera, lean):
    image, truth = PLAIN.by(camera, leaning(*lean), ASIDE)
    look = look_for(image, PLAIN.target)
    assert look.sighting is not None
    assert look.part is not None
    assert 15 <= len(look.sighting.indices) < 35
    off = [
        np.abs(look.sighting.pixels - points[look.sighting.indices]).max()
        for points in (truth, truth[::-1])  # a board upside down looks the same
    ]
    assert min(off) < 0.5


def test_a_plain_board_that_is_covered_in_part_is_not_guessed_at():
    image, _ = PLAIN.by("rgb", leaning(10, -15, 3), MIDDLE, 0.4)
    look = look_for(image, PLAIN.target)
    assert look.sighting is None
    assert look.other_size is None
    assert look.part is not None
    circles = Photographed(parse_target("circles:4x11:12"))
    assert look_for(circles.by("rgb", leaning(10, -15, 3), MIDDLE, 0.4)[0], circles.target).sighting is None


def test_a_board_cut_off_on_both_sides_or_larger_than_asked_is_not_guessed_at():
    image, _ = PLAIN.by("rgb", leaning(0, 0, 0), np.array([0.0, 0.0, 0.13]))
    assert look_for(image, PLAIN.target).sighting is None
    image, _ = PLAIN.by("rgb", leaning(10, -15, 3), ASIDE)
    assert look_for(image, parse_target("checkerboard:5x4:24")).sighting is None


@pytest.mark.parametrize("text", ["checkerboard:7x5:24", "circles:4x11:12"])
def test_where_a_plain_board_is_seen_in_part_only_the_remedy_is_told(text, tmp_path):
    board = Photographed(parse_target(text))
    for camera in ("thermal", "rgb"):
        (tmp_path / camera).mkdir()
        image, _ = board.by(camera, leaning(10, -15, 3), MIDDLE, 0.4)
        cv2.imwrite(str(tmp_path / camera / "pose1.png"), image)
    with pytest.raises(UserError, match="use charuco or aprilgrid where the board does not fit the image"):
        detect_folders([tmp_path], board.target, tmp_path / "out", console)
