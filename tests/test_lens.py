"""Lenses against OpenCV's own projection, there and back, and their fold."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamfuse.lens import Lens

PLAIN = Lens(size=(640, 480), fx=500, fy=510, cx=321, cy=238)
DISTORTIONS = {
    "none": (),
    "four": (-0.25, 0.08, 0.001, -0.002),
    "five": (-0.28, 0.11, -0.0005, 0.0007, -0.02),
    "pincushion": (0.15, 0.02, 0.001, 0.001, 0.0),
    "rational": (0.9, 0.2, 0.0004, -0.0003, 0.01, 1.2, 0.5, 0.05),
}


FISHEYES = {
    "equidistant": (0.0, 0.0, 0.0, 0.0),
    "mild": (0.05, -0.01, 0.003, -0.0005),
    "strong": (-0.08, 0.02, -0.006, 0.001),
}
WIDE = Lens(size=(640, 480), model="fisheye", fx=230, fy=232, cx=321, cy=238, distortion=FISHEYES["mild"])


def lens_with(distortion: tuple[float, ...]) -> Lens:
    return PLAIN.model_copy(update={"distortion": distortion})


def image_pixels(lens: Lens, step: int = 7) -> np.ndarray:
    x, y = np.meshgrid(np.arange(0, lens.size[0], step), np.arange(0, lens.size[1], step))
    return np.stack([x, y], axis=-1).astype(np.float64)


@pytest.mark.parametrize("distortion", DISTORTIONS.values(), ids=DISTORTIONS)
def test_projection_agrees_with_opencv(distortion: tuple[float, ...]) -> None:
    points = np.random.default_rng(1).uniform([-3, -2, 5], [3, 2, 9], (200, 3))
    expected, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), PLAIN.matrix, np.array(distortion) if distortion else None
    )
    pixels, valid = lens_with(distortion).project(points)
    assert valid.all()
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("distortion", DISTORTIONS.values(), ids=DISTORTIONS)
def test_there_and_back_is_the_identity(distortion: tuple[float, ...]) -> None:
    lens = lens_with(distortion)
    pixels = image_pixels(lens)
    rays, found = lens.rays(pixels)
    again, valid = lens.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) * 12.5)
    assert found.all()
    assert valid.all()
    np.testing.assert_allclose(again, pixels, atol=1e-5)


def test_points_behind_the_camera_are_refused() -> None:
    pixels, valid = PLAIN.project([[0, 0, 1], [0, 0, 0], [0.1, 0, -1]])
    assert valid.tolist() == [True, False, False]
    assert np.isfinite(pixels).all()


def test_fold_of_pure_barrel_distortion_is_where_the_formula_turns() -> None:
    # d/dr of r (1 + k1 r^2) = 0 at r = 1 / sqrt(-3 k1)
    assert lens_with((-0.3, 0, 0, 0)).fold_radius == pytest.approx(1 / math.sqrt(0.9), rel=1e-12)
    assert lens_with((0.3, 0, 0, 0)).fold_radius == math.inf
    assert lens_with(()).fold_radius == math.inf
    # a pole: 1 + k4 r^2 = 0
    assert lens_with((0, 0, 0, 0, 0, -0.25, 0, 0)).fold_radius == pytest.approx(2.0, rel=1e-12)


def test_beyond_the_fold_nothing_is_projected() -> None:
    lens = lens_with((-0.3, 0, 0, 0))
    radii = np.linspace(0, 3, 301)
    pixels, valid = lens.project(np.stack([radii, 0 * radii, 1 + 0 * radii], axis=-1))
    assert (valid == (radii < lens.fold_radius)).all()
    assert (np.diff(pixels[valid, 0]) > 0).all()


def test_pixels_farther_out_than_the_fold_have_no_ray() -> None:
    lens = lens_with((-0.3, 0, 0, 0))
    outermost = lens.cx + lens.fx * lens.fold_radius * (1 - 0.3 * lens.fold_radius**2)
    x = np.array([outermost - 5, outermost - 0.01, outermost + 0.01, outermost + 200])
    rays, found = lens.rays(np.stack([x, np.full_like(x, lens.cy)], axis=-1))
    assert found.tolist() == [True, True, False, False]
    assert (rays[~found] == 0).all()


def test_rays_close_to_a_fold_behind_a_bulge_are_found() -> None:
    """Here pixels lie farther out than the fold's own ray length, where a plain Newton iteration is thrown about."""
    lens = lens_with((0.5, -0.2, 0, 0))
    radii = lens.fold_radius * np.linspace(0.9, 0.9999, 50)
    pixels, valid = lens.project(np.stack([radii, -radii / 9, np.full(50, 1.01)], axis=-1))
    rays, found = lens.rays(pixels)
    assert valid.all()
    assert found.all()
    np.testing.assert_allclose(rays[:, 0], radii / 1.01, atol=1e-6)


def test_tangential_distortion_may_not_turn_the_image_inside_out() -> None:
    lens = lens_with((-0.3, 0, 0.05, 0.04))
    axis = np.linspace(-1.2, 1.2, 121)
    x, y = np.meshgrid(axis, axis)
    step = 1e-6
    here, valid = lens.project(np.stack([x, y, np.ones_like(x)], axis=-1))
    right, right_valid = lens.project(np.stack([x + step, y, np.ones_like(x)], axis=-1))
    below, below_valid = lens.project(np.stack([x, y + step, np.ones_like(x)], axis=-1))
    all_valid = valid & right_valid & below_valid
    along_x, along_y = right - here, below - here
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    assert all_valid.sum() > 5000
    assert (area[all_valid] > 0).all()


@settings(max_examples=60)
@given(
    k1=st.floats(-0.5, 0.5),
    k2=st.floats(-0.2, 0.3),
    k3=st.floats(-0.05, 0.05),
    p1=st.floats(-0.005, 0.005),
    p2=st.floats(-0.005, 0.005),
)
def test_any_lens_returns_every_pixel_it_claims(k1: float, k2: float, k3: float, p1: float, p2: float) -> None:
    lens = lens_with((k1, k2, p1, p2, k3))
    pixels = image_pixels(lens, 37)
    rays, found = lens.rays(pixels)
    again, valid = lens.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
    assert valid[found].all()
    np.testing.assert_allclose(again[found], pixels[found], atol=1e-5)


@settings(max_examples=60)
@given(k1=st.floats(-0.5, 0.5), k2=st.floats(-0.2, 0.3), p1=st.floats(-0.003, 0.003), share=st.floats(0, 0.95))
def test_any_ray_inside_the_fold_is_found_again(k1: float, k2: float, p1: float, share: float) -> None:
    lens = lens_with((k1, k2, p1, 0.0))
    radius = share * min(lens.fold_radius, 3.0)
    angle = np.linspace(0, 2 * np.pi, 13)
    rays = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    pixels, valid = lens.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
    again, found = lens.rays(pixels[valid])
    assert found.all()
    np.testing.assert_allclose(again, rays[valid], atol=1e-5)


def fisheye_with(distortion: tuple[float, ...]) -> Lens:
    return WIDE.model_copy(update={"distortion": distortion})


@pytest.mark.parametrize("distortion", FISHEYES.values(), ids=FISHEYES)
def test_fisheye_agrees_with_opencv_both_ways(distortion: tuple[float, ...]) -> None:
    lens = fisheye_with(distortion)
    points = np.random.default_rng(1).uniform([-8, -6, 0.5], [8, 6, 9], (300, 3))
    expected, _ = cv2.fisheye.projectPoints(
        points[:, None], np.zeros(3), np.zeros(3), lens.matrix, np.array(distortion)
    )
    pixels, valid = lens.project(points)
    assert valid.all()
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-9)
    near = np.linalg.norm(points[:, :2] / points[:, 2:], axis=1) < 3  # OpenCV's own way back stops short farther out
    back = cv2.fisheye.undistortPoints(expected[near], lens.matrix, np.array(distortion))[:, 0]
    rays, found = lens.rays(pixels[near])
    assert found.all()
    np.testing.assert_allclose(rays, back, atol=1e-5)
    np.testing.assert_allclose(rays, points[near, :2] / points[near, 2:], atol=1e-9)


@pytest.mark.parametrize("distortion", FISHEYES.values(), ids=FISHEYES)
def test_fisheye_there_and_back_is_the_identity(distortion: tuple[float, ...]) -> None:
    lens = fisheye_with(distortion)
    pixels = image_pixels(lens)
    rays, found = lens.rays(pixels)
    again, valid = lens.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) * 12.5)
    assert found.mean() > 0.8  # the corners look sideways or behind
    assert valid[found].all()
    np.testing.assert_allclose(again[found], pixels[found], atol=1e-8)
    assert (rays[~found] == 0).all()


def test_fisheye_sees_nothing_beside_and_behind_it() -> None:
    pixels, valid = WIDE.project([[0, 0, 1], [50, 0, 1], [1, 0, 0], [0.1, 0, -1]])
    assert valid.tolist() == [True, True, False, False]
    assert np.isfinite(pixels).all()
    straight = fisheye_with((0.0, 0.0, 0.0, 0.0))
    edge = straight.cx + straight.fx * np.pi / 2
    _, found = straight.rays([[edge - 0.01, straight.cy], [edge + 0.01, straight.cy]])
    assert found.tolist() == [True, False]


def test_fisheye_ends_at_its_fold() -> None:
    # d/da of a (1 + k1 a^2) = 0 at a = 1 / sqrt(-3 k1)
    lens = fisheye_with((-0.5, 0.0, 0.0, 0.0))
    angle = 1 / math.sqrt(1.5)
    assert lens.fold_radius == pytest.approx(math.tan(angle), rel=1e-12)
    assert fisheye_with((0.1, 0.0, 0.0, 0.0)).fold_radius == math.inf
    assert fisheye_with((-0.13, 0.0, 0.0, 0.0)).fold_radius == math.inf  # turns back at 91.7 degrees
    radii = np.linspace(0, 3, 301)
    pixels, valid = lens.project(np.stack([radii, 0 * radii, 1 + 0 * radii], axis=-1))
    assert (valid == (radii < lens.fold_radius)).all()
    assert (np.diff(pixels[valid, 0]) > 0).all()
    outermost = lens.cx + lens.fx * angle * (1 - 0.5 * angle**2)
    _, found = lens.rays([[outermost - 0.01, lens.cy], [outermost + 0.01, lens.cy]])
    assert found.tolist() == [True, False]


@settings(max_examples=60)
@given(
    k1=st.floats(-0.5, 0.5), k2=st.floats(-0.2, 0.2), k3=st.floats(-0.1, 0.1), k4=st.floats(-0.05, 0.05),
    share=st.floats(0, 0.98),
)  # fmt: skip
def test_any_fisheye_ray_inside_the_fold_is_found_again(
    k1: float, k2: float, k3: float, k4: float, share: float
) -> None:
    lens = fisheye_with((k1, k2, k3, k4))
    radius = math.tan(share * math.atan(lens.fold_radius))
    angle = np.linspace(0, 2 * np.pi, 13)
    rays = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    pixels, valid = lens.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
    assert valid.all()
    again, found = lens.rays(pixels)
    assert found.all()
    np.testing.assert_allclose(again, rays, atol=1e-6 * (1 + radius**2))


def test_scaled_fisheye_sees_the_same_rays() -> None:
    corner = np.array([[40.0, 60.0], [600.0, 400.0]])
    np.testing.assert_allclose(WIDE.scaled((1280, 960)).rays(2 * corner + 0.5)[0], WIDE.rays(corner)[0], atol=1e-12)
