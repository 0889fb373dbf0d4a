"""Parallax: the predicted error against a map that was really built and points projected by OpenCV's own lenses."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from rigs import full_rig, planar_rig, rotation

from streamfuse.calibrate.parallax import DepthRange, parallax_of, rgb_from_thermal
from streamfuse.errors import UserError
from streamfuse.rig import Lens, Pose, Rig
from streamfuse.warp import build_warp, output_grid, parallax_px_per_inverse_m, thermal_from_rgb

AGREES_PX = 0.05
"""A quarter of what is promised."""
POINTS = 150


def random_rig(seed: int) -> Rig:
    """Two different lenses, every third RGB one a fisheye, up to 14 cm and some degrees apart, set to 5..40 m."""
    rng = np.random.default_rng(seed)
    thermal = Lens(
        size=(160, 128),
        fx=rng.uniform(140, 260),
        fy=rng.uniform(140, 260),
        cx=79.5 + rng.normal(0, 3),
        cy=63.5 + rng.normal(0, 3),
        distortion=(rng.uniform(-0.25, 0.05), rng.uniform(0, 0.06), *rng.normal(0, 5e-4, 2), 0.0),
    )
    focal = rng.uniform(300, 500)
    rgb = Lens(
        size=(400, 300),
        model="fisheye" if seed % 3 == 2 else "opencv",
        fx=focal,
        fy=focal * 1.002,
        cx=199.5 + rng.normal(0, 5),
        cy=149.5 + rng.normal(0, 5),
        distortion=(rng.uniform(-0.12, 0.05), rng.uniform(0, 0.04), *rng.normal(0, 5e-4, 2)),
    )
    pose = Pose(rotation=rotation(*rng.normal(0, 0.03, 3)), translation=tuple(rng.uniform(-0.1, 0.1, 3) * (1, 1, 0.3)))
    depth_m = float(rng.uniform(5, 40))
    return Rig(name="random", thermal=thermal, rgb=rgb, rgb_from_thermal=pose, working_depth_m=depth_m)


def projected(lens: Lens, points: np.ndarray) -> np.ndarray:
    """OpenCV's projection, so that ours is not compared with itself."""
    of_model = cv2.fisheye.projectPoints if lens.model == "fisheye" else cv2.projectPoints
    pixels, _ = of_model(points[:, None], np.zeros(3), np.zeros(3), lens.matrix, np.array(lens.distortion))
    return pixels.reshape(-1, 2)


def seen_by_both(rig: Rig, depths_m: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random points at these depths: their RGB pixels, thermal pixels and depths, those on both images."""
    rays, _ = rig.rgb.rays(rng.uniform((0, 0), (399, 299), (len(depths_m), 2)))
    in_rgb = np.column_stack([rays, np.ones(len(rays))]) * depths_m[:, None]
    in_thermal = (in_rgb - rig.rgb_from_thermal.translation_vector) @ rig.rgb_from_thermal.rotation_matrix
    visible, thermal = projected(rig.rgb, in_rgb), projected(rig.thermal, in_thermal)
    both = ((thermal >= 1) & (thermal <= (158, 126))).all(axis=1)
    return visible[both], thermal[both], depths_m[both]


def shown_at(table: np.ndarray, thermal: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Output pixel at which a built map reads a thermal pixel, by Newton steps in its table; nan off the image."""
    at = start.copy()
    for _ in range(30):
        step = np.array([0.5, 0.0]), np.array([0.0, 0.5])
        slopes = [(read(table, at + one) - read(table, at - one)) for one in step]
        at = at + np.linalg.solve(np.column_stack(slopes), thermal - read(table, at))
        if not (0.5 <= at[0] <= table.shape[1] - 1.5 and 0.5 <= at[1] <= table.shape[0] - 1.5):
            return np.full(2, np.nan)
    return at


def read(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The table between its pixels."""
    column, row = np.float32(at[0]), np.float32(at[1])
    return cv2.remap(table, column.reshape(1, 1), row.reshape(1, 1), cv2.INTER_LINEAR)[0, 0].astype(np.float64)


@pytest.mark.parametrize("seed", range(12))
def test_the_prediction_is_what_a_built_map_does_to_points_at_random_depths(seed):
    rig, rng = random_rig(seed), np.random.default_rng(1000 + seed)
    grid = output_grid(rig.rgb_size)
    table = build_warp(rig, grid, rig.working_depth_m, calibration="", revision=0).thermal_from_output
    visible, thermal, depths = seen_by_both(rig, 1 / rng.uniform(0.001, 1.2, POINTS), rng)
    parallax = parallax_of(rig)
    worst, judged = 0.0, 0
    for pixel, heat, depth in zip(visible, thermal, depths, strict=True):
        if not (1 <= pixel[0] <= 398 and 1 <= pixel[1] <= 298):
            continue
        predicted = parallax.shifts(pixel, depth)
        true_thermal = read(table, pixel) - heat
        assert np.abs(predicted.in_thermal - true_thermal).max() < AGREES_PX
        truth = shown_at(table, heat, pixel) - pixel
        if np.isfinite(truth).all():
            judged += 1
            worst = max(worst, float(np.abs(predicted.on_grid - truth).max()))
    assert judged > POINTS / 4
    assert worst < AGREES_PX


def test_the_way_back_is_the_inverse_of_the_map():
    rig = random_rig(3)
    pixels = np.random.default_rng(0).uniform((60, 60), (340, 240), (50, 2))
    for depth_m in (2.0, 11.0, math.inf):
        there, seen = thermal_from_rgb(rig, pixels, depth_m)
        back, ok = rgb_from_thermal(rig, there, depth_m)
        assert (seen & ok).all()
        np.testing.assert_allclose(back, pixels, atol=1e-4)


def test_without_distortion_and_turn_it_is_focal_length_times_baseline():
    lens = Lens(size=(320, 240), fx=300, fy=300, cx=160, cy=120)
    pose = Pose(rotation=rotation(0, 0, 0), translation=(0.06, -0.02, 0.0))
    rig = Rig(name="plain", thermal=lens, rgb=lens, rgb_from_thermal=pose, working_depth_m=10.0)
    shifts = parallax_of(rig).shifts(np.array([[30.0, 40.0], [250.0, 190.0]]), 4.0)
    expected = np.array(parallax_px_per_inverse_m(rig, output_grid(rig.rgb_size))) * (1 / 4 - 1 / 10)
    np.testing.assert_allclose(shifts.on_grid, [expected, expected], atol=1e-9)


def test_a_scaled_output_scales_the_error_and_moves_the_range():
    rig = full_rig()
    half = output_grid(rig.rgb_size, (160, 90), "stretch")
    whole, small = parallax_of(rig), parallax_of(rig, half)
    assert small.worst_px(3.0) == pytest.approx(whole.worst_px(3.0) / 2, rel=0.02)
    assert small.holds(1).near_m == pytest.approx(whole.holds(2).near_m, rel=0.02)


def test_at_the_edge_of_its_range_the_error_is_the_limit():
    parallax = parallax_of(full_rig(), map_depth_m=4.0)
    held = parallax.holds(0.5)
    assert held.near_m < 4.0 < held.far_m < math.inf
    assert parallax.worst_px(held.near_m) == pytest.approx(0.5, abs=1e-3)
    assert parallax.worst_px(held.far_m) == pytest.approx(0.5, abs=1e-3)
    assert parallax.worst_px(4.0) < 1e-3


def test_a_map_for_infinity_holds_beyond_a_depth():
    held = parallax_of(full_rig(), map_depth_m=math.inf).holds(1.0)
    assert math.isinf(held.far_m)
    assert str(held) == f"under 1 px beyond {held.near_m:.3g} m"
    assert str(DepthRange(1.0, 1234.0, math.inf)) == "under 1 px beyond 1230 m"


def test_the_curve_says_nothing_where_the_cameras_see_nothing_in_common():
    apart = full_rig(rgb_from_thermal=Pose(rotation=rotation(0, 0, 0), translation=(0.5, 0, 0)))
    curve = parallax_of(apart).curve([0.1, 12.0, math.inf])
    assert math.isnan(curve.worst_px[0])
    assert curve.worst_px[1] < 1e-3 < curve.median_px[2] <= curve.worst_px[2]


def test_a_planar_rig_is_told_that_it_does_not_know():
    with pytest.raises(UserError, match="planar"):
        parallax_of(planar_rig(((2, 0, 0), (0, 2, 0), (0, 0, 1))))


def test_cameras_that_look_apart_are_refused():
    with pytest.raises(UserError, match="no pixel is seen by both"):
        parallax_of(full_rig(rgb_from_thermal=Pose(rotation=rotation(0, 2.5, 0), translation=(0.06, 0, 0))))
