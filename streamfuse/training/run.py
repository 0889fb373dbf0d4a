"""One training run, opened: what it changes, what it learns from, what it is judged by, and the step itself.

Everything random hangs on (seed, step), so that a run is repeatable and a resumed one ends where an uninterrupted
one would have. The weights that are saved are a running average over the last steps.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamfuse.errors import UserError
from streamfuse.models import split, untrained, weights_of
from streamfuse.models.weights import DataSet, IdentityCard, load_weights, read_card
from streamfuse.training.checkpoint import Progress
from streamfuse.training.crops import Ahead, Batch, Crops
from streamfuse.training.distributed import World
from streamfuse.training.failures import TrainingFailed, keep_batch
from streamfuse.training.losses import CombinedGradientLoss
from streamfuse.training.objective import HALVES, Objective, fitting_augment, fitting_loss, fitting_task, reconstruction
from streamfuse.training.pairs import Pair, evenly, load_sets, set_of, split_scenes
from streamfuse.training.settings import Task, TrainConfig
from streamfuse.training.validate import score_all, validate

CHECKPOINT = "checkpoint.safetensors"
DECAY = 1e-4
UNASKED = {"threads", "validate_every", "validate_on", "scored", "data", "device", "log", "memory_gib", "half"}
"""What a resumed run may be told otherwise, since it does not change the course of training."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """`objective` is what a step minimises (network and loss, shared with other processes); `loss` judges."""

    config: TrainConfig
    world: World
    task: Task
    progress: Progress
    objective: nn.Module
    loss: CombinedGradientLoss
    batches: Ahead
    training: list[Pair]
    validation: list[Pair]
    out: Path

    def step(self, step: int) -> dict[str, float]:
        """One step of the optimiser; the loss before it, mean over all processes.

        Raises TrainingFailed when the loss or its gradient is not a number, with the batch kept in `out`.
        """
        progress, config = self.progress, self.config
        batch = self.batches.at(step).to(self.world.device)
        record = self.objective(batch, step / config.steps)
        own = record.values()
        values = self.world.mean(own)
        if not math.isfinite(values["total"]):
            raise self._failed(step, batch, own, f"the loss is {values['total']}")
        progress.optimizer.zero_grad()
        progress.scaler.scale(record.total).backward()
        progress.scaler.unscale_(progress.optimizer)
        norm = nn.utils.clip_grad_norm_(progress.network.parameters(), config.clip)
        if not progress.scaler.is_enabled() and not torch.isfinite(norm):
            raise self._failed(step, batch, own, "the gradient is not a number")
        for group in progress.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        progress.scaler.step(progress.optimizer)
        progress.scaler.update()
        follow(progress.average, progress.network, min(config.average, (step + 1) / (step + 10)))
        return values

    def judge(self) -> dict[str, float]:
        """Loss, terms and metrics of the averaged network on held-out pairs, means."""
        average, device = self.progress.average, self.world.device
        pairs = self.validation
        judged = validate(average, self.loss, self.task, pairs, device)
        scored = score_all(average, evenly(pairs, min(self.config.scored, len(pairs))), device)
        # a term may have the name of the metric it is made from
        return {**{f"{name} loss" if name in scored else name: value for name, value in judged.items()}, **scored}

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the course of the run: a resumed one must agree."""
        return {**self.config.model_dump(mode="json", exclude=UNASKED), "processes": self.world.size}

    def card(self, metrics: dict[str, float]) -> IdentityCard:
        counts = Counter(set_of(pair) for pair in self.training)
        sets = [DataSet(name=s.folder, pairs=counts[s.folder], licence=s.licence) for s in self.config.sets]
        return IdentityCard(
            model=split(self.config.model)[0],
            parameters=0,
            start=_origin(self.config.start) if self.config.start else "",
            loss_name=type(self.loss).__name__,
            loss=self.config.loss.weights(),
            data=tuple(sets),
            validation_pairs=len(self.validation),
            metrics={name: round(value, 5) for name, value in metrics.items() if math.isfinite(value)},
            seed=self.config.seed,
            steps=self.config.steps,
            date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            command=self.config.command,
            terms=self.config.terms,
        )

    def _failed(self, step: int, batch: Batch, terms: dict[str, float], what: str) -> TrainingFailed:
        """Keeps the batch, if it is this process's; what to raise."""
        path = self.out / f"failed-{step:06d}-rank{self.world.rank}"
        keep_batch(path, batch, step, terms)
        said = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        return TrainingFailed(
            f"step {step}: {what} ({said}); the batch is in {path}.png and .safetensors, the last checkpoint is kept; "
            "lower learning_rate or clip, or use precision fp32"
        )


def open_run(config: TrainConfig, out: Path, world: World) -> Run:
    """Load the data, build the network and its optimiser. Raises UserError for what cannot be trained or used."""
    torch.manual_seed(config.seed)
    network = untrained(config.model)
    if config.start:
        load_weights(network, config.model, weights_of(config.start))
    network = network.to(world.device).train()
    _check(config, network, world)
    task = fitting_task(config, network)
    config = fitting_augment(config, task)
    pairs = load_sets(config.root, config.sets, memory_gib=config.memory_gib)
    training, validation = split_scenes(pairs, config.validation, config.seed)
    loss = CombinedGradientLoss(fitting_loss(config, task)).to(world.device)
    _check_size(config, loss, world)
    objective = Objective(network, loss, task, HALVES.get(config.precision))
    first = world.rank * config.batch
    crops = Crops(training, config.augment, crop=config.crop, batch=config.batch, seed=config.seed, first=first)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=DECAY)
    scaler = torch.amp.GradScaler("cuda", enabled=config.precision == "fp16")
    return Run(
        config=config,
        world=world,
        task=task,
        progress=Progress(network, copy.deepcopy(network).eval(), optimizer, scaler),
        objective=world.shared(objective),
        loss=loss,
        batches=Ahead(crops.at),
        training=training,
        validation=evenly(validation, config.validate_on),
        out=out,
    )


def _origin(start: str) -> str:
    """Which weights a run went on from, as a card tells it."""
    card = read_card(weights_of(start))
    of_its_own = f", which went on from {card.start}" if card.start else ""
    return f"{split(card.model)[0]}@{card.sha256[:8]} ({card.steps} steps: {card.command}){of_its_own}"


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth at the last step."""
    warm = min(1.0, (step + 1) / max(1, config.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.learning_rate * warm * (0.01 + 0.99 * cosine)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move every weight of `average` towards `network`'s, keeping the share `keep`; buffers are taken over."""
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - keep)
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        old.copy_(new)


def _check_size(config: TrainConfig, loss: CombinedGradientLoss, world: World) -> None:
    """Some terms need room, known to them alone."""
    image = torch.zeros(1, 1, config.crop, config.crop, device=world.device)
    try:
        loss(image, image, image)
    except ValueError as error:
        raise UserError(f"`crop` = {config.crop} is too small for this loss: {error}") from error


def _check(config: TrainConfig, network: nn.Module, world: World) -> None:
    if config.task == "reconstruct":
        reconstruction(network)
    if not any(True for _ in network.parameters()):
        raise UserError(f"model {config.model!r} has nothing to train; choose another `model`")
    if config.precision == "fp16" and not world.device.startswith("cuda"):
        raise UserError("`precision` = 'fp16' needs a GPU (its gradients need scaling); on a CPU use bf16 or fp32")
