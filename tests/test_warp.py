"""Warp maps: known rigs land where they must, there and back is the identity, the mask is exact."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import NO_TURN, full_rig, planar_rig, rotation

from streamfuse.errors import UserError
from streamfuse.frames import OutputGrid, WarpMap
from streamfuse.rig import Lens, Pose, Rig
from streamfuse.warp import build_warp, output_grid, parallax_px_per_inverse_m, thermal_from_rgb

SYNTHETIC = Path(__file__).resolve().parents[1] / "calibration" / "rigs" / "synthetic.yaml"


def warp_of(rig: Rig, size: Any = None, depth_m: float | None = None) -> WarpMap:
    grid = output_grid(rig.rgb_size, size)
    return build_warp(rig, grid, depth_m or rig.working_depth_m, calibration=rig.content_hash, revision=0)


def forward(rig: Rig, grid: OutputGrid, thermal_pixels: np.ndarray, depth_m: float) -> np.ndarray:
    """Thermal pixel -> plane Z = depth of the RGB camera -> output pixel, through OpenCV where it can."""
    rays, _ = rig.thermal.rays(thermal_pixels)
    turned = np.concatenate([rays, np.ones_like(rays[:, :1])], axis=1) @ rig.rgb_from_thermal.rotation_matrix.T
    move = rig.rgb_from_thermal.translation_vector
    points = turned * ((depth_m - move[2]) / turned[:, 2:]) + move
    seen = cv2.projectPoints(points, np.zeros(3), np.zeros(3), rig.rgb.matrix, np.array(rig.rgb.distortion))[0][:, 0]
    return (np.c_[seen, np.ones(len(seen))] @ np.linalg.inv(grid.rgb_from_output).T)[:, :2]


def dot(size: tuple[int, int], centre: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    x, y = np.arange(size[0]) - centre[0], np.arange(size[1])[:, None] - centre[1]
    return np.exp(-(x * x + y * y) / (2 * sigma * sigma)).astype(np.float32)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = np.where(image > 0.02 * image.max(), image, 0).astype(np.float64)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def warped(warp: WarpMap, image: np.ndarray) -> np.ndarray:
    return cv2.remap(image, warp.thermal_from_output, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


# Where things land


@pytest.mark.parametrize("size", [None, (160, 128), (480, 400)])
@pytest.mark.parametrize("depth_m", [12.0, 3.0, 80.0])
def test_dots_seen_by_both_cameras_land_on_each_other(size: Any, depth_m: float) -> None:
    rig = full_rig()
    warp = warp_of(rig, size, depth_m)
    pose = rig.rgb_from_thermal
    errors = []
    for x, y in [(0, 0), (-0.2, 0.1), (0.22, -0.12), (0.15, 0.15), (-0.18, -0.16)]:
        in_rgb = np.array([x, y, 1]) * depth_m
        in_thermal = pose.rotation_matrix.T @ (in_rgb - pose.translation_vector)
        truth = cv2.projectPoints(in_rgb, np.zeros(3), np.zeros(3), rig.rgb.matrix, np.array(rig.rgb.distortion))[0]
        seen = cv2.projectPoints(
            in_thermal, np.zeros(3), np.zeros(3), rig.thermal.matrix, np.array(rig.thermal.distortion)
        )[0]
        expected = np.linalg.inv(warp.grid.rgb_from_output) @ (*truth.ravel(), 1)
        found = centroid(warped(warp, dot(rig.thermal_size, seen.ravel())))
        errors.append(np.hypot(*(found - expected[:2])))
    assert max(errors) < 0.1


def test_map_there_and_projection_back_is_the_identity() -> None:
    rig = full_rig()
    warp = warp_of(rig, size=(160, 128))
    y, x = np.nonzero(warp.valid)
    back = forward(rig, warp.grid, warp.thermal_from_output[y, x].astype(np.float64), 12.0)
    assert len(x) > 15_000
    np.testing.assert_allclose(back, np.stack([x, y], axis=1), atol=1e-3)


@settings(max_examples=25)
@given(
    turn=st.tuples(*[st.floats(-0.06, 0.06)] * 3),
    move=st.tuples(*[st.floats(-0.15, 0.15)] * 3),
    barrel=st.tuples(st.floats(-0.3, 0.1), st.floats(-0.2, 0.1)),
    depth_m=st.floats(1.5, 500),
    size=st.tuples(st.integers(8, 90), st.integers(8, 90)),
)
def test_any_plausible_rig_comes_back(turn: Any, move: Any, barrel: Any, depth_m: float, size: Any) -> None:
    rig = full_rig()
    rig = full_rig(
        thermal=rig.thermal.model_copy(update={"distortion": (barrel[0], 0.05, 0.001, 0.0)}),
        rgb=rig.rgb.model_copy(update={"distortion": (barrel[1], 0.02, 0.0, -0.001)}),
        rgb_from_thermal=Pose(rotation=rotation(*turn), translation=move),
    )
    warp = warp_of(rig, size, depth_m=depth_m)
    y, x = np.nonzero(warp.valid)
    assert len(x) > 0
    back = forward(rig, warp.grid, warp.thermal_from_output[y, x].astype(np.float64), depth_m)
    np.testing.assert_allclose(back, np.stack([x, y], axis=1), atol=1e-3)


def test_plane_at_infinity_ignores_the_baseline() -> None:
    with_baseline = warp_of(full_rig(), depth_m=math.inf)
    turned_only = Pose(rotation=full_rig().rgb_from_thermal.rotation, translation=(0, 0, 0))
    without = warp_of(full_rig(rgb_from_thermal=turned_only))
    np.testing.assert_allclose(with_baseline.thermal_from_output, without.thermal_from_output, atol=1e-4)


def test_parallax_is_what_a_wrong_depth_costs() -> None:
    rig = full_rig(rgb_from_thermal=Pose(rotation=NO_TURN, translation=(0.06, -0.03, 0.0)))
    grid = output_grid(rig.rgb_size, (160, 128))
    nearer, mapped = 1 / 10.5, 1 / 12.0
    in_rgb = np.array([0.0, 0.0, 1 / nearer])
    seen, _ = rig.thermal.project(in_rgb - rig.rgb_from_thermal.translation_vector)
    shown = forward(rig, grid, seen[None], 1 / mapped)[0]
    true = np.linalg.inv(grid.rgb_from_output) @ (*rig.rgb.project(in_rgb)[0], 1)
    expected = np.array(parallax_px_per_inverse_m(rig, grid)) * (nearer - mapped)
    np.testing.assert_allclose(shown - true[:2], expected, rtol=0.02)
    assert np.hypot(*parallax_px_per_inverse_m(rig, output_grid(rig.rgb_size))) == pytest.approx(271 * 0.067, rel=0.01)
    assert parallax_px_per_inverse_m(Rig.identity((8, 8), (8, 8)), output_grid((8, 8))) is None


# Planar rigs


def test_affine_rig_maps_as_written() -> None:
    rig = planar_rig(((1.9, 0.05, 6.0), (-0.04, 2.1, -3.0)))
    warp = warp_of(rig)
    y, x = np.nonzero(warp.valid)
    thermal = np.c_[warp.thermal_from_output[y, x], np.ones(len(x))]
    np.testing.assert_allclose((thermal @ rig.homography.T)[:, :2], np.stack([x, y], axis=1), atol=1e-3)


@pytest.mark.parametrize("sign", [1, -3])
def test_homography_rig_agrees_with_opencv_whatever_its_scale(sign: float) -> None:
    matrix = np.array([[1.9, 0.05, 6], [-0.04, 2.1, -3], [2e-4, -1e-4, 1]])
    warp = warp_of(planar_rig((sign * matrix).tolist()))
    image = np.random.default_rng(0).random((128, 160)).astype(np.float32)
    expected = cv2.warpPerspective(image, matrix, (320, 256), flags=cv2.INTER_LINEAR)
    difference = np.abs(warped(warp, image) - expected)[warp.valid]
    assert warp.valid.mean() > 0.8
    assert difference.max() < 0.05  # both interpolate at 1/32 px


def test_pixels_beyond_the_horizon_are_invalid() -> None:
    # thermal x goes to x / (0.004 x + 1), which tends to 250: nothing of the thermal plane lies beyond
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [0.004, 0, 1]])
    warp = warp_of(planar_rig(matrix.tolist(), rgb_size=(400, 128)))
    assert not warp.valid[:, 250:].any()
    last = math.floor(159 / (0.004 * 159 + 1))
    assert warp.valid[0].tolist() == [x <= last for x in range(400)]
    assert np.isfinite(warp.thermal_from_output).all()


@pytest.mark.parametrize(
    ("thermal_size", "rgb_size"), [((160, 128), (160, 128)), ((80, 64), (160, 128)), ((64, 48), (161, 97))]
)
def test_identity_rig_does_what_cv2_resize_does(thermal_size: Any, rgb_size: Any) -> None:
    warp = warp_of(Rig.identity(thermal_size, rgb_size))
    image = np.random.default_rng(0).random(thermal_size[::-1]).astype(np.float32)
    expected = cv2.resize(image, rgb_size, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(warped(warp, image)[warp.valid], expected[warp.valid], atol=0.05)
    lost = 0 if thermal_size == rgb_size else 2 * math.ceil(rgb_size[0] / thermal_size[0] / 2 - 0.5)
    assert warp.valid.any(axis=0).sum() >= rgb_size[0] - lost
    if thermal_size == rgb_size:
        assert warp.valid.all()
        y, x = np.mgrid[: rgb_size[1], : rgb_size[0]]
        assert (warp.thermal_from_output == np.stack([x, y], axis=-1)).all()


# The mask


def brute_force(rig: Rig, grid: OutputGrid, u: int, v: int, depth_m: float) -> tuple[np.ndarray, bool]:
    """One output pixel the slow way: OpenCV's own undistortion, iterated to the end, and its projection."""
    pixel = (grid.rgb_from_output @ (u, v, 1))[:2]
    low, high = 0.0, min(rig.rgb.fold_radius, 10.0)
    centred = (pixel - (rig.rgb.cx, rig.rgb.cy)) / (rig.rgb.fx, rig.rgb.fy)
    k1, distance = rig.rgb.distortion[0], np.hypot(*centred)
    if distance > high * (1 + k1 * high**2):
        return np.zeros(2), False
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * (1 + k1 * middle**2) < distance else (low, middle)
    ray = centred * (low / distance if distance else 0)
    point = rig.rgb_from_thermal.rotation_matrix.T @ (
        np.array([*ray, 1]) * depth_m - rig.rgb_from_thermal.translation_vector
    )
    if point[2] <= 0:
        return np.zeros(2), False
    radius = np.hypot(*point[:2]) / point[2]
    radii = np.linspace(0, radius, 2000)
    seen = radii * (1 + rig.thermal.distortion[0] * radii**2)
    if (np.diff(seen) <= 0).any():
        return np.zeros(2), False
    xy = cv2.projectPoints(point, np.zeros(3), np.zeros(3), rig.thermal.matrix, np.array(rig.thermal.distortion))[
        0
    ].ravel()
    return xy, bool(0 <= xy[0] <= rig.thermal.size[0] - 1 and 0 <= xy[1] <= rig.thermal.size[1] - 1)


@pytest.mark.parametrize(
    ("thermal_k1", "rgb_k1", "turn", "thermal_focal", "depth_m"),
    [
        (-0.1, -0.05, (0.0, 0.05, 0.1), 40, 5.0),  # the thermal image ends inside the output
        (-0.3, -0.05, (0.0, 0.2, 0.0), 20, 5.0),  # the thermal lens folds inside its own image
        (-0.05, -0.3, (0.0, 0.0, 0.0), 12, 5.0),  # the RGB lens folds inside its image
        (0.2, 0.1, (0.1, 0.0, 0.3), 30, 0.3),  # pincushion, and a plane close to the cameras
        (-0.05, -0.05, (0.0, 1.3, 0.0), 30, 5.0),  # part of the plane lies behind the thermal camera
    ],
)
def test_mask_is_exact(thermal_k1: float, rgb_k1: float, turn: Any, thermal_focal: float, depth_m: float) -> None:
    rig = Rig(
        name="small",
        thermal=Lens(
            size=(40, 32), fx=thermal_focal, fy=thermal_focal, cx=19.7, cy=15.8, distortion=(thermal_k1, 0, 0, 0)
        ),
        rgb=Lens(size=(64, 48), fx=34, fy=34, cx=31.3, cy=23.6, distortion=(rgb_k1, 0, 0, 0)),
        rgb_from_thermal=Pose(rotation=rotation(*turn), translation=(0.05, 0.02, -0.01)),
        working_depth_m=depth_m,
    )
    warp = warp_of(rig, size=(48, 36))
    for v in range(36):
        for u in range(48):
            xy, inside = brute_force(rig, warp.grid, u, v, depth_m)
            assert warp.valid[v, u] == inside, (u, v, xy)
            if inside:
                np.testing.assert_allclose(warp.thermal_from_output[v, u], xy, atol=1e-4)
    assert 0.02 < warp.valid.mean() < 0.98


def test_folded_barrel_lens_shows_no_mirrored_copy() -> None:
    """Without the fold check, rays beyond the fold of this lens would come back onto its image."""
    thermal = Lens(size=(160, 128), fx=60, fy=60, cx=79.5, cy=63.5, distortion=(-0.3, 0, 0, 0))
    rig = full_rig(
        thermal=thermal,
        rgb=Lens(size=(320, 180), fx=80, fy=80, cx=159.5, cy=89.5),
        rgb_from_thermal=Pose(rotation=NO_TURN, translation=(0, 0, 0)),
    )
    warp = warp_of(rig)
    y, x = np.mgrid[:180, :320]
    radius = np.hypot(x - 159.5, y - 89.5) / 80
    naive = cv2.projectPoints(
        np.array([[radius.max(), 0, 1.0]]), np.zeros(3), np.zeros(3), thermal.matrix, np.array(thermal.distortion)
    )[0].ravel()
    assert 0 <= naive[0] <= 159
    assert not warp.valid[radius >= thermal.fold_radius].any()
    row = warp.thermal_from_output[90][warp.valid[90]]
    assert (np.diff(row[:, 0]) > 0).all()


@pytest.mark.parametrize("quarters", range(4))
def test_border_is_not_lost_to_rounding(quarters: int) -> None:
    """A camera mounted on its side or upside down: sin(pi) is not quite 0, yet every pixel has its counterpart."""
    turn = quarters * math.pi / 2
    matrix = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    corners = matrix @ np.array([[0, 39, 0, 39], [0, 0, 31, 31], [1, 1, 1, 1]])
    matrix[:2, 2] = -corners[:2].min(axis=1)
    warp = warp_of(planar_rig(matrix.tolist(), (40, 32), (40, 32) if quarters % 2 == 0 else (32, 40)))
    assert warp.valid.all()


def test_coordinates_stay_finite_and_near_the_image() -> None:
    rig = full_rig(rgb_from_thermal=Pose(rotation=rotation(0, 1.4, 0), translation=(0.1, 0, 0)))
    coordinates = warp_of(rig).thermal_from_output
    assert coordinates.dtype == np.float32
    assert coordinates.min() >= -160
    assert coordinates.max() <= 320


# The output grid


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        (None, (0, 0, 1280, 720)),
        ((640, 360), (0, 0, 1280, 720)),
        ((640, 512), (190, 0, 900, 720)),
        ((1280, 400), (0, 160, 1280, 400)),
        ((1920, 1080), (0, 0, 1280, 720)),
        ((1, 1000), (639, 0, 1, 720)),
    ],
)
def test_crop_is_the_largest_centred_one(size: Any, crop: Any) -> None:
    grid = output_grid((1280, 720), size)
    assert (grid.crop, grid.size, grid.rgb_size) == (crop, size or (1280, 720), (1280, 720))


@pytest.mark.parametrize("size", [(120, 96), (75, 60), (320, 256), (200, 100)])
def test_grid_means_what_cv2_and_torch_mean(size: Any) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).random((128, 160)).astype(np.float32), (0, 0), 3)
    grid = output_grid((160, 128), size)
    x, y, width, height = grid.crop
    cropped = np.ascontiguousarray(image[y : y + height, x : x + width])
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rgb_pixels = (np.stack([u, v, np.ones_like(u)], axis=-1) @ grid.rgb_from_output.T)[..., :2]
    sampled = cv2.remap(image, rgb_pixels.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inner = (slice(4, -4), slice(4, -4))
    by_torch = torch.nn.functional.interpolate(
        torch.from_numpy(cropped)[None, None], size=size[::-1], mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(sampled[inner], by_torch[inner], atol=2e-3)
    np.testing.assert_allclose(sampled[inner], cv2.resize(cropped, size)[inner], atol=2e-3)


def test_stretch_uses_the_whole_image() -> None:
    assert output_grid((1280, 720), (640, 512), "stretch").crop == (0, 0, 1280, 720)


@pytest.mark.parametrize(
    ("size", "fit", "told"), [((640, 512), "pad", "allowed: crop, stretch"), ((0, 5), "crop", "at least 1")]
)
def test_bad_output_sizes_are_told(size: Any, fit: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        output_grid((1280, 720), size, fit)


# The shipped synthetic rig


def test_synthetic_rig_covers_what_its_picture_needs() -> None:
    warp = warp_of(Rig.load(SYNTHETIC), size=(640, 512))
    assert warp.thermal_from_output.shape == (512, 640, 2)
    assert warp.valid.mean() > 0.95
    middle = thermal_from_rgb(Rig.load(SYNTHETIC), np.array([640.0, 360.0]), 25.0)[0]
    np.testing.assert_allclose(middle, [152, 127], atol=4)


def test_fisheye_rig_maps_as_opencv_projects() -> None:
    thermal = Lens(
        size=(160, 128), model="fisheye", fx=62, fy=62.4, cx=80.6, cy=63.2, distortion=(0.04, -0.01, 0.002, -0.0004)
    )
    rgb = Lens(
        size=(320, 180), model="fisheye", fx=120, fy=121, cx=161.3, cy=88.9, distortion=(-0.03, 0.01, -0.004, 0.0007)
    )
    rig = full_rig(thermal=thermal, rgb=rgb)
    warp = warp_of(rig, depth_m=12.0)
    points = np.random.default_rng(3).uniform([-14, -8, 12], [14, 8, 12], (200, 3))
    turned = (points - rig.rgb_from_thermal.translation_vector) @ rig.rgb_from_thermal.rotation_matrix
    none = np.zeros(3)
    in_rgb, in_thermal = (
        cv2.fisheye.projectPoints(seen[:, None], none, none, lens.matrix, np.array(lens.distortion))[0][:, 0]
        for seen, lens in ((points, rgb), (turned, thermal))
    )
    inside = ((in_thermal > 1) & (in_thermal < np.array(thermal.size) - 2)).all(axis=1)
    inside &= ((in_rgb > 1) & (in_rgb < np.array(rgb.size) - 2)).all(axis=1)
    read = cv2.remap(warp.thermal_from_output, in_rgb[inside].astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]
    assert inside.sum() > 100
    np.testing.assert_allclose(read, in_thermal[inside], atol=0.02)  # linear between the map's pixels
    assert warp.valid[90, 160]
