"""`streamfuse calibrate align` around the alignment: which pairs, which files, which exit code, which figures."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from streamfuse.calibrate import align_benchmark, align_files
from streamfuse.calibrate.align import Alignment
from streamfuse.calibrate.align_at import Box, InBox
from streamfuse.calibrate.align_cases import Case, random_warps, warped, warped_pairs
from streamfuse.calibrate.align_peers import PEERS, peer
from streamfuse.calibrate.align_sure import Evidence
from streamfuse.calibrate.commands import app
from streamfuse.errors import UserError
from streamfuse.rig import Rig
from tests.calibrate.scenes import SIZE, moved, scene, similar

THERMAL = (160, 128)
TRUTH = similar(1.3, 5.0, (4.0, -6.0), THERMAL)
CONSOLE = Console(stderr=True, quiet=True)


def answer(probability, matrix=TRUTH, thermal=THERMAL, rgb=SIZE, pairs=1):
    return Alignment(matrix, probability, Evidence(0.5, 100, 1.0, 1.5), thermal, rgb, pairs)


@pytest.fixture
def folders(tmp_path):
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
    for index in range(12):
        thermal, visible = scene(index)
        cv2.imwrite(str(tmp_path / f"ir/{index:03d}.png"), moved(thermal, TRUTH, THERMAL))
        cv2.imwrite(str(tmp_path / f"vis/{index:03d}.png"), visible[..., ::-1])
    return tmp_path


@pytest.fixture
def solved(monkeypatch):
    """The alignment itself is replaced; what it was given is kept."""
    given = []

    def put(probability, doubt=""):
        def fake(images, on_step=None, at=None):
            given.append(images)
            on_step(1, 1)
            found = answer(probability, pairs=len(images))
            said = InBox(at, (5.0, 0.5), 0.4, 0.1, 30, noticed=True, doubt=doubt) if at else None
            return replace(found, at=said)

        monkeypatch.setattr(align_files, "align", fake)
        return given

    return put


def test_a_sure_answer_is_a_provisional_rig_and_a_picture(folders, solved):
    given = solved(0.999)
    out = folders / "made" / "rig.yaml"
    told = align_files.align_files(folders / "ir", folders / "vis", out, most=4, console=CONSOLE)
    assert "error" not in told
    assert len(given[0]) == 4
    rig = Rig.load(out)
    assert rig.provisional
    assert rig.calibration is not None
    assert rig.calibration.views == 4
    assert (rig.thermal_size, rig.rgb_size, rig.residual_px) == (THERMAL, SIZE, told["error_px"])
    np.testing.assert_allclose(rig.homography, TRUTH, atol=1e-9)
    picture = cv2.imread(told["picture"])
    assert picture.shape == (2 * SIZE[1], 2 * SIZE[0], 3)


def test_an_unsure_answer_is_refused_unless_it_is_accepted(folders, solved):
    solved(0.4)
    out = folders / "rig.yaml"
    told = align_files.align_files(folders / "ir", folders / "vis", out, console=CONSOLE)
    assert "0.40" in told["error"]
    assert not out.exists()
    assert out.with_suffix(".png").exists()
    told = align_files.align_files(folders / "ir", folders / "vis", out, accept_unsure=True, console=CONSOLE)
    assert "error" not in told
    assert any("0.40" in reason for reason in Rig.load(out).calibration.refused)


def test_the_command_ends_with_one_where_it_is_not_sure(folders, solved):
    solved(0.4)
    arguments = ["align", str(folders / "ir"), str(folders / "vis"), "--out", str(folders / "rig.yaml"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[0])["sure"] is False


def test_a_place_for_the_rig_file_that_is_none_is_told_before_the_search(folders):
    (folders / "file").touch()
    for out, said in ((folders, "is a folder; name the rig file"), (folders / "file" / "rig.yaml", "cannot be made")):
        with pytest.raises(UserError, match=said):
            align_files.align_files(folders / "ir", folders / "vis", out, console=CONSOLE)
    assert not folders.with_suffix(".png").exists()


class TestAtABox:
    BOX = Box(60, 40, 90, 70)

    def test_the_rig_file_and_the_picture_tell_of_the_box(self, folders, solved):
        given = solved(0.999)
        out = folders / "rig.yaml"
        told = align_files.align_files(folders / "ir", folders / "vis", out, most=4, at=self.BOX, console=CONSOLE)
        assert "error" not in told
        assert told["at"]["box"] == [60, 40, 90, 70]
        assert (told["at"]["image"], told["at"]["followed"], told["at"]["shift_px"]) == ("000", True, [5.0, 0.5])
        np.testing.assert_array_equal(given[0][0][1], scene(0)[1])
        rig = Rig.load(out)
        assert rig.calibration.refused == (
            "aligned without a target: one homography, right at the depth of what 60,40,90,70 shows",
        )
        assert rig.notes == (
            "box 60,40,90,70 of 000: shifted by 5.0, 0.5 px to be right there; 40% of its 30 patches agree"
        )
        picture = cv2.imread(told["picture"])
        for corner in ((60, 40), (149, 109)):
            assert picture[corner[1], corner[0]].tolist() == list(align_files.BOX_COLOUR[::-1])
            assert picture[corner[1] + SIZE[1], corner[0] + SIZE[0]].tolist() == list(align_files.BOX_COLOUR[::-1])

    def test_a_box_in_doubt_is_refused_unless_it_is_accepted(self, folders, solved):
        solved(0.999, doubt="only 3 patches")
        out = folders / "rig.yaml"
        told = align_files.align_files(folders / "ir", folders / "vis", out, at=self.BOX, console=CONSOLE)
        assert "not sure of its depth: only 3 patches" in told["error"]
        assert "draw it closely around one thing" in told["error"]
        assert not out.exists()
        told = align_files.align_files(
            folders / "ir", folders / "vis", out, at=self.BOX, accept_unsure=True, console=CONSOLE
        )
        assert "error" not in told
        assert Rig.load(out).calibration.refused == (
            "aligned without a target: one homography, right for far scenes or for one depth",
            "not right at the depth of 60,40,90,70, which was asked for: only 3 patches",
        )

    def test_an_unsure_alignment_is_refused_whatever_the_box_says(self, folders, solved):
        solved(0.4)
        told = align_files.align_files(
            folders / "ir", folders / "vis", folders / "r.yaml", at=self.BOX, console=CONSOLE
        )
        assert "the probability that this alignment is right is 0.40" in told["error"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [("1,2,3", "give four whole numbers"), ("0,0,0,5", "has no area"), ("200,0,50,50", "which is 240x180")],
    )
    def test_a_wrong_box_ends_with_two(self, folders, text, said):
        arguments = ["align", str(folders / "ir"), str(folders / "vis"), "--out", str(folders / "rig.yaml")]
        with pytest.raises(UserError, match=said):
            CliRunner().invoke(app, [*arguments, "--at", text], catch_exceptions=False)
        assert not (folders / "rig.yaml").exists()

    def test_the_first_pair_is_needed(self, folders):
        chosen = align_files.read_pairs(folders / "ir", folders / "vis", 3, with_first=True)
        assert [pair.name for pair in chosen.pairs] == ["000", "004", "008"]
        (folders / "vis/000.png").write_bytes(b"no image")
        with pytest.raises(UserError, match="the first pair, which --at is about"):
            align_files.read_pairs(folders / "ir", folders / "vis", 3, with_first=True)


def test_swapped_folders_are_named_in_the_refusal(folders, solved):
    solved(0.1)
    told = align_files.align_files(folders / "vis", folders / "ir", folders / "rig.yaml", console=CONSOLE)
    assert "swapped" in told["error"]


def test_pairs_are_spread_over_the_recording_and_keep_their_partners(folders):
    chosen = align_files.read_pairs(folders / "ir", folders / "vis", 3)
    assert [pair.name for pair in chosen.pairs] == ["002", "006", "010"]
    np.testing.assert_array_equal(chosen.pairs[1].visible, scene(6)[1])


def test_what_does_not_exist_is_said(folders):
    with pytest.raises(UserError, match="does not exist"):
        align_files.read_pairs(folders / "none", folders / "vis", 3)


class TestBenchmark:
    @pytest.fixture
    def data(self, tmp_path):
        folder = tmp_path / "warped_gt" / "VIS_IR_1"
        folder.mkdir(parents=True)
        thermal, visible = scene(1)
        cv2.imwrite(str(folder / "moving.png"), moved(thermal, TRUTH, THERMAL))
        cv2.imwrite(str(folder / "fixed.png"), visible)
        (folder / "gt.json").write_text(json.dumps({"moving_to_fixed_3x3_column_vector": (2 * TRUTH).tolist()}))
        for name, image in zip(("ir", "vis"), scene(2), strict=True):
            (tmp_path / "msrs" / name).mkdir(parents=True)
            for stem in ("a", "b"):
                cv2.imwrite(str(tmp_path / "msrs" / name / f"{stem}.png"), image)
        return tmp_path

    def test_a_right_and_a_sure_but_wrong_case_are_told_apart_and_kept(self, data, monkeypatch):
        calls = []

        def fake(images, at=None):
            calls.append(images)
            shape = images[0][0].shape[::-1]
            return answer(0.999, TRUTH, shape, SIZE)

        monkeypatch.setattr(align_benchmark, "align", fake)
        told = align_benchmark.run_benchmark(data, data / "out", warps=1, console=CONSOLE)
        assert told["kinds"]["warped_gt"]["corner"]["worst"] == pytest.approx(0, abs=0.01)
        assert len(told["sure_but_wrong"]) == 1
        assert told["sure_but_wrong"][0].startswith("random warps")
        assert told["kinds"]["random warps"]["registration_as_good"] == 1
        assert set(told["warped_gt"]) == {"streamfuse align", *PEERS}
        again = align_benchmark.run_benchmark(data, data / "out", warps=1, console=CONSOLE)
        assert len(calls) == 2
        assert {**again, "cases": ""} == {**told, "cases": ""}

    def test_a_box_is_told_before_and_after_and_kept(self, data, monkeypatch):
        box = Box(60, 40, 90, 70)
        thermal, visible = scene(1)
        pair = moved(thermal, TRUTH, THERMAL), visible

        def twins(data):
            yield "near", lambda: Case("twins, --at", "near", (pair,), TRUTH, unit_px=2.0, at=box)

        def fake(images, at=None):
            said = at and InBox(at, (-6.0, 0.0), 0.4, 0.1, 30, noticed=True)
            return replace(answer(0.999), at=said)

        monkeypatch.setattr(align_benchmark, "near_twins", twins)
        monkeypatch.setattr(align_benchmark, "align", fake)
        for _ in range(2):
            told = align_benchmark.run_benchmark(data, data / "out", warps=0, console=CONSOLE)
            near = told["boxes"]["near"]
            assert (near["overlap_error"], near["box_error"]) == (0, 0)
            assert near["overlap_error_before"] == pytest.approx(3.0)  # 6 pixels of the visible image, 3 of the twin
            assert near["box_error_before"] == pytest.approx(3.0)
            assert told["kinds"]["twins, --at"]["sure"] == 1

    def test_tuning_and_final_pairs_differ(self, data):
        final = [name for name, _ in random_warps(data, 3)]
        tuning = [name for name, _ in random_warps(data, 3, tuning=True)]
        assert all(name.endswith("b") for name in final)
        assert all(name.endswith("a") for name in tuning)

    def test_the_published_transform_is_normalised(self, data):
        _, opened = next(warped_pairs(data))
        np.testing.assert_allclose(opened().truth, TRUTH, atol=1e-9)

    def test_no_data(self, tmp_path):
        with pytest.raises(UserError, match="no pairs with a known alignment"):
            align_benchmark.run_benchmark(tmp_path, tmp_path, warps=0, console=CONSOLE)


def test_the_truth_of_a_random_warp_is_its_truth():
    """The same picture on both sides: mapped by the truth, the thermal one lies on the visible one."""
    grey = cv2.GaussianBlur(scene(3)[0], (0, 0), 2)
    for seed in range(4):
        (thermal, visible), undone = warped(grey, np.dstack([grey] * 3), np.random.default_rng(seed))
        size = visible.shape[1::-1]
        onto = cv2.warpPerspective(thermal, undone.truth, size)
        inside = (
            cv2.erode(cv2.warpPerspective(np.ones_like(thermal), undone.truth, size), np.ones((9, 9)), borderValue=0)
            > 0
        )
        assert inside.mean() > 0.2
        assert np.abs(onto[inside].astype(int) - visible[..., 0][inside]).mean() < 2.5
        assert thermal.min() > 0


@pytest.mark.parametrize("name", PEERS)
def test_peers_find_a_small_shift_within_one_spectrum(name):
    grey = scene(4)[0]
    onto = peer(name, grey[:, 3:].copy(), grey[:, :-3].copy())
    assert onto is not None
    assert (onto @ [100, 90, 1])[:2] / (onto @ [100, 90, 1])[2] == pytest.approx([103, 90], abs=1)
