"""What cannot be trained is named; what fails on the way loses nothing."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_sets import command, write

from streamfuse.errors import UserError
from streamfuse.training import checkpoint
from streamfuse.training.distributed import World
from streamfuse.training.failures import memory_advice
from streamfuse.training.run import open_run
from streamfuse.training.settings import load_training


def break_layout(project: Path) -> None:
    (project / "sets/street/visible").rename(project / "sets/street/pictures")


def break_image(project: Path) -> None:
    (project / "sets/street/Infrared/a_0.png").write_bytes(b"no image")


def break_size(project: Path) -> None:
    write(project / "sets/street/Infrared/a_0.png", np.zeros((10, 10), np.uint8))


def break_partner(project: Path) -> None:
    (project / "sets/street/visible/b_2.png").unlink()


def break_folder(project: Path) -> None:
    (project / "sets").rename(project / "elsewhere")


def empty_folder(project: Path) -> None:
    for file in (project / "sets/street/visible").iterdir():
        file.unlink()


def say(before: str, after: str):
    def break_settings(project: Path) -> None:
        settings = project / "train.yaml"
        assert before in settings.read_text()
        settings.write_text(settings.read_text().replace(before, after))

    return break_settings


@pytest.mark.parametrize(
    ("wreck", "said"),
    [
        (break_layout, "and beside it one called one of vis, visible"),
        (break_image, "a_0.png: cannot be read"),
        (break_size, "is 10x10"),
        (break_partner, "no visible partner for b_2"),
        (break_folder, "--data"),
        (empty_folder, "visible: holds no images"),
        (say("'^(.+)_'", "'_'"), "validation needs a set with two or more scenes"),
        (say("'^(.+)_'", "'('"), "`scene` is no regular expression"),
        (say("batch:", "bach:"), "did you mean `batch`?"),
        (say("directional:", "directonal:"), "did you mean `directional`?"),
        (say("{terms: {intensity: {}, directional: {weight: 10}}}", "nowhere.yaml"), "nowhere.yaml: no such loss file"),
        (say("folder: street", "folder: street, thermal: ir"), "`thermal` and `visible` are named together"),
        (say("seed: 3", "model: streamfuse-z"), "did you mean 'streamfuse-s'"),
        (say("seed: 3", "model: average"), "'average' has nothing to train"),
        (say("seed: 3", "task: reconstruct"), "needs an autoencoder"),
        (say("seed: 3", "precision: fp16"), "needs a GPU"),
        (say("intensity: {}", "fidelity: {}"), "`crop` = 32 is too small for this loss: VIF needs images of 41 x 41"),
    ],
)
def test_what_cannot_be_trained_on_is_named(project, wreck, said) -> None:
    wreck(project)
    code, told = command("train", project / "train.yaml", "--out", project / "out")
    assert (code, said in told) == (2, True), told
    assert not (project / "out/checkpoint.safetensors").exists()


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(project) -> None:
    out, file = project / "out", project / "train.yaml"
    code, told = command("train", file, "--out", out, "--resume")
    assert (code, "checkpoint.safetensors: no such checkpoint; name the --out" in told) == (2, True), told
    assert command("train", file, "--out", out)[0] == 0
    for words, said in (
        ((), "--resume"),
        (("--resume", "--seed", 4), "other settings: seed (then 3, now 4)"),
        (("--resume", "--model", "res2fusion"), "is a checkpoint of streamfuse-s, asked for res2fusion"),
    ):
        code, told = command("train", file, "--out", out, *words)
        assert (code, said in told) == (2, True), told
    (out / "checkpoint.safetensors").write_bytes(b"cut short")
    code, told = command("train", file, "--out", out, "--resume")
    assert (code, "cannot be resumed" in told) == (2, True)


def test_a_checkpoint_of_another_version_is_refused_by_name(project, monkeypatch) -> None:
    config = load_training(project / "train.yaml")
    path = project / "out/checkpoint.safetensors"
    run = open_run(config, project / "out", World("cpu"))
    path.parent.mkdir()
    network, average = torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(1, 1, 3)
    other = checkpoint.Progress(network, average, torch.optim.AdamW(network.parameters()), run.progress.scaler)
    checkpoint.save_checkpoint(path, other, 3, run.settings)
    code, told = command("train", project / "train.yaml", "--out", path.parent, "--resume")
    assert (code, "does not fit streamfuse-s as it is in this version" in told) == (2, True), told
    monkeypatch.setattr(checkpoint, "FORMAT", "1")
    checkpoint.save_checkpoint(path, run.progress, 3, run.settings)
    monkeypatch.undo()
    code, told = command("train", project / "train.yaml", "--out", path.parent, "--resume")
    assert (code, "no checkpoint of this version" in told) == (2, True), told


def test_a_loss_that_is_no_number_stops_the_run_with_its_batch_and_checkpoint_kept(project, monkeypatch) -> None:
    from streamfuse.training.losses.intensity import IntensityLoss

    calls: list[int] = []
    right = IntensityLoss.cost

    def wrong(self, *images):
        calls.append(1)
        return right(self, *images) * (
            float("nan") if len(calls) > 7 else 1.0
        )  # size check, 3 steps, 2 held out, 1 step

    monkeypatch.setattr(IntensityLoss, "cost", wrong)
    out = project / "out"
    code, told = command("train", project / "train.yaml", "--out", out)
    assert code == 2
    assert "step 4: the loss is nan" in told
    assert "intensity nan" in told
    assert "lower learning_rate or clip" in told
    batch = load_file(out / "failed-000004-rank0.safetensors")
    run = open_run(load_training(project / "train.yaml"), out, World("cpu"))
    assert all(torch.equal(batch[name], image) for name, image in run.batches.at(4).tensors().items())
    with safe_open(out / "failed-000004-rank0.safetensors", framework="pt") as file:
        assert file.metadata()["step"] == "4"
        assert "directional" in json.loads(file.metadata()["terms"])
    assert cv2.imread(str(out / "failed-000004-rank0.png")).shape == (2 * 32, 4 * 32, 3)
    monkeypatch.undo()
    assert command("train", project / "train.yaml", "--out", out, "--resume")[0] == 0  # from step 3


def test_a_gradient_that_is_no_number_never_reaches_the_weights(project, monkeypatch) -> None:
    from streamfuse.training.losses.intensity import IntensityLoss

    monkeypatch.setattr(IntensityLoss, "cost", lambda self, fused, *_: (fused * 0).clamp(min=0).sqrt().sum())
    run = open_run(load_training(project / "train.yaml"), project, World("cpu"))
    with pytest.raises(UserError, match="step 0: the gradient is not a number"):
        run.step(0)
    assert all(weight.isfinite().all() for weight in run.progress.network.parameters())


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    ],
)
def test_the_end_of_memory_says_what_to_lower(project, error) -> None:
    config = load_training(project / "train.yaml")
    with pytest.raises(UserError, match="batch 2, crop 32, fp32: lower `batch` or `crop`, or set `precision: bf16`"):  # noqa: SIM117
        with memory_advice(config, project / "checkpoint"):
            raise error
    with pytest.raises(RuntimeError, match="shape"), memory_advice(config, project):
        raise RuntimeError("shape")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_old_checkpoint(project, monkeypatch) -> None:
    out, file = project / "out", project / "train.yaml"
    assert command("train", file, "--out", out, "--steps", 3)[0] == 0
    before = (out / "checkpoint.safetensors").read_bytes()
    run = open_run(load_training(file), out, World("cpu"))
    for name in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, full)
            with pytest.raises(UserError, match=r"step 9 cannot be written: No space left.*is kept.*--resume"):
                checkpoint.save_checkpoint(out / "checkpoint.safetensors", run.progress, 9, run.settings)
        assert (out / "checkpoint.safetensors").read_bytes() == before
        assert not list(out.glob(".*unfinished"))


def test_a_full_disk_keeps_the_old_log(project, monkeypatch) -> None:
    from streamfuse.training.log import Log

    with Log(project, "csv", keep_until=0) as log:
        log.write(1, "train", {"total": 1.0})
        log.write(2, "train", {"total": 2.0})
    before = (project / "log.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(UserError, match=r"log.csv: the log cannot be written: No space left"):
            Log(project, "csv", keep_until=1)
    assert (project / "log.csv").read_text() == before
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(UserError, match="make room and go on"), Log(project / "new", "csv", keep_until=0) as log:
            log.write(1, "train", {"total": 1.0})


def test_tensorboard_that_is_missing_is_said_before_anything_is_trained(project, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    say("seed: 3", "log: tensorboard")(project)
    code, told = command("train", project / "train.yaml", "--out", project / "out")
    assert (code, "pip install 'streamfuse[train]'" in told) == (2, True)
    assert not (project / "out").exists()
