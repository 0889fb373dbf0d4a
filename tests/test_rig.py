"""Rig files: what is read, what is written, and what each mistake is told."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from streamfuse.errors import UserError
from streamfuse.rig import Lens, Pose, Rig

RIGS = Path(__file__).resolve().parents[1] / "calibration" / "rigs"
LENS = {"size": [320, 256], "fx": 350.0, "fy": 350.0, "cx": 160.0, "cy": 128.0}
POSE = {"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0.05, 0, 0]}
FULL = {
    "name": "full",
    "thermal": LENS,
    "rgb": {**LENS, "size": [640, 480]},
    "rgb_from_thermal": POSE,
    "working_depth_m": 20.0,
}
PLANAR = {
    "name": "planar",
    "thermal_size": [320, 256],
    "rgb_size": [640, 512],
    "rgb_from_thermal_homography": [[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]],
}


def written(folder: Path, document: Any) -> Path:
    path = folder / "rig.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def refusal(folder: Path, document: Any) -> str:
    path = written(folder, document)
    with pytest.raises(UserError) as caught:
        Rig.load(path)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(RIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_rigs_load_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    rig = Rig.load(path)
    assert rig.name == path.stem
    rig.save(tmp_path / "again.yaml")
    assert Rig.load(tmp_path / "again.yaml") == rig


def test_full_rig_takes_its_sizes_from_the_lenses(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, FULL))
    assert (rig.thermal_size, rig.rgb_size, rig.planar) == ((320, 256), (640, 480), False)
    assert rig.rgb_from_thermal == Pose(rotation=((1, 0, 0), (0, 1, 0), (0, 0, 1)), translation=(0.05, 0, 0))


def test_round_trip_keeps_every_field_to_the_last_bit(tmp_path: Path) -> None:
    remarks = {
        "thermal_delay_ms": 12.3456789,
        "residual_px": 1 / 3,
        "made_on": date(2026, 1, 15),
        "notes": "müde: yes\n#2",
    }
    lens = {**LENS, "distortion": [-0.1, 1e-7, math.pi, 0.0]}
    for document in (
        {**FULL, **remarks, "thermal": lens},
        {**PLANAR, **remarks},
        {**FULL, "working_depth_m": math.inf},
    ):
        rig = Rig.model_validate(document)
        rig.save(tmp_path / "rig.yaml")
        again = Rig.load(tmp_path / "rig.yaml")
        assert again == rig
        assert again.content_hash == rig.content_hash
    assert [path.name for path in tmp_path.iterdir()] == ["rig.yaml"]


def test_hash_ignores_formatting_and_remarks_but_no_number(tmp_path: Path) -> None:
    rig = Rig.load(written(tmp_path, FULL))
    reordered = yaml.safe_dump(dict(reversed(FULL.items())), default_flow_style=True)
    remarked = {**FULL, "name": "other", "notes": "x", "made_on": date(2026, 1, 1), "working_depth_m": 20}
    assert Rig.load(written(tmp_path, reordered)).content_hash == rig.content_hash
    assert Rig.load(written(tmp_path, remarked)).content_hash == rig.content_hash
    changes = [
        {"working_depth_m": 20.001},
        {"thermal_delay_ms": 0.001},
        {"residual_px": 0.5},
        {"thermal": {**LENS, "fx": 350.001}},
        {"rgb_from_thermal": {**POSE, "translation": [0.05, 0, 1e-6]}},
    ]
    hashes = {Rig.load(written(tmp_path, {**FULL, **change})).content_hash for change in changes}
    assert len(hashes | {rig.content_hash}) == len(changes) + 1
    assert len(rig.content_hash) == 12
    assert set(rig.content_hash) <= set("0123456789abcdef")


def test_hash_is_the_same_in_every_run_and_since_the_first_rig_files() -> None:
    assert Rig.model_validate(PLANAR).content_hash == "df47f9726a4c"
    assert Rig.load(RIGS / "synthetic.yaml").content_hash == "fe4f34825aac"


def test_record_of_a_calibration_survives_and_does_not_count_for_the_hash(tmp_path: Path) -> None:
    record = {"target": "board", "views": 17, "held_out_px": 0.7, "delay_error_ms": 0.4, "refused": ["a", "b"]}
    rig = Rig.model_validate({**FULL, "provisional": True, "calibration": record})
    rig.save(tmp_path / "rig.yaml")
    assert Rig.load(tmp_path / "rig.yaml") == rig
    assert rig.calibration is not None
    assert (rig.calibration.refused, rig.calibration.thermal_rms_px) == (("a", "b"), None)
    assert rig.content_hash == Rig.model_validate(FULL).content_hash
    assert "thermal_rms_px" not in (tmp_path / "rig.yaml").read_text()


def test_fisheye_lens_counts_for_the_hash_and_survives(tmp_path: Path) -> None:
    numbers = {**LENS, "distortion": [0.01, 0.002, 0, 0]}
    rig = Rig.model_validate({**FULL, "thermal": {**numbers, "model": "fisheye"}})
    rig.save(tmp_path / "rig.yaml")
    assert Rig.load(tmp_path / "rig.yaml") == rig
    assert rig.content_hash != Rig.model_validate({**FULL, "thermal": numbers}).content_hash


def test_affine_is_a_homography_with_a_plain_last_row() -> None:
    affine = Rig.model_validate({**PLANAR, "rgb_from_thermal_homography": PLANAR["rgb_from_thermal_homography"][:2]})
    assert affine == Rig.model_validate(PLANAR)
    assert affine.content_hash == Rig.model_validate(PLANAR).content_hash


def test_delay_in_nanoseconds() -> None:
    assert Rig.model_validate({**FULL, "thermal_delay_ms": -12.3456789}).thermal_delay_ns == -12_345_679


def test_identity_lays_edge_on_edge() -> None:
    rig = Rig.identity((320, 256), (640, 480))
    corners = np.array([[-0.5, -0.5, 1], [319.5, 255.5, 1], [159.5, 127.5, 1]])
    expected = [[-0.5, -0.5], [639.5, 479.5], [319.5, 239.5]]
    np.testing.assert_allclose((corners @ rig.homography.T)[:, :2], expected, atol=1e-12)
    assert Rig.identity((640, 480), (640, 480)).rgb_from_thermal_homography == ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def test_scaled_lens_sees_the_same_rays() -> None:
    lens = Lens(size=(320, 256), fx=350, fy=351, cx=161, cy=127, distortion=(-0.2, 0.05, 0.001, -0.001))
    corner = np.array([[-0.5, -0.5], [319.5, 255.5], [10.0, 20.0]])
    twice = lens.scaled((640, 512))
    np.testing.assert_allclose(twice.rays(2 * corner + 0.5)[0], lens.rays(corner)[0], atol=1e-12)
    assert twice.scaled((320, 256)) == lens


def test_scaled_planar_rig_maps_the_same_places() -> None:
    rig = Rig.model_validate({**PLANAR, "rgb_from_thermal_homography": [[1.9, 0.1, 5], [0, 2, 7], [1e-5, 2e-5, 1]]})
    scaled = rig.scaled((640, 512), (320, 256))

    def mapped(one: Rig, x: float, y: float) -> np.ndarray:
        assert one.homography is not None
        weighted = one.homography @ (x, y, 1)
        return weighted[:2] / weighted[2]

    expected = (mapped(rig, 100, 50) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(mapped(scaled, 200.5, 100.5), expected, atol=1e-9)


@pytest.mark.parametrize("sizes", [((480, 384), (640, 512)), ((640, 480), (640, 512)), ((160, 128), (1280, 1020))])
def test_scaling_by_anything_but_a_whole_factor_is_refused(sizes: Any) -> None:
    with pytest.raises(UserError, match=r"cannot be scaled to .* same whole factor; calibrate at this size"):
        Rig.model_validate(PLANAR).scaled(*sizes)


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({**FULL, "workin_depth": 3}, ["unknown key `workin_depth`", "did you mean `working_depth_m`?", "residual_px"]),
        ({**FULL, "thermal": {**LENS, "distorsion": []}}, ["`thermal.distorsion`", "mean `distortion`?", "fx, fy"]),
        ({**FULL, "rgb_from_thermal": {**POSE, "zzz": 1}}, ["`rgb_from_thermal.zzz`", "; allowed here: rotation, tr"]),
        ({**FULL, "thermal": {**LENS, "fx": -3}}, ["`thermal.fx` = -3: input should be greater than 0"]),
        ({**FULL, "thermal": {**LENS, "fx": "wide"}}, ["`thermal.fx` = 'wide': input should be a valid number"]),
        ({**FULL, "thermal": {**LENS, "cx": math.nan}}, ["`thermal.cx` = nan: input should be a finite number"]),
        ({**FULL, "thermal": {**LENS, "size": [0, 256]}}, ["`thermal.size.0` = 0: input should be greater than 0"]),
        ({**FULL, "thermal": without(LENS, "cy")}, ["`thermal.cy` is missing"]),
        ({**FULL, "thermal": {**LENS, "distortion": [0.1]}}, ["`thermal.distortion`: 0, 4, 5 or 8", "found 1"]),
        ({**FULL, "thermal": {**LENS, "model": "fisheye"}}, ["`thermal.distortion`: 4 coefficients", "found 0"]),
        ({**FULL, "thermal": {**LENS, "model": "fish"}}, ["`thermal.model` = 'fish': input should be 'opencv' or"]),
        ({**FULL, "calibration": {"view": 3}}, ["unknown key `calibration.view`", "did you mean `views`?"]),
        ({**FULL, "thermal_size": [640, 512]}, ["`thermal_size`: 640x512, but thermal.size is 320x256; leave"]),
        ({**FULL, "working_depth_m": -1}, ["`working_depth_m` = -1: input should be greater than 0"]),
        ({**FULL, "working_depth_m": math.nan}, ["`working_depth_m` = nan"]),
        (without(FULL, "working_depth_m"), ["a full rig needs", "missing: working_depth_m;", "homography instead"]),
        (without(FULL, "rgb"), ["missing: rgb;"]),
        ({"name": "bare"}, ["missing: thermal, rgb, rgb_from_thermal, working_depth_m"]),
        (without(FULL, "name"), ["`name` is missing"]),
        ({**FULL, "rgb_from_thermal": {**POSE, "rotation": [[1, 0, 0.01], [0, 1, 0], [0, 0, 1]]}},
         ["`rgb_from_thermal.rotation`: not a rotation", "by 0.01", "at least 6 decimals"]),
        ({**FULL, "rgb_from_thermal": {**POSE, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}}, ["it mirrors"]),
        ({**FULL, **PLANAR, "rgb_size": [640, 480]}, ["thermal, rgb, rgb_from_thermal: keep the matrix"]),
        (without(PLANAR, "rgb_size"), ["states the image sizes it was measured on, missing: rgb_size"]),
        ({**PLANAR, "rgb_from_thermal_homography": [[1, 2, 0], [2, 4, 0], [0, 0, 1]]}, ["singular"]),
        ({**PLANAR, "rgb_from_thermal_homography": [[0, 0, 0]] * 3}, ["singular"]),
        ({**PLANAR, "rgb_from_thermal_homography": [[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]]}, ["horizon", "crosses"]),
        ({**PLANAR, "rgb_from_thermal_homography": [[1, 0, 0]]}, ["`rgb_from_thermal_homography"]),
        ("", ["the rig file is empty", "name, thermal"]),
        ("- 1\n- 2\n", ["`key: value`", "found list"]),
        ("name: [1,\nfx: }", ["not valid YAML in line 2"]),
        ("name: a\nname: b\n", ["not valid YAML in line 2", "`name` is given twice"]),
        ("name: !!python/object/apply:os.system ['true']", ["not valid YAML in line 1"]),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_remedy(document: Any, told: list[str], tmp_path: Path) -> None:
    message = refusal(tmp_path, document)
    for part in told:
        assert part in message


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**FULL, "thermal": {**LENS, "fx": 0, "fz": 1}, "residual_px": -1})
    assert len(message.splitlines()) == 3


def test_missing_file_folder_and_binary_are_told(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "no.yaml", "no such rig file"), (tmp_path, "cannot be read: Is a directory")):
        with pytest.raises(UserError, match=told):
            Rig.load(path)
    (tmp_path / "image.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        Rig.load(tmp_path / "image.yaml")


def test_saving_where_there_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        Rig.model_validate(FULL).save(tmp_path / "none" / "rig.yaml")
