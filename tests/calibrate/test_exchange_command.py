"""`calibrate import` and `export` as people use them, and the check for an inverted pose on pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rigs import full_rig
from typer.testing import CliRunner

from streamfuse.calibrate.commands import app
from streamfuse.calibrate.exchange.fit import fit_to, read_pair
from streamfuse.errors import UserError
from streamfuse.lens import Pose
from streamfuse.rig import Rig
from streamfuse.sources.synthetic import SceneConfig, SyntheticPair, open_synthetic

runner = CliRunner()


@pytest.fixture(scope="module")
def street() -> SyntheticPair:
    return open_synthetic(SceneConfig(seed=2, thermal_size=(160, 128), rgb_size=(480, 270)), pace="fast")


def inverted(rig: Rig) -> Rig:
    turn, move = rig.rgb_from_thermal.rotation_matrix, rig.rgb_from_thermal.translation_vector
    pose = Pose.model_validate({"rotation": turn.T.tolist(), "translation": (-turn.T @ move).tolist()})
    return rig.model_copy(update={"rgb_from_thermal": pose})


def test_pictures_tell_a_pose_from_its_inverse(street: SyntheticPair) -> None:
    thermal, rgb = street.thermal.frame(3).pixels, street.rgb.frame(3).pixels
    assert fit_to(street.rig, thermal, rgb).verdict == "fits"
    assert fit_to(inverted(street.rig), thermal, rgb).verdict == "inverted"
    assert fit_to(street.rig, np.full_like(thermal, 9000), rgb).verdict == "undecided"


def test_import_marks_an_inverted_rig_provisional(street: SyntheticPair, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "t.png"), street.thermal.frame(3).pixels)
    cv2.imwrite(str(tmp_path / "v.png"), street.rgb.frame(3).pixels[..., ::-1])
    for rig, verdict in ((street.rig, "fits"), (inverted(street.rig), "inverted")):
        rig.save(tmp_path / "rig.yaml")
        exported = runner.invoke(
            app, ["export", str(tmp_path / "rig.yaml"), "--format", "ros", "--out", str(tmp_path / "ros")]
        )
        assert exported.exit_code == 0, exported.output
        files = [str(path) for path in sorted((tmp_path / "ros").glob("*.yaml"))]
        out = tmp_path / f"{verdict}.yaml"
        check = ["--check", str(tmp_path / "t.png"), str(tmp_path / "v.png")]
        done = runner.invoke(app, ["import", *files, "--out", str(out), *check, "--json"])
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        assert (told["fit"], Rig.load(out).provisional) == (verdict, verdict == "inverted")
        assert "the thermal camera sits" in told["seat"]


def test_wrong_resolution_of_a_picture_and_of_a_stream_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((10, 20), np.uint8))
    with pytest.raises(UserError, match="the picture has 20x10, the thermal lens was measured on 160x128"):
        read_pair(full_rig(), tmp_path / "small.png", tmp_path / "small.png")
    full_rig().save(tmp_path / "rig.yaml")
    runner.invoke(app, ["export", str(tmp_path / "rig.yaml"), "--format", "opencv", "--out", str(tmp_path)])
    asked = ["--thermal-size", "640x512", "--out", str(tmp_path / "again.yaml")]
    done = runner.invoke(app, ["import", str(tmp_path / "stereo.yml"), *asked])
    assert isinstance(done.exception, UserError)
    assert "--thermal-size 640x512: the files were measured on 160x128" in str(done.exception)
    assert not (tmp_path / "again.yaml").exists()


def test_what_the_files_do_not_say_is_told_on_both_ways(tmp_path: Path) -> None:
    full_rig(provisional=True, residual_px=3.0).save(tmp_path / "rig.yaml")
    out = ["export", str(tmp_path / "rig.yaml"), "--format", "opencv", "--out", str(tmp_path), "--json"]
    exported = json.loads(runner.invoke(app, out).stdout.strip().splitlines()[-1])
    assert any("is provisional, and the files do not say so" in note for note in exported["notes"])
    back = ["import", str(tmp_path / "stereo.yml"), "--out", str(tmp_path / "again.yaml"), "--json"]
    notes = json.loads(runner.invoke(app, back).stdout.strip().splitlines()[-1])["notes"]
    assert "1 thermal is taken for the thermal camera by its name" in notes
    assert any("confidence 0 until residual_px is known" in note for note in notes)
