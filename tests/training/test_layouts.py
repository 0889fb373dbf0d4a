"""Where pairs lie: usual layouts, named folders, lists; what does not belong together is said by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from small_sets import write

from streamfuse.errors import UserError
from streamfuse.training.layouts import find_pairs
from streamfuse.training.pairs import evenly, load_sets, load_test, split_scenes
from streamfuse.training.settings import FolderConfig, SetConfig, load_training

DOT = np.zeros((4, 4), np.uint8)
SET = FolderConfig(folder="set")


def fill(root: Path, *files: str) -> None:
    for file in files:
        write(root / "set" / file, DOT)


def found(root: Path, settings: FolderConfig = SET) -> list[tuple[str, str]]:
    folder = root / settings.folder
    return [
        (pair.thermal.relative_to(folder).as_posix(), pair.visible.relative_to(folder).as_posix())
        for pair in find_pairs(root, settings)
    ]


@pytest.mark.parametrize(
    ("thermal", "visible"),
    [
        ("ir", "vis"),
        ("infrared", "visible"),
        ("Thermal", "RGB"),
        ("lwir", "visible"),
        ("Inf", "Vis"),
        ("ir", "vi"),
        ("cropinfrared", "crop_LR_visible"),
        ("infrared_Enhance", "visible_Enhance"),
        ("i", "v"),
        ("train/ir", "train/vi"),
        ("set00/V000/lwir", "set00/V000/visible"),
        ("infrared/train", "visible/train"),
    ],
)
def test_the_usual_layouts_are_found_and_paired_by_name(tmp_path, thermal, visible) -> None:
    fill(tmp_path, *(f"{thermal}/{stem}.png" for stem in ("10", "9")), *(f"{visible}/{stem}.jpg" for stem in "9"))
    fill(tmp_path, f"{visible}/10.jpg", "labels/9.png")
    assert found(tmp_path) == [(f"{thermal}/{stem}.png", f"{visible}/{stem}.jpg") for stem in ("9", "10")]


def test_names_that_only_add_the_modality_are_paired(tmp_path) -> None:
    fill(tmp_path, "infrared/00001i.png", "infrared/00002i.png", "visible/00001v.png", "visible/00002v.png")
    assert found(tmp_path) == [(f"infrared/0000{n}i.png", f"visible/0000{n}v.png") for n in (1, 2)]


def test_the_registered_folders_of_roadscene_are_taken(tmp_path) -> None:
    for folder in ("infrared", "crop_HR_visible", "cropinfrared", "crop_LR_visible"):
        fill(tmp_path, f"{folder}/1.png")
    assert found(tmp_path) == [("cropinfrared/1.png", "crop_LR_visible/1.png")]


def test_of_parts_the_training_part_is_taken_alone_and_clips_all(tmp_path) -> None:
    fill(tmp_path, "train/ir/1.png", "train/vi/1.png", "test/ir/2.png", "test/vi/2.png")
    assert found(tmp_path) == [("train/ir/1.png", "train/vi/1.png")]
    fill(tmp_path / "video", *(f"{kind}/{clip}/{n}.png" for kind in ("ir", "vis") for clip in "ab" for n in (1, 2)))
    pairs = load_sets(tmp_path / "video", [SetConfig(folder="set", licence="x")])
    assert [(pair.name, pair.scene) for pair in pairs] == [
        ("1", "set/ir-a"),
        ("2", "set/ir-a"),
        ("1", "set/ir-b"),
        ("2", "set/ir-b"),
    ]


def test_folders_with_other_names_are_named(tmp_path) -> None:
    fill(tmp_path, "left/1.png", "right/1.png")
    named = SET.model_copy(update={"thermal": "right", "visible": "left"})
    assert found(tmp_path, named) == [("right/1.png", "left/1.png")]


@pytest.mark.parametrize("text", ["thermal,visible\na/1.png,b/x.png\n", "a/1.png\tb/x.png\n\n"])
def test_a_list_says_what_belongs_together(tmp_path, text) -> None:
    fill(tmp_path, "a/1.png", "a/2.png", "b/x.png")
    (tmp_path / "set/pairs.csv").write_text(text)
    assert found(tmp_path, SET.model_copy(update={"pairs": "pairs.csv"})) == [("a/1.png", "b/x.png")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a/1.png,b/x.png\na/3.png,b/x.png\n", "line 2: .*3.png is not there"),
        ("a/1.png\n", "line 1: needs two files, .* found 1 columns"),
        ("thermal,visible\n", "lists no pairs"),
    ],
)
def test_a_list_that_is_wrong_names_the_line(tmp_path, text, said) -> None:
    fill(tmp_path, "a/1.png", "b/x.png")
    (tmp_path / "set/pairs.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        find_pairs(tmp_path, SET.model_copy(update={"pairs": "pairs.csv"}))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("ir/1.png", "ir/2.png", "vis/1.png"), "no visible partner for 2; remove them"),
        (("ir/1.png", "vis/1.png", *(f"vis/{n}.png" for n in range(2, 9))), r"thermal partner for 2, 3, 4, 5 and 3 mo"),
        (("ir/1.png", "vis/a.png"), r"do not say what belongs together \(1.png, a.png\)"),
        (("ir/1.png", "thermal/1.png", "vis/1.png"), "several folders could be the thermal one: ir, thermal; say"),
        (("ir/1.png", "pictures/1.png"), "needs a folder called one of ir, .*found ir, pictures"),
        (("ir/a/1.png", "vis/b/1.png"), "hold no images"),
    ],
)
def test_what_does_not_belong_together_is_named(tmp_path, files, said) -> None:
    fill(tmp_path, *files)
    with pytest.raises(UserError, match=said):
        find_pairs(tmp_path, SET)


def test_an_empty_folder_is_named(tmp_path) -> None:
    fill(tmp_path, "ir/1.png")
    (tmp_path / "set/vis").mkdir()
    with pytest.raises(UserError, match="vis: holds no images"):
        find_pairs(tmp_path, SET)
    with pytest.raises(UserError, match="nowhere: no such data set folder"):
        find_pairs(tmp_path, FolderConfig(folder="nowhere"))


def test_a_list_narrows_a_set_and_must_be_true(project) -> None:
    folder = project / "sets/street"
    write(folder / "visible/lone.png", DOT)  # what the list leaves out needs no partner
    (folder / "some.txt").write_text("a_0\nb_2\n")
    listed = load_sets(project / "sets", [SetConfig(folder="street", licence="x", only="some.txt")])
    assert [pair.name for pair in listed] == ["a_0", "b_2"]
    (folder / "some.txt").write_text("a_0\nz_9\n")
    with pytest.raises(UserError, match=r"names 1 pairs that are not in .*z_9"):
        load_sets(project / "sets", [SetConfig(folder="street", licence="x", only="some.txt")])


def test_no_scene_is_on_both_sides_of_the_split(project) -> None:
    settings = load_training(project / "train.yaml")
    pairs = load_sets(settings.root, settings.sets)
    for seed in range(6):
        training, validation = split_scenes(pairs, 0.3, seed)
        assert len(training) == 6
        assert len(validation) == 2
        assert not {pair.scene for pair in training} & {pair.scene for pair in validation}
    assert {pair.scene for pair in pairs} == {f"street/{letter}" for letter in "abcd"}


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3), (6, 8, 4)])
def test_either_side_may_have_one_three_or_four_channels(tmp_path, shape) -> None:
    chance = np.random.default_rng(1)
    grey = chance.integers(0, 255, (6, 8), np.uint8)
    opacity = np.full((6, 8), 9, np.uint8)
    image = grey if len(shape) == 2 else np.dstack([grey, grey, grey, opacity][: shape[2]])
    write(tmp_path / "set/ir/1.png", image)
    write(tmp_path / "set/vis/1.png", image)
    (pair,) = load_test(tmp_path, SET)
    assert all(np.array_equal(one, grey) for one in pair.images())


def test_counts_go_through_the_runtime_tone_curve(tmp_path) -> None:
    counts = (21000 + np.arange(4096).reshape(64, 64) // 8).astype(np.uint16)
    write(tmp_path / "set/ir/0.png", counts)
    write(tmp_path / "set/vis/0.png", np.zeros((64, 64), np.uint8))
    thermal, _ = load_test(tmp_path, SET)[0].images()
    assert thermal.dtype == np.uint8
    assert np.ptp(thermal) > 120
    assert (np.diff(thermal.astype(int).ravel()) >= 0).all()


def test_images_beyond_the_memory_are_read_when_drawn(project) -> None:
    sets = load_training(project / "train.yaml").sets
    room = 3.5 * 2 * 48 * 64 / 2**30  # three and a half of eight pairs
    pairs = load_sets(project / "sets", sets, memory_gib=room)
    assert [pair.kept is not None for pair in pairs] == [True] * 3 + [False] * 5
    whole = load_sets(project / "sets", sets)
    for one, other in zip(pairs, whole, strict=True):
        assert all(np.array_equal(*images) for images in zip(one.images(), other.images(), strict=True))


def test_evenly_spreads_over_all() -> None:
    assert evenly(range(10), 3) == [0, 3, 6]
    assert evenly(range(3), 5) == evenly(range(3), None) == [0, 1, 2]


def test_an_unreadable_image_is_named(tmp_path) -> None:
    fill(tmp_path, "ir/1.png", "vis/1.png")
    cut = (tmp_path / "set/vis/1.png").read_bytes()[:40]
    (tmp_path / "set/vis/1.png").write_bytes(cut)
    with pytest.raises(UserError, match=r"vis/1.png: cannot be read as an 8 or 16 bit image.*cut off"):
        load_test(tmp_path, SET)[0].images()
    assert cv2.imwrite(str(tmp_path / "set/vis/1.png"), np.zeros((5, 4), np.uint8))
    with pytest.raises(UserError, match=r"is 4x4, .* is 4x5"):
        load_test(tmp_path, SET)[0].images()
