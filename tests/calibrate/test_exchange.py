"""Files of other tools: there and back, their conventions held against OpenCV, and what each mistake is told."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import full_rig, planar_rig, rotation

from streamfuse.calibrate.exchange import Untold, read_files, rig_of, write_files
from streamfuse.calibrate.exchange.seat import seat_in_words
from streamfuse.errors import UserError
from streamfuse.rig import Lens, Pose, Rig

FORMS = ("ros", "kalibr", "opencv")
EYE3 = np.eye(3)
LINK = [[1.0, 0.0, 0.0, -0.06], [0.0, 1.0, 0.0, -0.01], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
RADTAN = {
    "camera_model": "pinhole",
    "intrinsics": [350.0, 351.0, 160.0, 128.0],
    "distortion_model": "radtan",
    "distortion_coeffs": [-0.2, 0.05, 0.001, -0.001],
    "resolution": [320, 256],
}
WIDE = {**RADTAN, "intrinsics": [900.0, 901.0, 640.0, 360.0], "resolution": [1280, 720]}
CHAIN = {"cam0": WIDE, "cam1": {**RADTAN, "T_cn_cnm1": LINK}}
INFO = {
    "image_width": 320,
    "image_height": 256,
    "camera_name": "thermal",
    "camera_matrix": {"rows": 3, "cols": 3, "data": [350.0, 0, 160, 0, 351, 128, 0, 0, 1]},
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [-0.2, 0.05, 0.001, -0.001, 0.0]},
}
OTHER = {**INFO, "camera_name": "rgb"}
PAIR = {
    "header": {"frame_id": "rgb_optical_frame"},
    "child_frame_id": "thermal_optical_frame",
    "transform": {"translation": {"x": 0.06, "y": 0.01, "z": 0.0}, "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1}},
}


def written(folder: Path, **documents: Any) -> list[Path]:
    paths = []
    for name, document in documents.items():
        path = folder / f"{name}.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        paths.append(path)
    return paths


def storage(folder: Path, **nodes: Any) -> Path:
    path = folder / "stereo.yml"
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, node in nodes.items():
        file.write(name, node)
    file.release()
    return path


def stereo(**changes: Any) -> dict[str, Any]:
    """What OpenCV's stereo sample writes: camera 2 is 6 cm to the right of camera 1 (lower R, T = camera 2 from 1)."""
    matrix = np.array([[350.0, 0, 160], [0, 351, 128], [0, 0, 1]])
    sample = {"M1": matrix, "D1": np.zeros((1, 5)), "M2": matrix, "D2": np.zeros((1, 5))}
    return {**sample, "R": EYE3, "T": np.array([[-0.06], [0.0], [0.0]]), **changes}


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def there_and_back(rig: Rig, form: Any, folder: Path) -> Rig:
    paths, _ = write_files(rig, form, folder)
    return rig_of(read_files(paths), name=rig.name, working_depth_m=rig.working_depth_m).rig


def assert_same(again: Rig, rig: Rig) -> None:
    for one, other in ((again.thermal, rig.thermal), (again.rgb, rig.rgb)):
        assert (one.size, one.model) == (other.size, other.model)
        numbers = [(lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion, *(0,) * (8 - len(lens.distortion)))
                   for lens in (one, other)]  # fmt: skip
        np.testing.assert_allclose(*numbers, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        again.rgb_from_thermal.rotation_matrix, rig.rgb_from_thermal.rotation_matrix, rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        again.rgb_from_thermal.translation_vector, rig.rgb_from_thermal.translation_vector, rtol=0, atol=1e-9
    )


# There and back


small = st.floats(-0.02, 0.02)
lenses = st.builds(
    lambda size, share, off, k, p, fish: Lens(
        size=size,
        model="fisheye" if fish else "opencv",
        fx=share * size[0],
        fy=share * size[0] * 1.003,
        cx=size[0] / 2 + off[0],
        cy=size[1] / 2 + off[1],
        distortion=(*k, *p),
    ),
    st.tuples(st.integers(80, 4000), st.integers(60, 3000)),
    st.floats(0.3, 4),
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    st.tuples(st.floats(-0.4, 0.4), st.floats(-0.2, 0.2)),
    st.tuples(small, small),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(
    thermal=lenses,
    rgb=lenses,
    turn=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    move=st.tuples(*[st.floats(-0.9, 0.9)] * 3),
    depth_m=st.floats(0.5, 500),
)
def test_any_rig_comes_back_from_every_format(thermal: Lens, rgb: Lens, turn: Any, move: Any, depth_m: float) -> None:
    pose = Pose(rotation=rotation(*turn), translation=move)
    rig = full_rig(thermal=thermal, rgb=rgb, rgb_from_thermal=pose, working_depth_m=depth_m)
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            assert_same(there_and_back(rig, form, Path(folder)), rig)


@pytest.mark.parametrize("form", ["ros", "opencv"])
def test_rational_lenses_delay_and_depth_come_back_where_the_format_has_room(form: Any, tmp_path: Path) -> None:
    eight = (0.9, 0.2, 0.0004, -0.0003, 0.01, 1.2, 0.5, 0.05)
    plain = full_rig()
    rig = full_rig(
        rgb=plain.rgb.model_copy(update={"distortion": eight}), thermal_delay_ms=12.25, working_depth_m=math.inf
    )
    paths, _ = write_files(rig, form, tmp_path)
    again = rig_of(read_files(paths), name="again").rig
    assert_same(again, rig)
    assert (again.thermal_delay_ms, again.working_depth_m) == (12.25, math.inf)


def test_kalibr_has_no_room_for_them_and_says_so(tmp_path: Path) -> None:
    _, notes = write_files(full_rig(thermal_delay_ms=12.5), "kalibr", tmp_path)
    assert "nor thermal_delay_ms (12.5)" in notes[0]
    five = full_rig(rgb=full_rig().rgb.model_copy(update={"distortion": (0.1, 0, 0, 0, 0.02)}))
    with pytest.raises(UserError, match=r"rgb lens has the coefficients k3 to k6 \(0.02\).*radtan.*export it as ros"):
        write_files(five, "kalibr", tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_planar_rig_is_not_exported(form: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"flat is planar.*lenses and a pose; calibrate both cameras"):
        write_files(planar_rig([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]), form, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Conventions: the same rig as the other tool means it


def test_kalibr_link_takes_the_previous_camera_to_this_one(tmp_path: Path) -> None:
    """X_cam1 = T X_cam0, so that cam1 sits at +6 cm, +1 cm in cam0's coordinates."""
    found = read_files(written(tmp_path, chain=CHAIN))
    thermal = rig_of(found, name="a", thermal="cam1").rig
    assert thermal.rgb_from_thermal.translation == pytest.approx((0.06, 0.01, 0))
    assert (thermal.thermal_size, thermal.rgb_size) == ((320, 256), (1280, 720))
    assert rig_of(found, name="a", thermal="cam0").rig.rgb_from_thermal.translation == pytest.approx((-0.06, -0.01, 0))


def test_kalibr_links_are_chained_over_a_camera_between(tmp_path: Path) -> None:
    turn = np.array(rotation(0.1, -0.2, 0.3))
    link = np.eye(4)
    link[:3, :3], link[:3, 3] = turn, [0.1, 0.2, 0.3]
    chain = {**CHAIN, "cam2": {**RADTAN, "T_cn_cnm1": link.tolist()}}
    found = read_files(written(tmp_path, chain=chain))
    rig = rig_of(found, name="a", thermal="cam2", rgb="cam0").rig
    in_rgb = np.array([0.3, -0.2, 4.0])
    in_thermal = link[:3, :3] @ (np.array(LINK)[:3, :3] @ in_rgb + np.array(LINK)[:3, 3]) + link[:3, 3]
    pose = rig.rgb_from_thermal
    np.testing.assert_allclose(pose.rotation_matrix @ in_thermal + pose.translation_vector, in_rgb, atol=1e-12)
    with pytest.raises(UserError, match="there are 2 cameras: cam0, cam1; say --rgb"):
        rig_of(found, name="a", thermal="cam2")


def test_opencv_pose_is_that_of_stereo_calibration(tmp_path: Path) -> None:
    """Points that stereoCalibrate has seen land where its R and T say, through the imported rig."""
    turn, move = np.array(rotation(0.02, -0.05, 0.01)), np.array([[-0.07], [0.004], [0.01]])
    board = np.array([[[x * 0.05, y * 0.05, 0] for y in range(5) for x in range(7)]], np.float32)[0]
    rng = np.random.default_rng(1)
    matrix = np.array([[500.0, 0, 320], [0, 501, 240], [0, 0, 1]])
    seen1, seen2 = [], []
    for _ in range(6):
        board_turn, at = rng.uniform(-0.5, 0.5, 3), np.array([-0.15, -0.1, 1.0]) + rng.uniform(-0.1, 0.1, 3)
        in_first = board @ cv2.Rodrigues(board_turn)[0].T + at
        in_second = in_first @ turn.T + move.ravel()
        seen1.append(cv2.projectPoints(in_first, np.zeros(3), np.zeros(3), matrix, None)[0].astype(np.float32))
        seen2.append(cv2.projectPoints(in_second, np.zeros(3), np.zeros(3), matrix, None)[0].astype(np.float32))
    result = cv2.stereoCalibrate(
        [board] * 6, seen1, seen2, matrix, None, matrix, None, (640, 480), flags=cv2.CALIB_FIX_INTRINSIC
    )
    path = storage(tmp_path, **stereo(M1=matrix, M2=matrix, R=result[5], T=result[6]))
    found = read_files([path], ((640, 480), (640, 480)))
    pose = rig_of(found, name="a", thermal="1").rig.rgb_from_thermal
    np.testing.assert_allclose(pose.rotation_matrix, turn, atol=1e-4)
    np.testing.assert_allclose(pose.translation_vector, move.ravel(), atol=1e-4)
    seat = rig_of(found, name="a", thermal="2").rig.rgb_from_thermal
    np.testing.assert_allclose(seat.translation_vector, -turn.T @ move.ravel(), atol=1e-4)


@pytest.mark.parametrize("flipped", [False, True])
def test_ros_transform_is_the_pose_of_the_child_in_the_header(flipped: bool, tmp_path: Path) -> None:
    pair = {**PAIR}
    if flipped:  # the same seat said from the other side
        pair = {**pair, "header": {"frame_id": "thermal_optical_frame"}, "child_frame_id": "rgb_optical_frame"}
        pair["transform"] = {**PAIR["transform"], "translation": {"x": -0.06, "y": -0.01, "z": 0.0}}
    for order in ({"a": INFO, "b": OTHER, "c": pair}, {"c": pair, "b": OTHER, "a": INFO}):
        rig = rig_of(read_files(written(tmp_path, **order)), name="r").rig
        assert rig.rgb_from_thermal.translation == pytest.approx((0.06, 0.01, 0))


def test_seat_is_told_as_a_person_behind_the_cameras_sees_it() -> None:
    pose = Pose(rotation=rotation(0.0, math.radians(2), 0.0), translation=(-0.06, -0.01, 0.02))
    told = seat_in_words(pose)
    assert "sits 6.0 cm to the left, 1.0 cm above, 2.0 cm in front" in told
    assert "looks 2.0 degrees to the right" in told
    assert "3.0 degrees up" in seat_in_words(Pose(rotation=rotation(math.radians(3), 0, 0), translation=(0, 0, 0)))
    clockwise = seat_in_words(Pose(rotation=rotation(0, 0, math.radians(4)), translation=(0.003, 0.002, -0.001)))
    assert "0.3 cm to the right, 0.2 cm below, 0.1 cm behind; it looks 4.0 degrees rolled clockwise" in clockwise
    assert seat_in_words(Pose(rotation=rotation(0, 0, 0), translation=(0, 0, 0))).endswith("both look the same way")


# Which camera is which, clocks, units


def test_thermal_camera_is_told_by_name_or_asked_for(tmp_path: Path) -> None:
    found = read_files(written(tmp_path, chain=CHAIN))
    with pytest.raises(
        Untold, match=r"nothing says which of cam0, cam1 is the thermal camera.*--thermal cam1"
    ) as caught:
        rig_of(found, name="a")
    assert caught.value.choices == ("cam0", "cam1")
    with pytest.raises(UserError, match=r"--thermal cam7: .* has the cameras cam0, cam1; name one of them"):
        rig_of(found, name="a", thermal="cam7")
    topics = {"cam0": {**WIDE, "rostopic": "/first/image"}, "cam1": {**CHAIN["cam1"], "rostopic": "/boson/image_raw"}}
    by_name = rig_of(read_files(written(tmp_path, topics=topics)), name="a")
    assert by_name.rig.thermal_size == (320, 256)
    assert "cam1 /boson/image_raw is taken for the thermal camera by its name" in by_name.notes
    swapped = rig_of(found, name="a", thermal="cam0")
    assert any("thermal image (1280x720) is larger than the RGB one (320x256): swapped?" in n for n in swapped.notes)


def test_time_shifts_of_both_cameras_give_the_delay_of_one_is_ignored(tmp_path: Path) -> None:
    """Kalibr: t_imu = t_camera + shift, so a camera that stamps 8 ms later has a shift that is 8 ms smaller."""
    one = {**CHAIN, "cam0": {**WIDE, "timeshift_cam_imu": -0.004}}
    ignored = rig_of(read_files(written(tmp_path, one=one)), name="a", thermal="cam1")
    assert ignored.rig.thermal_delay_ms == 0
    assert any("timeshift_cam_imu of one camera says nothing of the other: ignored" in note for note in ignored.notes)
    both = {**one, "cam1": {**CHAIN["cam1"], "timeshift_cam_imu": -0.012}}
    taken = rig_of(read_files(written(tmp_path, both=both)), name="a", thermal="cam1")
    assert taken.rig.thermal_delay_ms == pytest.approx(8)
    assert any("thermal_delay_ms = 8.000" in note for note in taken.notes)


def test_millimetres_are_noticed_and_converted(tmp_path: Path) -> None:
    sizes = ((320, 256), (320, 256))
    found = read_files([storage(tmp_path, **stereo(T=np.array([[-60.0], [0], [0]])))], sizes)
    with pytest.raises(UserError, match="60 m apart, which no rig is: were the lengths millimetres"):
        rig_of(found, name="a", thermal="1")
    assert rig_of(found, name="a", thermal="1", metres=0.001).rig.rgb_from_thermal.translation[0] == pytest.approx(
        -0.06
    )


def test_depth_that_nobody_told_is_infinity_and_said(tmp_path: Path) -> None:
    imported = rig_of(read_files(written(tmp_path, chain=CHAIN)), name="a", thermal="cam1")
    assert imported.rig.working_depth_m == math.inf
    assert any("set to infinity, which puts what is 10 m away off by 5.5 px; say --depth" in n for n in imported.notes)


def test_opencv_sample_in_two_files_and_fourteen_coefficients(tmp_path: Path) -> None:
    nodes = stereo(D1=np.array([[-0.2, 0.1, 0, 0, 0.01, 0.02, 0.03, 0.04, 0, 0, 0, 0, 0, 0]]))
    (tmp_path / "one").mkdir()
    lenses_file = storage(tmp_path / "one", **{key: nodes[key] for key in ("M1", "D1", "M2", "D2")})
    pose_file = storage(tmp_path, R=nodes["R"], T=nodes["T"])
    rig = rig_of(read_files([lenses_file, pose_file], ((320, 256), (320, 256))), name="a", thermal="1").rig
    assert rig.thermal.distortion == (-0.2, 0.1, 0, 0, 0.01, 0.02, 0.03, 0.04)
    assert rig.rgb.distortion == ()
    thin = storage(tmp_path, **stereo(D1=np.array([[0.1, 0, 0, 0, 0, 0, 0, 0, 0.002, 0, 0, 0]])))
    with pytest.raises(UserError, match=r"coefficients 9 to 12 \(thin prism, tilt\) are not zero"):
        read_files([thin], ((320, 256), (320, 256)))


def test_rounded_rotation_is_made_one_and_told(tmp_path: Path) -> None:
    turned = np.array(rotation(0.1, 0.2, -0.1)).round(4)
    found = read_files([storage(tmp_path, **stereo(R=turned))], ((320, 256), (320, 256)))
    imported = rig_of(found, name="a", thermal="1")
    matrix = imported.rig.rgb_from_thermal.rotation_matrix
    np.testing.assert_allclose(matrix @ matrix.T, EYE3, atol=1e-12)
    np.testing.assert_allclose(matrix, turned, atol=1e-4)
    assert any("the rotation was rounded" in note for note in imported.notes)


# Mistakes


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        ({"a": {**CHAIN, "cam1": RADTAN}}, "`cam1.T_cn_cnm1` is missing .*calibrate both cameras in one run"),
        ({"a": {"cam0": WIDE}}, "cam0, cam1 and so on were looked for, found cam0"),
        ({"a": {**CHAIN, "cam0": without(WIDE, "intrinsics")}}, "`cam0.intrinsics` is missing"),
        ({"a": {**CHAIN, "cam0": {**WIDE, "camera_model": "omni"}}}, "camera_model is 'omni'.*pinhole-radtan"),
        ({"a": {**CHAIN, "cam0": {**WIDE, "distortion_model": "fov"}}}, "distortion_model is 'fov'; allowed are"),
        ({"a": {**CHAIN, "cam0": {**WIDE, "distortion_coeffs": [0.1]}}}, "4 numbers were expected, found 1"),
        ({"a": {**CHAIN, "cam0": {**WIDE, "intrinsics": [0.0, 0, 0, 0]}}}, "cam0: focal lengths 0 and 0: .*not calib"),
        ({"a": {**CHAIN, "cam0": {**WIDE, "resolution": [0, 720]}}}, "`size.0` = 0"),
        ({"a": {**CHAIN, "cam0": {**WIDE, "resolution": [640, 360]}}}, r"point of cam0 \(640.0, 360.0\) lies outside"),
        ({"a": {**CHAIN, "cam1": {**RADTAN, "T_cn_cnm1": (2 * np.eye(4)).tolist()}}}, "rotation between .* is none"),
        ({"a": CHAIN, "b": CHAIN}, "found 2 Kalibr files"),
        ({"a": CHAIN, "b": INFO}, "files of several formats"),
        ({"a": INFO, "b": OTHER}, "found 2 camera_info and 0 transform files"),
        ({"a": INFO, "b": OTHER, "c": {**PAIR, "child_frame_id": "left"}}, "and left cannot"),
        ({"a": {**INFO, "camera_matrix": {"data": [0.0] * 9}}, "b": OTHER, "c": PAIR}, "matrix is zero, by which ROS"),
        ({"a": {**INFO, "camera_matrix": {"data": [1.0]}}, "b": OTHER, "c": PAIR}, "9 numbers were expected, found 1"),
        ({"a": {**INFO, "distortion_model": "fov"}, "b": OTHER, "c": PAIR}, "'fov' is unknown; allowed are plumb_bob"),
        ({"a": without(INFO, "camera_matrix"), "b": OTHER, "c": PAIR}, "`camera_matrix` is missing"),
        ({"a": without(INFO, "image_height"), "b": OTHER, "c": PAIR}, "`image_height` is missing"),
        ({"a": {**INFO, "camera_matrix": {"data": [9, 3, 9, 0, 9, 9, 0, 0, 1]}}, "b": OTHER, "c": PAIR}, "skew"),
        ({"a": {"name": "x", "rgb_from_thermal_homography": LINK}}, "this is a rig file already"),
        ({"a": {"what": 1}}, "neither ROS camera_info .* found the keys what"),
        ({"a": "%YAML:1.0\n---\nM1: [1,\n"}, "OpenCV cannot read it|`M1` is missing|cannot open"),
    ],
)  # fmt: skip
def test_each_mistake_is_told(documents: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        rig_of(
            read_files(written(tmp_path, **documents)), name="a", thermal="cam1" if "cam0" in documents["a"] else None
        )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"M1": np.zeros((3, 3))}, "camera 1: focal lengths 0 and 0: the camera is not calibrated"),
        ({"D2": np.zeros((1, 3))}, "camera 2.*`distortion`: 0, 4, 5 or 8|0, 4, 5 or 8"),
        ({"T": np.zeros((1, 2))}, "`T`: 3 numbers were expected, found 2"),
        ({"R": np.full((3, 3), np.nan)}, "`R` holds numbers that are not finite"),
        ({"R": np.diag([1.0, 1.0, -1.0])}, "determinant -1"),
    ],
)
def test_each_mistake_of_an_opencv_file_is_told(changes: Any, told: str, tmp_path: Path) -> None:
    nodes = stereo(D1=np.full((1, 5), 0.01), D2=np.full((1, 5), 0.01))
    changes = {key: value + 0.01 if key == "D2" else value for key, value in changes.items()}
    with pytest.raises(UserError, match=told):
        rig_of(read_files([storage(tmp_path, **{**nodes, **changes})], ((320, 256), (320, 256))), name="a", thermal="1")


def test_opencv_file_without_sizes_or_pose_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="size of camera 1 is not in the file; say both: --thermal-size"):
        read_files([storage(tmp_path, **stereo())])
    with pytest.raises(UserError, match=r"`R` is missing; .*intrinsics.yml and extrinsics.yml: give both"):
        read_files([storage(tmp_path, **without(stereo(), "R"))], ((320, 256), (320, 256)))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_files([tmp_path / "none.yml"])
