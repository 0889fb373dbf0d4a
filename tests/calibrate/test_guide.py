"""The guide: every advice has its cause, nothing is taken while it moves, and who follows it arrives."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from streamfuse.calibrate.accept import CORNERS
from streamfuse.calibrate.commands import app
from streamfuse.calibrate.detect import Look
from streamfuse.calibrate.detect.eye import Eye
from streamfuse.calibrate.detect.pairs import find_pairs, read_image
from streamfuse.calibrate.guide import COLUMNS, ROWS, Advice, Guide
from streamfuse.calibrate.guide_pose import stands
from streamfuse.calibrate.solve_checks import tilt_spread
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Sighting, View

runner = CliRunner()
BOARD = Target("checkerboard", 6, 4, 0.05)
MIDDLE = BOARD.points_m.mean(axis=0)
SIZES = {"thermal": (250, 202), "rgb": (540, 404)}
FOCAL = {"thermal": 266.0, "rgb": 428.0}  # 50 and 65 degrees across
BASELINE = {"thermal": np.zeros(3), "rgb": np.array([0.05, 0.01, 0.0])}
FAR = 1.3


def matrix(camera: str) -> np.ndarray:
    width, height = SIZES[camera]
    return np.array([[FOCAL[camera], 0, (width - 1) / 2], [0, FOCAL[camera], (height - 1) / 2], [0, 0, 1]])


def pose(at=(0.5, 0.5), lean=(0.0, 0.0), distance=FAR) -> tuple[np.ndarray, np.ndarray]:
    """Thermal from target: its middle at a share of the thermal image; left and top edge away by degrees."""
    pixel = np.array([*(np.array(at) * SIZES["thermal"] - 0.5), 1.0])
    turn = cv2.Rodrigues(np.radians([-lean[1], lean[0], 0.0]))[0]
    return turn, np.linalg.inv(matrix("thermal")) @ pixel * distance - turn @ MIDDLE


def shown(camera: str, placed: tuple[np.ndarray, np.ndarray], noise: float = 0.0, quality: float = 0.9) -> Sighting:
    turn, shift = placed
    points = (BOARD.points_m @ turn.T + shift + BASELINE[camera]) @ matrix(camera).T
    pixels = points[:, :2] / points[:, 2:]
    pixels = pixels + np.random.default_rng(len(pixels)).normal(0, noise, pixels.shape)
    return Sighting(np.arange(len(pixels)), pixels, np.full(len(pixels), quality), SIZES[camera])


def view(*place, **how) -> View:
    placed = pose(*place, **how)
    return View("view", shown("thermal", placed), shown("rgb", placed))


def hold(guide: Guide, one: View) -> Advice:
    guide.see(one)
    return guide.see(one)


# Advice


def test_nothing_is_taken_on_first_sight_or_while_it_moves_in_either_camera():
    guide = Guide(BOARD)
    assert guide.see(view()).state == "moving"
    assert guide.see(view((0.51, 0.5))).say == "hold still"
    still = view((0.51, 0.5))
    assert still.rgb is not None
    for camera in ("thermal", "rgb"):
        seen = getattr(still, camera)
        jumped = replace(still, **{camera: replace(seen, pixels=seen.pixels + np.array([0.6, 0.0]))})
        assert guide.see(jumped).state == "moving"
        assert guide.see(still).state == "moving"
    assert guide.poses == 0
    assert guide.see(view((0.511, 0.5))).accepted  # 0.3 px


def test_a_view_that_was_not_seen_in_between_counts_as_moving():
    guide = Guide(BOARD)
    guide.see(view())
    assert guide.see(replace(view(), rgb=None)).state == "unseen"
    assert guide.see(view()).state == "moving"


def test_who_does_not_see_the_target_is_told():
    guide, both = Guide(BOARD), view()
    assert "both cameras" in guide.see(View("none", None, None)).say
    assert "thermal does not" in guide.see(replace(both, thermal=None)).say
    assert "RGB does not" in guide.see(replace(both, rgb=None)).say
    other = guide.see(View("none", None, None), other_size=(7, 5)).say
    assert other == "a board of 7x5 inner corners is there, checkerboard 6x4 50 mm was asked for"
    assert "uncovered, into the RGB image" in guide.see(replace(both, rgb=None), in_part=True).say
    assert both.rgb is not None
    part = Sighting(both.rgb.indices[:5], both.rgb.pixels[:5], both.rgb.quality[:5], both.rgb.size)
    assert hold(guide, replace(both, rgb=part)).say == "move more of the target into the RGB image"


@pytest.mark.parametrize(("camera", "name"), [("thermal", "thermal"), ("rgb", "RGB")])
def test_blur_is_told_and_not_taken(camera, name):
    one = view()
    faint = replace(one, **{camera: replace(getattr(one, camera), quality=np.full(24, 0.4))})
    said = hold(Guide(BOARD), faint)
    assert said.state == "blurred"
    assert f"in the {name} image" in said.say


def test_a_pose_counts_once_but_another_tilt_or_place_is_another_pose():
    guide = Guide(BOARD)
    assert hold(guide, view()).accepted
    assert hold(guide, view((0.52, 0.51))).state == "known"
    assert hold(guide, view(lean=(25, 0))).accepted
    assert hold(guide, view((0.3, 0.3))).accepted
    assert guide.poses == 3


@pytest.mark.parametrize("corner", CORNERS)
def test_the_corner_that_is_bare_is_asked_for(corner):
    guide = Guide(BOARD)
    for name in CORNERS:
        if name != corner:
            hold(guide, view(place_of(name), distance=0.9))
    assert guide.bare["thermal"] == (corner,)
    assert guide.wanted == f"go to the {corner} corner of the thermal image"


def test_each_side_of_tilt_and_the_distance_are_asked_for_in_turn():
    guide = Guide(BOARD)
    for name in CORNERS:
        hold(guide, view(place_of(name), distance=0.9))
    asked = []
    for lean in ((30, 0), (-30, 0), (0, 30), (0, -30)):
        asked.append(guide.wanted)
        assert hold(guide, view(lean=lean, distance=0.9)).accepted
    assert [re.findall(r"its (\w+) edge", one) for one in asked] == [["left"], ["right"], ["top"], ["bottom"]]
    assert guide.wanted == "come closer"
    assert guide.tilt_degrees > 10
    hold(guide, view(distance=1.3))
    assert guide.wanted == "6 more poses, each at another place and tilt"


def test_an_empty_cell_is_asked_for_by_its_place():
    guide = Guide(BOARD)
    for name in CORNERS:
        hold(guide, view(place_of(name, 0.14), distance=1.7))
    for lean in ((30, 0), (-30, 0), (0, 30), (0, -30)):
        hold(guide, view(lean=lean, distance=1.2))
    assert guide.wanted == "go to the top, middle left of the thermal image"
    assert guide.cells("thermal")[0, 2] == 0


def test_a_large_target_is_sent_away():
    guide = Guide(BOARD)
    near = {"distance": 0.55}
    for name in CORNERS:
        hold(guide, view(place_of(name, 0.32), **near))
    for lean in ((25, 0), (-25, 0), (0, 25), (0, -25)):
        hold(guide, view(lean=lean, **near))
    assert guide.wanted == "go farther away"


def test_tilts_are_measured_without_knowing_the_lens():
    poses = [
        pose(place_of(name), lean) for name, lean in zip(CORNERS, [(30, 0), (-20, 10), (0, -25), (5, 20)], strict=True)
    ]
    for camera in ("thermal", "rgb"):
        found = stands(BOARD, [shown(camera, placed, noise=0.1) for placed in poses])
        true = np.array([turn for turn, _ in poses])
        assert tilt_spread(found.rotations) == pytest.approx(tilt_spread(true), rel=0.15)
        np.testing.assert_allclose(found.leans()[0], [30, 0], atol=6)


def test_without_tilt_it_is_never_finished():
    guide = Guide(BOARD)
    for x in np.linspace(0.2, 0.8, 5):
        for y in np.linspace(0.2, 0.8, 4):
            hold(guide, view((x, y)))
    assert guide.poses >= 15
    assert not any(guide.bare.values())
    assert not guide.finished
    assert "tilt" in guide.wanted


def test_the_corners_of_rgb_count_where_thermal_reaches():
    """RGB is wider here: its own corners can never be seen by both."""
    guide = Guide(BOARD)
    for name in CORNERS:
        hold(guide, view(place_of(name), distance=0.9))
    assert guide.bare == {"thermal": (), "RGB": ()}


def test_who_follows_the_advice_arrives():
    rng, guide, said = np.random.default_rng(0), Guide(BOARD), []
    place = {"at": (0.5, 0.5), "lean": (0.0, 0.0), "distance": 0.9}
    for _ in range(60):
        advice = hold(guide, view(**place))
        said.append(advice.say)
        if advice.state == "finished":
            break
        place = follow(advice.say, place, rng)
    assert guide.finished, said
    assert 15 <= guide.poses <= 22
    assert (guide.cells("thermal") > 0).mean() > 0.8


def place_of(corner: str, off: float = 0.24) -> tuple[float, float]:
    return (off if "left" in corner else 1 - off), (off if "top" in corner else 1 - off)


def follow(say: str, place: dict, rng: np.random.Generator) -> dict:
    """What someone does who takes the words at face value, not too exactly."""
    lean = tuple(rng.uniform(-8, 8, 2))
    if found := re.search(r"its (\w+) edge", say):
        lean = {"left": (28, 0), "right": (-28, 0), "top": (0, 28), "bottom": (0, -28)}[found[1]]
        return {**place, "at": tuple(rng.uniform(0.4, 0.6, 2)), "lean": lean}
    if found := re.search(r"go to the (.+) corner", say):
        return {**place, "at": place_of(found[1]), "lean": lean}
    if "closer" in say or "farther" in say:
        return {**place, "at": (0.5, 0.5), "lean": lean, "distance": 0.65 if "closer" in say else 1.3}
    if found := re.search(r"go to the (.+), (.+) of the", say):
        row, column = ROWS.index(found[1]), COLUMNS.index(found[2])
        at = np.clip([(column + 0.5) / 6, (row + 0.5) / 4], 0.2, 0.8)
        return {"at": tuple(at), "lean": lean, "distance": 0.9}
    return {**place, "at": tuple(rng.uniform(0.25, 0.75, 2)), "lean": tuple(rng.uniform(-30, 30, 2))}


# Recordings


def picture(camera: str, placed: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The board in counts (thermal) or colour, softened, with noise."""
    texture = np.full((7 * 16, 9 * 16), 0.85, np.float32)
    for row in range(5):
        for column in range(7):
            if (row + column) % 2 == 0:
                texture[(row + 1) * 16 : (row + 2) * 16, (column + 1) * 16 : (column + 2) * 16] = 0.15
    turn, shift = placed
    plane = np.column_stack([turn[:, 0], turn[:, 1], shift + BASELINE[camera]])
    step = BOARD.spacing_m / 16
    metres = np.array([[step, 0, -32 * step + step / 2], [0, step, -32 * step + step / 2], [0, 0, 1]])
    image = cv2.warpPerspective(
        texture, matrix(camera) @ plane @ metres, SIZES[camera], flags=cv2.INTER_LINEAR, borderValue=0.6
    )
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 0.008, image.shape)
    if camera == "thermal":
        return (29_000 + 900 * image).astype(np.uint16)
    return np.repeat((np.clip(image, 0, 1) * 250).astype(np.uint8)[:, :, None], 3, axis=2)


def recording(folder: Path, places: list[dict]) -> list[str]:
    """Five frames a second: at each place twice, and once on the way to the first two."""
    rng = np.random.default_rng(1)
    shots = []
    for number, place in enumerate(places):
        on_the_way = {**place, "at": tuple(np.array(place["at"]) + 0.02)}
        shots += [on_the_way, place, place] if number < 2 else [place, place]
    for camera in SIZES:
        (folder / camera).mkdir(parents=True)
        for number, shot in enumerate(shots):
            cv2.imwrite(str(folder / camera / f"{number:05d}.png"), picture(camera, pose(**shot), rng))
        rows = [f"{number:05d},{number * 210_000_000}" for number in range(len(shots))]
        (folder / camera / "times.csv").write_text("\n".join(["frame,time_ns", *rows]))
    return [str(folder / camera) for camera in SIZES]


PLACES = [
    *({"at": place_of(name, 0.27), "distance": 1.0} for name in CORNERS),
    *({"lean": lean, "at": (0.5, 0.5), "distance": 0.9} for lean in ((30, 0), (-30, 0), (0, 30), (0, -30))),
    *({"at": (x, y), "lean": (18, -15)} for x in (0.3, 0.45, 0.6, 0.72) for y in (0.35, 0.65)),
]


def test_command_collects_poses_of_a_recording_as_detect_reads_them(tmp_path):
    folders = recording(tmp_path / "in", PLACES)
    out = tmp_path / "out"
    done = runner.invoke(app, ["guide", *folders, "--target", "checkerboard:6x4:50", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["finished"], told
    assert told["poses"] == 15
    assert told["looked"] == 2 * 15 + 2
    assert f"calibrate detect {out}" in told["next"]
    found = find_pairs([out])
    assert [pair.name for pair in found.pairs] == [f"pose_{number:03d}" for number in range(1, 16)]
    counts = read_image(out / "thermal" / "pose_004.png")
    assert counts.dtype == np.uint16
    np.testing.assert_array_equal(counts, read_image(tmp_path / "in" / "thermal" / "00009.png"))
    np.testing.assert_array_equal(read_image(out / "rgb" / "pose_004.png"), read_image(tmp_path / "in/rgb/00009.png"))
    again = runner.invoke(app, ["guide", *folders, "--target", "checkerboard:6x4:50", "--out", str(out)])
    assert again.exit_code != 0
    assert "holds pictures already" in str(again.exception)


def test_frozen_pictures_do_not_count_as_standing_still(tmp_path):
    """A closed shutter repeats the thermal picture while the target may move."""
    folders = recording(tmp_path / "in", PLACES[:1])
    first = (tmp_path / "in/thermal/00001.png").read_bytes()
    (tmp_path / "in/thermal/00002.png").write_bytes(first)
    done = runner.invoke(
        app, ["guide", *folders, "--target", "checkerboard:6x4:50", "--out", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["poses"] == 0
    assert "no pose was saved of 2 pairs looked at" in told["error"]
    assert f"╯\n{told['next']}\n" in done.stderr


def test_a_camera_that_shows_one_picture_for_long_is_named(tmp_path):
    folders = recording(tmp_path / "in", PLACES[:8])
    first = (tmp_path / "in/rgb/00001.png").read_bytes()
    for number in range(2, 18):
        (tmp_path / f"in/rgb/{number:05d}.png").write_bytes(first)
    done = runner.invoke(
        app, ["guide", *folders, "--target", "checkerboard:6x4:50", "--out", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["looked"] == 2
    assert "RGB showed one and the same picture for 2 s or more" in told["error"]
    assert "thermal" not in told["error"]
    shown = " ".join(re.sub("[│╭╮╰╯─]", "", done.stderr).split())
    assert "calibrate guide" in shown
    assert "so there is nothing to look at: a closed shutter, a stuck stream, a test pattern? " in shown  # two lines


def test_a_preparation_that_shows_the_target_is_found_over_several_looks_and_kept():
    tried = []

    def through(number, prepared, values, kind, target):
        tried.append(prepared)
        return Look(view().thermal) if prepared == shows else Look(None, (9, 9) if prepared == another else None)

    shows, another, eye = 5, 99, Eye(BOARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamfuse.calibrate.detect.eye.preparations", lambda _: iter(range(10)))
        patch.setattr("streamfuse.calibrate.detect.eye.look_through", through)
        picture = np.zeros((8, 8), np.uint8)
        looks = [eye.look(picture).sighting is not None for _ in range(6)]
        assert looks == [False] * 4 + [True] * 2
        assert tried == [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 5]
        shows, another = 99, 2
        assert [eye.look(picture).other_size for _ in range(12)][-2:] == [(9, 9), (9, 9)]
        another = 99
        assert [eye.look(picture).other_size for _ in range(24)][-1] is None
