"""The report: what it says of a rig, with and without a solution and pairs, and what it refuses."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import replace
from datetime import date

import cv2
import numpy as np
import pytest
from made_up_solution import made_up_solution
from rich.console import Console
from rigs import full_rig, planar_rig, rotation
from typer.testing import CliRunner

from streamfuse.calibrate.report import drawing
from streamfuse.calibrate.report.overlays import Pair, overlay, read_pairs
from streamfuse.calibrate.report.residuals import cell_counts
from streamfuse.calibrate.report.words import baseline_line, geometry, parameter_rows, plus_minus, verdict
from streamfuse.calibrate.report.write import write_report
from streamfuse.calibrate.solve import Estimate
from streamfuse.calibrate.target import Target
from streamfuse.commands import app
from streamfuse.errors import UserError
from streamfuse.rig import Calibration, Lens, Pose, Rig
from streamfuse.warp import build_warp, output_grid

TARGET = Target("checkerboard", 6, 5, spacing_m=0.03)
MEASURED = Calibration(target=TARGET.name, views=32, thermal_rms_px=0.3, rgb_rms_px=0.4, held_out_px=0.7)
NO_TURN = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@pytest.fixture(autouse=True)
def small_plots(monkeypatch):
    """What a plot shows does not depend on its resolution; how long it takes does."""
    monkeypatch.setattr(drawing, "DPI", 40)


@pytest.fixture
def quiet():
    return Console(quiet=True)


def saved(rig: Rig, folder, name="rig.yaml"):
    path = folder / name
    rig.save(path)
    return path


def written_pair(folder, thermal_size=(160, 128), visible_size=(320, 180)):
    rng = np.random.default_rng(0)
    thermal = cv2.resize(rng.integers(7000, 9000, (8, 10)).astype(np.uint16), thermal_size)
    visible = cv2.resize(rng.integers(0, 255, (9, 16, 3)).astype(np.uint8), visible_size)
    paths = folder / "thermal.png", folder / "visible.png"
    cv2.imwrite(str(paths[0]), thermal)
    cv2.imwrite(str(paths[1]), visible)
    return paths


def pictures_in(page: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR) for one in found]


class TestPage:
    def test_with_everything_it_is_one_file_that_needs_nothing_beside_it(self, tmp_path, quiet):
        solution = made_up_solution(rig=full_rig(calibration=MEASURED, made_on=date(2026, 11, 21)))
        solution.save(tmp_path / "solution.json")
        out, png = tmp_path / "deep" / "report.html", tmp_path / "report.png"
        told = write_report(
            saved(solution.rig, tmp_path),
            tmp_path / "solution.json",
            pairs=written_pair(tmp_path),
            out=out,
            png=png,
            console=quiet,
        )
        page = out.read_text()
        assert told["verdict"] == "pass"
        for stated in (solution.rig.content_hash, "2026-11-21", "checkerboard 6x5", "thermal.fx"):
            assert stated in page
        assert "view_03 was left out" in page
        assert not re.search(r"(src|srcset|href)=['\"](?!data:)", page)
        pictures = pictures_in(page)
        assert len(pictures) == 2 * 9 + 4
        assert all(picture is not None and picture.std() > 1 for picture in pictures)
        assert cv2.imread(str(png)).shape[0] > 1000

    def test_with_a_rig_alone_it_tells_geometry_and_parallax(self, tmp_path, quiet):
        out = tmp_path / "report.html"
        told = write_report(saved(full_rig(), tmp_path), out=out, console=quiet)
        page = out.read_text()
        assert "6.0 cm to the right, 1.2 cm above" in page
        near, far = told["parallax"]["rgb"]["under_1_px_m"]
        assert near < 12 < far
        assert len(pictures_in(page)) == 2
        assert "What solving left over" not in page

    def test_of_a_planar_rig_the_parallax_is_unknown_and_said_so(self, tmp_path, quiet):
        rig = planar_rig(((2, 0, 0.5), (0, 2, 0.5), (0, 0, 1)))
        told = write_report(saved(rig, tmp_path), out=tmp_path / "r.html", console=quiet)
        assert told["parallax"] is None
        assert told["verdict"] == "unknown"
        assert "one plane" in (tmp_path / "r.html").read_text()

    def test_hostile_names_stay_text(self, tmp_path, quiet):
        rig = full_rig(notes="<img src=x>").model_copy(update={"name": "<script>alert(1)</script>"})
        write_report(saved(rig, tmp_path), out=tmp_path / "r.html", console=quiet)
        page = (tmp_path / "r.html").read_text()
        assert "<script" not in page
        assert "<img src=x>" not in page

    def test_a_solution_of_nothing_but_one_camera_still_makes_a_page(self, tmp_path, quiet):
        solution = made_up_solution()
        nothing = type(solution.rgb)(*(column[:0] for column in solution.rgb._columns))
        made_up_solution(rgb=nothing, held_out=nothing).save(tmp_path / "s.json")
        write_report(saved(solution.rig, tmp_path), tmp_path / "s.json", out=tmp_path / "r.html", console=quiet)
        assert len(pictures_in((tmp_path / "r.html").read_text())) == 2 * 5


class TestVerdict:
    def test_only_a_measured_rig_passes(self):
        assert verdict(full_rig(calibration=MEASURED)).word == "pass"
        assert verdict(full_rig()).word == "unchecked"
        assert verdict(full_rig(residual_px=None)).word == "unknown"

    def test_a_provisional_rig_says_why(self):
        refused = MEASURED.model_copy(update={"refused": ("9 poses found, 15 asked",)})
        told = verdict(full_rig(provisional=True, calibration=refused))
        assert (told.word, told.reasons) == ("provisional", ("9 poses found, 15 asked",))

    def test_reasons_of_the_solution_count_where_the_file_is_silent(self):
        assert verdict(full_rig(), made_up_solution(reasons=("no tilt",))).reasons == ("no tilt",)


class TestWords:
    def test_the_words_agree_with_the_projection(self):
        """A camera said to look to the right has what both see left of its middle: checked through the map."""
        lens = Lens(size=(200, 160), fx=200, fy=200, cx=99.5, cy=79.5)
        pose = Pose(rotation=rotation(0, 0.1, 0), translation=(-0.03, 0, 0))
        rig = Rig(name="t", thermal=lens, rgb=lens, rgb_from_thermal=pose, working_depth_m=5.0)
        warp = build_warp(rig, output_grid(lens.size), 5.0, calibration="", revision=0)
        words = " ".join(geometry(rig))
        assert "3.0 cm to the left" in words
        assert "5.7 degrees to the right" in words
        assert warp.thermal_from_output[80, 100, 0] < 90

    def test_a_target_without_a_size_makes_no_metres(self):
        unknown = MEASURED.model_copy(update={"target": replace(TARGET, scale_known=False).name})
        assert "one spacing" in " ".join(geometry(full_rig(calibration=unknown)))
        assert "one spacing" not in " ".join(geometry(full_rig(calibration=MEASURED)))

    def test_intervals_are_told_in_two_digits_and_their_units(self):
        assert plus_minus(176.04321, 0.98) == "176.04 ± 0.98"
        assert plus_minus(-0.0812, 0.00196) == "-0.0812 ± 0.0020"
        assert plus_minus(5.0, 0.0) == "5 (fixed)"
        rows = {row[0]: row[1:] for row in parameter_rows(made_up_solution().estimate)}
        assert rows["rgb_from_thermal.tx"] == ("60.00 ± 0.39", "mm")
        assert rows["rgb_from_thermal.rx"] == ("0.57 ± 0.11", "degrees")

    def test_the_baseline_is_as_sure_as_its_covariance_along_itself(self):
        names = tuple(f"rgb_from_thermal.t{axis}" for axis in "xyz")
        sure_along = np.diag([1e-8, 1e-4, 1e-4])  # metres squared: the cameras stand beside each other in x
        told = baseline_line(Estimate(names, np.array([0.1, 0.0, 0.0]), sure_along, {}))
        assert told[0].startswith("The cameras are 100.00 ± 0.20 mm apart (95 %)")
        assert "0.2 % of the shift" in told[0]
        unsure = baseline_line(Estimate(names, np.array([0.0023, 0.0, 0.0]), np.diag([8e-6, 1e-4, 1e-4]), {}))
        assert "240 % of the shift" in unsure[0]
        assert baseline_line(made_up_solution().estimate) == []

    def test_cells_count_every_pixel_once(self):
        pixels = np.array([[-0.5, -0.5], [59.4, 39.4], [30.0, 5.0], [29.6, 5.0]])
        counts = cell_counts(pixels, (60, 40), (6, 4))
        assert counts.sum() == 4
        assert (counts[0, 0], counts[3, 5], counts[0, 3]) == (1, 1, 2)


class TestOverlay:
    def test_after_the_map_a_thermal_twin_lies_on_its_visible_image(self):
        """The thermal image is made from the visible one through the rig: so the checker is that image again."""
        rig = full_rig()
        visible = cv2.resize(np.random.default_rng(1).integers(0, 255, (12, 20)).astype(np.uint8), (320, 180))
        warp = build_warp(rig, output_grid(rig.rgb_size), 12.0, calibration="", revision=0)
        total, weight = np.zeros((128, 160)), np.zeros((128, 160))
        at = np.rint(warp.thermal_from_output[warp.valid]).astype(int)
        np.add.at(total, (at[:, 1], at[:, 0]), visible[warp.valid])
        np.add.at(weight, (at[:, 1], at[:, 0]), 1)
        thermal = (total / np.maximum(weight, 1)).astype(np.uint8)
        made = overlay(Pair("twin", thermal, np.repeat(visible[..., None], 3, axis=2)), rig)
        inside = cv2.erode(warp.valid.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        checkers = made.checker_before, made.checker_after
        off = [np.abs(one[..., 0].astype(int) - visible)[inside].mean() for one in checkers]
        assert off[1] < 3
        assert off[1] < off[0] / 4

    def test_pairs_of_another_size_are_refused(self):
        with pytest.raises(UserError, match="measured on thermal 160x128"):
            overlay(Pair("x", np.zeros((60, 80), np.uint8), np.zeros((180, 320, 3), np.uint8)), full_rig())

    def test_of_folders_a_few_pairs_are_taken(self, tmp_path):
        for kind in ("ir", "vis"):
            (tmp_path / kind).mkdir()
            for index in range(7):
                cv2.imwrite(str(tmp_path / kind / f"{kind}_{index}.png"), np.full((20, 30), index, np.uint8))
        pairs = read_pairs(tmp_path / "ir", tmp_path / "vis")
        assert [int(pair.thermal[0, 0]) for pair in pairs] == [int(pair.visible[0, 0, 0]) for pair in pairs]
        assert len(pairs) == 3

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(UserError, match=r"thermal .*nowhere\.png does not exist"):
            read_pairs(tmp_path / "nowhere.png", tmp_path)


class TestCommand:
    def test_the_last_line_is_json(self, tmp_path):
        rig = saved(full_rig(provisional=True), tmp_path)
        out = tmp_path / "r.html"
        asked = ["calibrate", "report", str(rig), "--out", str(out), "--size", "160x90", "--json"]
        result = CliRunner().invoke(app, asked)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout.strip().splitlines()[-1])
        assert told["verdict"] == "provisional"
        assert told["parallax"]["output"]["under_1_px_m"][0] < told["parallax"]["rgb"]["under_1_px_m"][0]

    def test_a_solution_of_another_rig_is_refused(self, tmp_path, quiet):
        made_up_solution().save(tmp_path / "s.json")
        other = full_rig(rgb_from_thermal=Pose(rotation=NO_TURN, translation=(0.05, 0, 0)))
        with pytest.raises(UserError, match="other lenses or another pose"):
            write_report(saved(other, tmp_path), tmp_path / "s.json", out=tmp_path / "r.html", console=quiet)

    def test_a_working_depth_set_later_is_still_the_same_rig(self, tmp_path, quiet):
        made_up_solution().save(tmp_path / "s.json")
        rig = saved(full_rig(working_depth_m=30.0, thermal_delay_ms=4.0), tmp_path)
        assert write_report(rig, tmp_path / "s.json", out=tmp_path / "r.html", console=quiet)["verdict"] == "unchecked"

    @pytest.mark.parametrize("size", ["640", "0x5", "ax5"])
    def test_a_size_that_is_none_is_refused(self, tmp_path, quiet, size):
        with pytest.raises(UserError, match="WIDTHxHEIGHT"):
            write_report(saved(full_rig(), tmp_path), size=size, out=tmp_path / "r.html", console=quiet)

    def test_without_matplotlib_the_remedy_is_named(self, tmp_path, quiet, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(UserError, match="pip install"):
            write_report(saved(full_rig(), tmp_path), out=tmp_path / "r.html", console=quiet)
