"""Training: a step helps, any network goes with any loss file, and a resumed run ends as any other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from small_sets import command, write

from streamfuse.evaluation.scores import COLUMNS
from streamfuse.models import build
from streamfuse.models.weights import read_card
from streamfuse.shipped import shipped_path
from streamfuse.training.distributed import World
from streamfuse.training.run import Run, learning_rate, open_run
from streamfuse.training.settings import changed, load_training
from streamfuse.training.train import train


def opened(project: Path, **update: object) -> Run:
    return open_run(load_training(project / "train.yaml").model_copy(update=update), project / "out", World("cpu"))


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def rewrite(project: Path, before: str, after: str) -> None:
    file = project / "train.yaml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))


@pytest.mark.parametrize(("variant", "model"), [("", "streamfuse-s"), ("-q", "streamfuse-q")])
def test_the_shipped_training_files_are_the_recipes_of_the_shipped_weights(variant, model) -> None:
    first, recipe = (
        load_training(shipped_path(f"configs/{name}{variant}.yaml")) for name in ("train", "train-balance")
    )
    card = read_card(shipped_path(f"weights/{model}.safetensors"))
    second = f"streamfuse train configs/train-balance{variant}.yaml --start {model}"
    assert recipe.model == model
    assert card.command == f"{second} --seed {recipe.seed} --steps {card.steps}"
    assert (card.model, card.seed) == (recipe.model, recipe.seed)
    assert (card.loss_name, card.loss) == ("CombinedGradientLoss", recipe.loss.weights())
    assert [(one.name, one.licence) for one in card.data] == [(one.folder, one.licence) for one in recipe.sets]
    assert card.terms == recipe.terms
    assert card.start.startswith(f"{first.model}@")
    assert f"({recipe.steps} steps: {second}.safetensors --seed {card.seed}), which" in card.start
    assert f"({first.steps} steps: streamfuse train configs/train{variant}.yaml --seed {card.seed})" in card.start
    assert (first.model, first.sets, first.seed) == (recipe.model, recipe.sets, recipe.seed)


@pytest.mark.parametrize("model", ["res2fusion", "residual-dense-s", "residual-dense-m", "residual-dense-l"])
def test_the_command_on_a_card_is_the_recipe_of_its_weights(model) -> None:
    card = read_card(shipped_path(f"weights/{model}.safetensors"))
    file, *words = card.command.removeprefix("streamfuse train ").split()
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options.keys() <= {"--model", "--steps"}
    recipe = changed(
        load_training(shipped_path(file)),
        model=options.get("--model"),
        steps=int(options["--steps"]) if "--steps" in options else None,
    )
    assert (card.model, card.steps, card.seed) == (recipe.model, recipe.steps, recipe.seed)
    assert card.loss == recipe.loss.weights()
    assert [(one.name, one.licence) for one in card.data] == [(one.folder, one.licence) for one in recipe.sets]
    assert card.terms == recipe.terms


def test_the_recipe_for_trackers_goes_on_from_the_shipped_network_with_two_things_more() -> None:
    balance, targets = (load_training(shipped_path(f"configs/train-{name}.yaml")) for name in ("balance", "targets"))
    assert targets.start == targets.model == "streamfuse-s"
    assert targets.loss.weights().keys() - balance.loss.weights().keys() == {"salience"}
    assert targets.augment == balance.augment.model_copy(update={"glare": targets.augment.glare})
    assert targets.augment.glare > 0
    assert targets.sets == balance.sets


def test_steps_on_one_batch_lower_its_loss(project) -> None:
    run = opened(project, steps=200, average=0.5)
    first = run.batches.at(0)
    object.__setattr__(run.batches, "at", lambda step: first)
    losses = [run.step(step)["total"] for step in range(20)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_rate_warms_up_and_falls(project) -> None:
    config = load_training(project / "train.yaml").model_copy(update={"steps": 100, "warm_up": 10})
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(config.learning_rate / 10, rel=0.01)
    assert max(rates) == rates[9]
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 0.02 * config.learning_rate


def test_no_gradient_is_longer_than_clip_and_none_piles_up(project) -> None:
    run = opened(project, clip=1e-3)
    for step in range(2):
        run.step(step)
        norm = torch.stack([weight.grad.norm() for weight in run.progress.network.parameters()]).norm()
        assert norm == pytest.approx(1e-3, rel=1e-3)


def test_the_average_follows_quickly_at_first_and_then_as_told(project) -> None:
    run = opened(project, average=0.5)
    start = [weight.clone() for weight in run.progress.average.parameters()]
    run.step(0)  # of a first step the average keeps a tenth of what was there before
    trained = list(run.progress.network.parameters())
    for mean, before, now in zip(run.progress.average.parameters(), start, trained, strict=True):
        assert torch.allclose(mean, 0.1 * before + 0.9 * now, atol=1e-6)
    kept = [weight.clone() for weight in run.progress.average.parameters()]
    run.step(30)
    for mean, before, now in zip(run.progress.average.parameters(), kept, trained, strict=True):
        assert torch.allclose(mean, 0.5 * before + 0.5 * now, atol=1e-6)


def test_a_run_leaves_weights_card_logs_and_pictures_and_its_weights_run(project) -> None:
    out = project / "out"
    code, told = command("train", project / "train.yaml", "--out", out, "--json")
    assert code == 0, told
    report = json.loads(told.splitlines()[-1])
    assert report["steps"] == report["of"] == 6
    card = read_card(Path(report["weights"]))
    assert (card.model, card.steps, card.seed, card.validation_pairs) == ("streamfuse-s", 6, 3, 2)
    assert (card.loss_name, card.loss) == ("CombinedGradientLoss", {"intensity": 1.0, "directional": 10.0})
    assert card.command == "streamfuse train train.yaml"
    assert [(one.name, one.pairs, one.licence) for one in card.data] == [("street", 6, "made up")]
    assert set(card.metrics) >= {"total", "intensity", "directional", "SCD", "VIF"}
    assert all(card.metrics[name] == pytest.approx(report["validation"][name], abs=1e-4) for name in card.metrics)
    assert [row["step"] for row in rows(out / "log.csv")] == list("123456")
    validated = rows(out / "validation.csv")
    assert [row["step"] for row in validated] == ["3", "6"]
    assert list(validated[0]) == ["step", "total", "intensity", "directional", *COLUMNS]
    assert cv2.imread(str(out / "samples/000006.png")) is not None
    image = torch.rand(1, 1, 20, 30)
    assert build(report["weights"])(image, image).shape == image.shape


def test_the_settings_that_a_run_leaves_train_the_same_weights(project) -> None:
    one, same = project / "one", project / "same"
    assert command("train", project / "train.yaml", "--out", one)[0] == 0
    assert command("train", one / "settings.yaml", "--out", same)[0] == 0
    weights = "streamfuse-s.safetensors"
    assert (one / weights).read_bytes() == (same / weights).read_bytes()


def test_a_run_goes_on_from_weights_and_its_card_says_from_which(project) -> None:
    first, second = project / "first", project / "second"
    assert command("train", project / "train.yaml", "--out", first)[0] == 0
    begun = first / "streamfuse-s.safetensors"
    run = opened(project, start=str(begun))
    image = torch.rand(1, 1, 20, 30)
    with torch.no_grad():
        assert torch.equal(run.progress.network.eval()(image, 1 - image), build(str(begun))(image, 1 - image))
    settings = project / "train.yaml"
    assert command("train", settings, "--out", second, "--start", begun, "--steps", 2)[0] == 0
    cards = [read_card(folder / "streamfuse-s.safetensors") for folder in (first, second)]
    assert cards[0].start == ""
    assert cards[1].start == f"streamfuse-s@{cards[0].sha256[:8]} (6 steps: streamfuse train train.yaml)"
    assert cards[1].command == "streamfuse train train.yaml --start streamfuse-s.safetensors --steps 2"
    assert command("train", second / "settings.yaml", "--out", project / "third")[0] == 0
    assert read_card(project / "third" / "streamfuse-s.safetensors").sha256 == cards[1].sha256


def test_brackets_in_a_folders_name_are_no_markup(project) -> None:
    code, told = command("train", project / "train.yaml", "--out", project / "in[/red]", "--steps", 1)
    assert code == 0, told


def test_a_run_may_go_on_from_the_network_that_ships(project) -> None:
    rewrite(project, "seed: 3", "seed: 3\nstart: streamfuse-s")
    run = opened(project)
    shipped = build("streamfuse-s").state_dict()
    assert all(torch.equal(tensor, shipped[name]) for name, tensor in run.progress.average.state_dict().items())


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("streamfuse-q", "asked for the model 'streamfuse-s', its card says 'streamfuse-q'"),
        ("streamfuse-x", "model 'streamfuse-x' is unknown, did you mean"),
        ("gone.safetensors", "gone.safetensors: no such weights file"),
    ],
)
def test_weights_that_cannot_be_gone_on_from_are_refused(project, start, said) -> None:
    code, told = command("train", project / "train.yaml", "--out", project / "out", "--start", start)
    assert code == 2
    assert said in told
    assert not (project / "out").exists()


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(project) -> None:
    """A run cut after four of six steps, between two validations; only its checkpoint and log are left."""
    rewrite(project, "steps: 6", "steps: 6\naugment: {motion: 0.5, misregistration: 1, exposure: 0.3, turn: 0.5}")
    rewrite(project, "intensity: {}", "intensity: {}, temporal: {after: 0.5}")
    file, whole, cut = project / "train.yaml", project / "whole", project / "cut"
    assert command("train", file, "--out", whole)[0] == 0
    interrupt_after(4, file, cut)
    code, told = command("train", file, "--out", cut, "--resume")
    assert code == 0, told
    names = ("streamfuse-s.safetensors", "streamfuse-s.json", "log.csv", "validation.csv")
    assert [(whole / name).read_bytes() == (cut / name).read_bytes() for name in names] == [True] * 4


def interrupt_after(steps: int, file: Path, out: Path) -> None:
    """Train, with a stop that is set once so many steps are logged."""

    class Stop:
        def is_set(self) -> bool:
            log = out / "log.csv"
            return log.exists() and len(rows(log)) >= steps

    told = train(load_training(file), out, resume=False, stop=Stop(), console=Console(quiet=True))
    assert told["steps"] in (steps, steps + 1)
    assert not (out / "streamfuse-s.safetensors").exists()


def test_rows_of_a_future_that_is_run_again_are_dropped_from_the_log(project) -> None:
    file, out = project / "train.yaml", project / "out"
    interrupt_after(3, file, out)
    log = out / "log.csv"
    log.write_text(log.read_text() + "5,0.1,0.1,0.1\n6,0.")  # written after the checkpoint; the last line is cut
    assert command("train", file, "--out", out, "--resume")[0] == 0
    assert [row["step"] for row in rows(log)] == list("123456")


@pytest.mark.parametrize("loss", ["magnitude", "soft-hog", "combined"])
@pytest.mark.parametrize("model", ["streamfuse-s", "residual-dense-s", "res2fusion"])
def test_any_network_goes_with_any_loss_file(project, model, loss) -> None:
    out, file = project / "out", shipped_path(f"configs/losses/{loss}.yaml")
    rewrite(project, "crop: 32", "crop: 48")
    words = ("--model", model, "--loss", file, "--steps", 1, "--seed", 8, "--data", project / "sets")
    code, told = command("train", project / "train.yaml", "--out", out, *words)
    assert code == 0, told
    card = read_card(out / f"{model}.safetensors")
    assert (card.model, card.steps, card.seed) == (model, 1, 8)
    assert card.command == f"streamfuse train train.yaml --model {model} --loss {loss}.yaml --seed 8 --steps 1"
    assert "SCD" in card.metrics


def test_a_loss_file_may_be_named_in_the_training_file(project) -> None:
    (project / "mine.yaml").write_text("terms: {intensity: {weight: 3}}")
    rewrite(project, "loss: {terms: {intensity: {}, directional: {weight: 10}}}", "loss: mine.yaml")
    assert load_training(project / "train.yaml").loss.weights() == {"intensity": 3.0}
    (project / "mine.yaml").write_text("terms: {intensty: {weight: 3}}")
    code, told = command("train", project / "train.yaml", "--out", project / "out")
    assert (code, "mine.yaml" in told, "did you mean `intensity`?" in told) == (2, True, True)


def test_an_autoencoder_learns_to_reproduce_and_any_network_may_be_told_to_fuse(project) -> None:
    auto = opened(project, model="res2fusion", batch=1, learning_rate=5e-4, steps=100)
    assert auto.task == "reconstruct"
    assert auto.config.augment.blank == 0
    first = auto.batches.at(0)
    object.__setattr__(auto.batches, "at", lambda step: first)
    assert opened(project, model="res2fusion", task="fuse").task == "fuse"
    losses = [auto.step(step)["total"] for step in range(15)]
    assert losses[-1] < 0.7 * losses[0]
    judged = auto.judge()
    assert {"total", "intensity", "directional", "SCD"} <= judged.keys()


def test_the_temporal_term_acts_where_batches_have_an_earlier_view(project) -> None:
    rewrite(project, "intensity: {}", "intensity: {}, temporal: {weight: 0.1}")
    augment = load_training(project / "train.yaml").augment
    moving = opened(project, augment=augment.model_copy(update={"motion": 1.0}))
    assert moving.step(0)["temporal"] > 0
    assert opened(project).step(0)["temporal"] == 0
    rewrite(project, ", temporal: {weight: 0.1}", "")
    idle = opened(project, augment=augment.model_copy(update={"motion": 1.0}))
    assert idle.batches.at(0).earlier is None


def test_bf16_trains_close_to_fp32_and_keeps_weights_in_fp32(project) -> None:
    wide, narrow = opened(project), opened(project, precision="bf16")
    one, other = wide.step(0)["total"], narrow.step(0)["total"]
    assert other == pytest.approx(one, rel=0.02)
    assert other != one
    assert {weight.dtype for weight in narrow.progress.network.parameters()} == {torch.float32}


def test_half_weights_are_half_the_size_and_still_run(project) -> None:
    rewrite(project, "steps: 6", "steps: 1\nhalf: true")
    assert command("train", project / "train.yaml", "--out", project / "half")[0] == 0
    rewrite(project, "half: true", "half: false")
    assert command("train", project / "train.yaml", "--out", project / "full")[0] == 0
    half, full = (project / name / "streamfuse-s.safetensors" for name in ("half", "full"))
    assert half.stat().st_size < 0.65 * full.stat().st_size
    image = torch.rand(1, 1, 20, 30)
    assert torch.allclose(build(str(half))(image, image), build(str(full))(image, image), atol=0.01)


def test_tensorboard_gets_what_the_tables_get(project) -> None:
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed (extra: train)"
    )
    rewrite(project, "steps: 6", "steps: 6\nlog: both")
    assert command("train", project / "train.yaml", "--out", project / "out")[0] == 0
    events = accumulators.EventAccumulator(str(project / "out/tensorboard"))
    events.Reload()
    logged = [(event.step, event.value) for event in events.Scalars("train/total")]
    written = [(int(row["step"]), float(row["total"])) for row in rows(project / "out/log.csv")]
    assert np.allclose(logged, written, atol=1e-5)
    assert "validation/SCD" in events.Tags()["scalars"]
    assert "samples" in events.Tags()["images"]


def test_changes_on_the_command_line_win_over_the_file(project) -> None:
    config = changed(load_training(project / "train.yaml"), model="nestfuse", seed=0, steps=9, data=project)
    assert (config.model, config.seed, config.steps, config.root) == ("nestfuse", 0, 9, project)
    assert changed(load_training(project / "train.yaml")).seed == 3


def test_small_pairs_are_trained_on_but_not_scored(project) -> None:
    for file in (project / "sets/street").rglob("*.png"):
        write(file, cv2.imread(str(file))[:40, :40])
    assert "SCD" not in opened(project).judge()
