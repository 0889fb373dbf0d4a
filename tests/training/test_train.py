"""Training: pairs are found, scenes kept apart, batches repeat, a step helps, and a resumed run ends as any other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from streamfuse.__main__ import app
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.models import build
from streamfuse.models.weights import read_card
from streamfuse.shipped import shipped_path
from streamfuse.training.crops import Crops
from streamfuse.training.pairs import Pair, find_pairs, load_sets, split_scenes
from streamfuse.training.settings import AugmentConfig, SetConfig, load_training
from streamfuse.training.train import learning_rate, open_run

CLEAN = AugmentConfig(smallest=1, tone=0, night=0, noise=0, blank=0)
SETTINGS = """
data: sets
sets:
  - {folder: street, licence: made up, scene: '^(.+)_'}
validation: 0.3
seed: 3
steps: 6
batch: 2
crop: 32
warm_up: 2
validate_every: 3
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A training file beside one set: four scenes of two pairs, thermal bright where visible is dark."""
    chance = np.random.default_rng(0)
    for index in range(8):
        picture = cv2.resize(chance.integers(0, 255, (6, 8), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
        name = f"{'abcd'[index // 2]}_{index}.png"
        write(tmp_path / "sets/street/Infrared" / name, 255 - picture)
        write(tmp_path / "sets/street/visible" / name, np.dstack([picture] * 3))
    (tmp_path / "train.yaml").write_text(SETTINGS)
    return tmp_path


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def ramp_pair(height: int = 40, width: int = 50) -> Pair:
    rows, columns = np.mgrid[:height, :width]
    return Pair("ramp", "set/one", 1.0, (rows * 4).astype(np.uint8), (columns * 4).astype(np.uint8))


def command(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *map(str, words)], catch_exceptions=True)
    if isinstance(result.exception, StreamfuseError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


@pytest.mark.parametrize("names", [("ir", "vis"), ("infrared", "visible"), ("Thermal", "RGB"), ("lwir", "vi")])
def test_the_usual_layouts_are_found_and_paired_by_name(tmp_path, names) -> None:
    for stem in ("10", "9", "11"):
        write(tmp_path / names[0] / f"{stem}.png", np.zeros((4, 4), np.uint8))
    for stem in ("9", "11", "12"):
        write(tmp_path / names[1] / f"{stem}.jpg", np.zeros((4, 4), np.uint8))
    assert [(hot.stem, seen.stem) for hot, seen in find_pairs(tmp_path)] == [("9", "9"), ("11", "11")]


def test_the_shipped_training_file_is_the_recipe_of_the_shipped_weights() -> None:
    recipe = load_training(shipped_path("configs/train.yaml"))
    card = read_card(shipped_path("weights/streamfuse-s.safetensors"))
    assert (card.model, card.steps, card.seed) == (recipe.model, recipe.steps, recipe.seed)
    assert card.loss == recipe.loss.model_dump()
    assert [(one.name, one.licence) for one in card.data] == [(one.folder, one.licence) for one in recipe.sets]
    assert card.terms == recipe.terms


def test_no_scene_is_on_both_sides_of_the_split(project) -> None:
    settings = load_training(project / "train.yaml")
    pairs = load_sets(settings.root, settings.sets)
    for seed in range(6):
        training, validation = split_scenes(pairs, 0.3, seed)
        assert len(training) == 6
        assert len(validation) == 2
        assert not {pair.scene for pair in training} & {pair.scene for pair in validation}
    assert {pair.scene for pair in pairs} == {f"street/{letter}" for letter in "abcd"}


def test_a_list_narrows_a_set_and_must_be_true(project) -> None:
    folder = project / "sets/street"
    (folder / "some.txt").write_text("a_0\nb_2\n")
    listed = load_sets(project / "sets", [SetConfig(folder="street", licence="x", only="some.txt")])
    assert [pair.name for pair in listed] == ["a_0", "b_2"]
    (folder / "some.txt").write_text("a_0\nz_9\n")
    with pytest.raises(UserError, match=r"names 1 pairs that are not in .*z_9"):
        load_sets(project / "sets", [SetConfig(folder="street", licence="x", only="some.txt")])


def test_counts_go_through_the_runtime_tone_curve(tmp_path) -> None:
    counts = (21000 + np.arange(4096).reshape(64, 64) // 8).astype(np.uint16)
    for index in range(2):
        write(tmp_path / "set/ir" / f"{index}.png", counts)
        write(tmp_path / "set/vis" / f"{index}.png", np.zeros((64, 64), np.uint8))
    thermal = load_sets(tmp_path, [SetConfig(folder="set", licence="x")])[0].thermal
    assert thermal.dtype == np.uint8
    assert np.ptp(thermal) > 120
    assert (np.diff(thermal.astype(int).ravel()) >= 0).all()


def test_both_images_are_cut_scaled_and_flipped_alike() -> None:
    """Thermal grows along y, visible along x: each crop must say one place and one pair of flips."""
    batch = Crops([ramp_pair()], CLEAN, crop=16, batch=32, seed=1).at(0)
    hot, seen = batch.thermal[:, 0] * 255 / 4, batch.visible[:, 0] * 255 / 4
    assert torch.allclose(hot.diff(dim=2), torch.zeros(1), atol=1e-4)
    assert torch.allclose(seen.diff(dim=1), torch.zeros(1), atol=1e-4)
    turns = [(float(h[-1, 0] - h[0, 0]), float(s[0, -1] - s[0, 0])) for h, s in zip(hot, seen, strict=True)]
    assert {(round(down), round(right)) for down, right in turns} == {(15, 15), (15, -15), (-15, 15), (-15, -15)}
    assert torch.equal(batch.thermal, batch.wanted_thermal)
    assert torch.equal(batch.visible, batch.wanted_visible)


def test_batches_depend_on_seed_and_step_alone() -> None:
    one, same, other = (Crops([ramp_pair()], AugmentConfig(), crop=16, batch=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.at(7).thermal, same.at(7).thermal)
    assert not torch.equal(one.at(7).thermal, one.at(8).thermal)
    assert not torch.equal(one.at(7).thermal, other.at(7).thermal)


def test_what_is_degraded_is_not_what_is_wanted() -> None:
    blank = Crops([ramp_pair()], CLEAN.model_copy(update={"blank": 1.0}), crop=16, batch=16, seed=0).at(0)
    for hot, seen, wanted_hot, wanted_seen in zip(
        blank.thermal, blank.visible, blank.wanted_thermal, blank.wanted_visible, strict=True
    ):
        assert hot.std() < 1e-6 < seen.std()
        assert torch.equal(wanted_hot, seen)
        assert torch.equal(wanted_seen, seen)
    noise = Crops([ramp_pair()], CLEAN.model_copy(update={"noise": 1.0}), crop=16, batch=16, seed=0).at(0)
    assert 0.001 < (noise.thermal - noise.wanted_thermal).std() < 0.04


def test_pairs_smaller_than_a_crop_are_enlarged() -> None:
    batch = Crops([ramp_pair(20, 30)], AugmentConfig(), crop=48, batch=2, seed=0).at(0)
    assert batch.visible.shape == (2, 1, 48, 48)


def test_steps_on_one_batch_lower_its_loss(project) -> None:
    config = load_training(project / "train.yaml").model_copy(update={"steps": 200, "average": 0.5})
    run = open_run(config)
    first = run.crops.at(0)
    object.__setattr__(run.crops, "at", lambda step: first)
    losses = [run.step(step).values()["total"] for step in range(20)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_rate_warms_up_and_falls(project) -> None:
    config = load_training(project / "train.yaml").model_copy(update={"steps": 100, "warm_up": 10})
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(config.learning_rate / 10, rel=0.01)
    assert max(rates) == rates[9]
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 0.02 * config.learning_rate


def test_a_run_leaves_weights_card_log_and_pictures_and_its_weights_run(project) -> None:
    out = project / "out"
    code, told = command(project / "train.yaml", "--out", out, "--json")
    assert code == 0, told
    report = json.loads(told.splitlines()[-1])
    assert report["steps"] == report["of"] == 6
    card = read_card(Path(report["weights"]))
    assert (card.model, card.steps, card.seed, card.validation_pairs) == ("streamfuse-s", 6, 3, 2)
    assert [(one.name, one.pairs, one.licence) for one in card.data] == [("street", 6, "made up")]
    assert card.metrics == pytest.approx(report["validation"], abs=1e-4)
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [row["step"] for row in rows if row["split"] == "train"] == list("123456")
    assert [row["step"] for row in rows if row["split"] == "validation"] == ["3", "6"]
    assert cv2.imread(str(out / "samples/000006.png")) is not None
    image = torch.rand(1, 1, 20, 30)
    assert build(report["weights"])(image, image).shape == image.shape


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(project) -> None:
    """A run cut after three of six steps; only its checkpoint and log are left."""
    file, whole, cut = project / "train.yaml", project / "whole", project / "cut"
    assert command(file, "--out", whole)[0] == 0
    interrupt_after(3, file, cut)
    code, told = command(file, "--out", cut, "--resume")
    assert code == 0, told
    names = ("streamfuse-s.safetensors", "streamfuse-s.json", "log.csv")
    assert [(whole / name).read_bytes() == (cut / name).read_bytes() for name in names] == [True] * 3


def interrupt_after(steps: int, file: Path, out: Path) -> None:
    """Train, with a stop that is set once so many steps are logged."""
    from rich.console import Console

    from streamfuse.training.train import train

    class Stop:
        def is_set(self) -> bool:
            log = out / "log.csv"
            return log.exists() and log.read_text().count("train") >= steps

    told = train(load_training(file), out, resume=False, stop=Stop(), console=Console(quiet=True))  # pyright: ignore
    assert told["steps"] == steps
    assert not (out / "streamfuse-s.safetensors").exists()


def break_layout(project: Path) -> None:
    (project / "sets/street/visible").rename(project / "sets/street/pictures")


def break_image(project: Path) -> None:
    (project / "sets/street/Infrared/a_0.png").write_bytes(b"no image")


def break_size(project: Path) -> None:
    write(project / "sets/street/Infrared/a_0.png", np.zeros((10, 10), np.uint8))


def break_scenes(project: Path) -> None:
    settings = project / "train.yaml"
    settings.write_text(settings.read_text().replace("'^(.+)_'", "'_'"))


def break_key(project: Path) -> None:
    settings = project / "train.yaml"
    settings.write_text(settings.read_text().replace("batch:", "bach:"))


def break_folder(project: Path) -> None:
    (project / "sets").rename(project / "elsewhere")


@pytest.mark.parametrize(
    ("wreck", "said"),
    [
        (break_layout, "needs a folder called one of vis, visible"),
        (break_image, "a_0.png: cannot be read"),
        (break_size, "is 10x10"),
        (break_scenes, "validation needs a set with two or more scenes"),
        (break_key, "did you mean `batch`?"),
        (break_folder, "--data"),
    ],
)
def test_what_cannot_be_trained_on_is_named(project, wreck, said) -> None:
    wreck(project)
    code, told = command(project / "train.yaml", "--out", project / "out")
    assert code == 2
    assert said in told


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(project) -> None:
    out, file = project / "out", project / "train.yaml"
    code, told = command(file, "--out", out, "--resume")
    assert (code, "cannot be resumed" in told) == (2, True)
    assert command(file, "--out", out)[0] == 0
    code, told = command(file, "--out", out)
    assert (code, "--resume" in told) == (2, True)
    file.write_text(file.read_text().replace("seed: 3", "seed: 4"))
    code, told = command(file, "--out", out, "--resume")
    assert (code, "other settings" in told) == (2, True)
    (out / "checkpoint.safetensors").write_bytes(b"cut short")
    code, told = command(file, "--out", out, "--resume")
    assert (code, "cannot be resumed" in told) == (2, True)


def test_a_loss_that_is_no_number_stops_the_run(project) -> None:
    run = open_run(load_training(project / "train.yaml"))
    with torch.no_grad():
        next(run.progress.network.parameters()).fill_(float("nan"))
    with pytest.raises(StreamfuseError, match="step 0: the loss is nan; lower learning_rate"):
        run.step(0)
