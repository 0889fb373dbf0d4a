"""Two processes under torchrun train what one process with twice the batch would, and leave one set of files."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_sets import command

from streamfuse.errors import UserError
from streamfuse.training.distributed import World, joined
from streamfuse.training.run import open_run
from streamfuse.training.settings import load_training

WATCHED = """
import sys
import torch
from safetensors.torch import save_file
import streamfuse.training.train as command

shown = command._keep
def kept(run, done, log, **how):
    save_file(run.progress.network.state_dict(), f"{run.out}/rank{run.world.rank}-{done}.safetensors")
    return shown(run, done, log, **how)
command._keep = kept
from streamfuse.__main__ import main
main()
"""


def torchrun(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The real command in two processes, each of which also leaves its weights beside every checkpoint."""
    script = folder / "watched.py"
    script.write_text(WATCHED)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = [*start, "train", *map(str, words)]
    return subprocess.run(done, capture_output=True, text=True, timeout=240, check=False, env=environment)


@pytest.mark.parametrize("model", ["streamfuse-s", "res2fusion"])
def test_two_processes_train_what_one_with_twice_the_batch_does(project, model) -> None:
    two, one, file = project / "two", project / "one", project / "train.yaml"
    done = torchrun(project, file, "--out", two, "--model", model, "--steps", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"weights"') == 1
    ranks = [load_file(two / f"rank{rank}-3.safetensors") for rank in (0, 1)]
    assert all(torch.equal(weights, ranks[1][name]) for name, weights in ranks[0].items())
    file.write_text(file.read_text().replace("batch: 2", "batch: 4"))
    assert command("train", file, "--out", one, "--model", model, "--steps", 3)[0] == 0
    alone = load_file(one / f"{model}.safetensors")
    together = load_file(two / f"{model}.safetensors")
    for name, weights in alone.items():
        assert torch.allclose(weights, together[name], atol=2e-4), (name, (weights - together[name]).abs().max())
    logs = [[float(row["total"]) for row in csv.DictReader((out / "log.csv").open())] for out in (one, two)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


class Company(World):
    """A second process, whose loss is not a number."""

    def mean(self, values):
        return dict.fromkeys(values, float("nan"))


def test_a_loss_of_one_process_that_is_no_number_stops_all(project) -> None:
    run = open_run(load_training(project / "train.yaml"), project, Company("cpu"))
    with pytest.raises(UserError, match=r"step 0: the loss is nan \(total \d"):
        run.step(0)


def test_alone_nothing_is_shared(monkeypatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined("cpu") as world:
        assert world == World("cpu", rank=0, size=1)
        module = torch.nn.Linear(1, 1)
        assert world.shared(module) is module
        assert world.mean({"total": 2.0}) == {"total": 2.0}
        assert world.any(True)
        world.wait()


def test_a_gpu_that_is_not_here_is_said(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU here"), joined("cuda"):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="use --nproc-per-node 2"), joined("auto"):
        pass
