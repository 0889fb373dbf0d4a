"""`streamfuse train`: from a training file to weights with an identity card.

Everything random hangs on (seed, step), so that a run is repeatable and a resumed one ends where an uninterrupted
one would have. The weights that are saved are a running average over the last steps.
"""

from __future__ import annotations

import copy
import datetime
import math
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import nn

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.models import WEIGHTS, untrained
from streamfuse.models.weights import DataSet, IdentityCard, save_weights
from streamfuse.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from streamfuse.training.crops import Crops
from streamfuse.training.log import Log
from streamfuse.training.losses import CombinedLoss, Loss
from streamfuse.training.pairs import Pair, load_sets, split_scenes
from streamfuse.training.settings import TrainConfig
from streamfuse.training.validate import sample_picture, validate
from streamfuse.triptych import write_image

CHECKPOINT = "checkpoint.safetensors"
DECAY = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training run, opened: what it changes, what it learns from, what it is judged by."""

    config: TrainConfig
    device: str
    progress: Progress
    crops: Crops
    loss: CombinedLoss
    training: list[Pair]
    validation: list[Pair]

    def step(self, step: int) -> Loss:
        """One step of the optimiser; the loss before it. Raises StreamfuseError when that is not a number."""
        progress, config = self.progress, self.config
        batch = self.crops.at(step).to(self.device)
        loss: Loss = self.loss(
            progress.network(batch.thermal, batch.visible), batch.wanted_thermal, batch.wanted_visible
        )
        if not torch.isfinite(loss.total):
            raise StreamfuseError(f"step {step}: the loss is {loss.values()['total']}; lower learning_rate or clip")
        progress.optimizer.zero_grad()
        loss.total.backward()
        nn.utils.clip_grad_norm_(progress.network.parameters(), config.clip)
        for group in progress.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        progress.optimizer.step()
        follow(progress.average, progress.network, min(config.average, (step + 1) / (step + 10)))
        return loss

    def judge(self) -> dict[str, float]:
        return validate(self.progress.average, self.loss, self.validation, self.device)

    def keep(self, out: Path, done: int) -> None:
        """A checkpoint and a picture to look at."""
        picture = sample_picture(self.progress.average, self.validation, self.device)
        write_image(out / "samples" / f"{done:06d}.png", picture)
        save_checkpoint(out / CHECKPOINT, self.progress, done, self.settings)

    @property
    def settings(self) -> str:
        """What decides the course of the run: a resumed one must agree."""
        return self.config.model_dump_json(exclude={"threads", "validate_every", "data", "device"})

    def card(self, metrics: dict[str, float]) -> IdentityCard:
        counts = Counter(pair.scene.rsplit("/", 1)[0] for pair in self.training)
        sets = [DataSet(name=s.folder, pairs=counts[s.folder], licence=s.licence) for s in self.config.sets]
        return IdentityCard(
            model=self.config.model,
            parameters=0,
            loss=self.config.loss.model_dump(),
            data=tuple(sets),
            validation_pairs=len(self.validation),
            metrics={name: round(value, 5) for name, value in metrics.items()},
            seed=self.config.seed,
            steps=self.config.steps,
            date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            terms=self.config.terms,
        )


def train(config: TrainConfig, out: Path, *, resume: bool, stop: threading.Event, console: Console) -> dict[str, Any]:
    """Train into the folder `out`; what came of it. Raises UserError for data or settings that cannot be used.

    `out` gets log.csv, samples/, checkpoint.safetensors and in the end <model>.safetensors with its card. A set
    `stop` ends the run after the step at hand, with a checkpoint.
    """
    torch.set_num_threads(config.threads)
    run = open_run(config)
    start = _start(run, out, resume)
    console.print(f"{len(run.training)} pairs to train on, {len(run.validation)} held out; {out}")
    done = _steps(run, out, start, stop, console)
    metrics = run.judge()
    told: dict[str, Any] = {"steps": done, "of": config.steps, "validation": metrics, "out": str(out)}
    if done < config.steps:
        console.print(f"stopped after {done} of {config.steps} steps; go on with --resume")
        return told
    path = out / f"{config.model}{WEIGHTS}"
    card = save_weights(path, run.progress.average, run.card(metrics))
    console.print(f"{path}: {card.parameters} parameters, {path.stat().st_size / 1024:.0f} kB")
    return {**told, "weights": str(path), "parameters": card.parameters}


def _steps(run: Run, out: Path, done: int, stop: threading.Event, console: Console) -> int:
    """Train from step `done` on, with a log line per step; how many steps are done in the end."""
    steps, every = run.config.steps, run.config.validate_every
    with Log(out / "log.csv", keep_until=done) as log, _bar(console) as bar:
        task = bar.add_task("training", total=steps, completed=done)
        while done < steps and not stop.is_set():
            loss = run.step(done)
            done += 1
            log.write(done, "train", loss.values())
            bar.update(task, completed=done, description=f"loss {float(loss.total.detach()):.4f}")
            if done % every == 0 or done == steps or stop.is_set():
                log.write(done, "validation", run.judge())
                run.keep(out, done)
    return done


def open_run(config: TrainConfig) -> Run:
    """Load the data, build the network and its optimiser."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` = 'cuda', but torch sees no GPU here; use cpu or auto")
    training, validation = split_scenes(load_sets(config.root, config.sets), config.validation, config.seed)
    torch.manual_seed(config.seed)
    network = untrained(config.model).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=DECAY)
    return Run(
        config=config,
        device=device,
        progress=Progress(network, copy.deepcopy(network).eval(), optimizer),
        crops=Crops(training, config.augment, crop=config.crop, batch=config.batch, seed=config.seed),
        loss=CombinedLoss(config.loss.weights(), veil=config.loss.veil).to(device),
        training=training,
        validation=validation,
    )


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth at the last step."""
    warm = min(1.0, (step + 1) / max(1, config.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.learning_rate * warm * (0.01 + 0.99 * cosine)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move every weight of `average` towards `network`'s, keeping the share `keep`."""
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - keep)


def _start(run: Run, out: Path, resume: bool) -> int:
    """How many steps are done already. A folder that holds a run is not overwritten unasked."""
    path = out / CHECKPOINT
    if resume:
        return load_checkpoint(path, run.progress, run.settings)
    if path.exists():
        raise UserError(f"{out}: holds a training run already; go on with --resume, or name another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made: {error.strerror}") from error
    return 0


def _bar(console: Console) -> Bar:
    return Bar(TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
