"""Rigs from matched points: robust, honest about the residual, and refusing what carries no homography."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from streamfuse.calibrate.boardless import Points, off_at_depths, read_points, rig_of_points, transfer
from streamfuse.calibrate.commands import app
from streamfuse.errors import UserError
from streamfuse.rig import Rig

SIZES = (640, 512), (1280, 960)
TRUTH = np.array([[1.85, 0.05, 20.0], [-0.04, 1.75, 40.0], [2e-5, -1e-5, 1.0]])


def matched(count=40, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    thermal = rng.uniform((5, 5), (635, 505), (count, 2))
    thermal[:4] = [[5, 5], [635, 5], [5, 505], [635, 505]]
    return Points(thermal, transfer(TRUTH, thermal) + rng.normal(0, noise, (count, 2)))


def test_points_on_one_plane_give_its_homography():
    found = rig_of_points(matched(), SIZES)
    grid = np.array([[x, y] for x in (10, 320, 630) for y in (10, 256, 500)], float)
    assert np.linalg.norm(transfer(found.rig.homography, grid) - transfer(TRUTH, grid), axis=1).max() < 0.6
    assert found.reasons == ()
    assert found.rig.residual_px == pytest.approx(0.3 * np.sqrt(2), rel=0.35)


def test_wrong_points_are_left_out():
    points = matched()
    points.rgb[[3, 9, 17, 30]] += (40, -25)
    found = rig_of_points(points, SIZES)
    assert not found.used[[3, 9, 17, 30]].any()
    assert found.used.sum() == 36


def test_points_at_other_depths_raise_the_residual_and_the_reasons():
    points = matched()
    points.rgb[::2] += (6, 0)
    found = rig_of_points(points, SIZES)
    assert found.rig.provisional
    assert any("another depth" in reason or "held-out" in reason for reason in found.reasons)


def test_few_points_in_one_corner_make_it_provisional():
    points = matched()
    near = np.linalg.norm(points.thermal, axis=1) < 400
    found = rig_of_points(Points(points.thermal[near][:8], points.rgb[near][:8]), SIZES)
    assert any("8 points agree" in reason for reason in found.reasons)
    assert any("bottom right" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (Points(matched().thermal[:5], matched().rgb[:5]), "5 points; at least 6"),
        (Points(matched().rgb, matched().thermal), "columns look swapped"),
        (Points(np.column_stack([np.arange(10), np.full(10, 5.0)]), matched().rgb[:10]), "on a line"),
        (Points(matched().thermal * (-1, 1) + (639, 0), matched().rgb), "mirrored"),
    ],
)
def test_points_that_carry_nothing_are_refused(points, says):
    with pytest.raises(UserError, match=says):
        rig_of_points(points, SIZES)


def test_other_depths_are_off_by_parallax():
    off = dict(off_at_depths(0.06, 1085, 25))
    assert off[12.5] == pytest.approx(1085 * 0.06 * (1 / 12.5 - 1 / 25))
    assert off[float("inf")] == pytest.approx(1085 * 0.06 / 25)


def test_a_csv_file_is_read_with_or_without_names(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("thermal_x,thermal_y,rgb_x,rgb_y\n1,2,3,4\n\n5,6,7,8.5\n")
    points = read_points(path)
    assert points.thermal.tolist() == [[1, 2], [5, 6]]
    assert points.rgb.tolist() == [[3, 4], [7, 8.5]]


@pytest.mark.parametrize("line", ["1,2,3", "1,2,3,four", "1,2,3,nan"])
def test_a_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "points.csv"
    path.write_text(f"1,2,3,4\n{line}\n")
    with pytest.raises(UserError, match=r"points\.csv, line 2"):
        read_points(path)


def test_the_command_writes_a_rig_file(tmp_path):
    points = matched()
    table = np.column_stack([points.thermal, points.rgb])
    np.savetxt(tmp_path / "points.csv", table, delimiter=",")
    sizes = ["--thermal-size", "640x512", "--rgb-size", "1280x960"]
    depth = ["--working-depth", "25", "--baseline", "0.06", "--rgb-focal", "1085"]
    out = ["--out", str(tmp_path / "rig.yaml")]
    done = CliRunner().invoke(app, ["points", str(tmp_path / "points.csv"), *sizes, *depth, *out, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert "an object infinitely far away is" in done.output
    assert told["off_px_at_m"][0] == pytest.approx([12.5, 2.604])
    assert Rig.load(tmp_path / "rig.yaml").working_depth_m == 25
