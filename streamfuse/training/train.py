"""`streamfuse train`: from a training file to weights with an identity card."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from streamfuse.errors import UserError
from streamfuse.models import WEIGHTS, split
from streamfuse.models.weights import save_weights
from streamfuse.terminal import make_folder, note
from streamfuse.training.checkpoint import load_checkpoint, save_checkpoint
from streamfuse.training.distributed import joined
from streamfuse.training.failures import memory_advice
from streamfuse.training.log import Log, check_log
from streamfuse.training.objective import TEMPORAL
from streamfuse.training.run import CHECKPOINT, Run, open_run
from streamfuse.training.settings import TrainConfig
from streamfuse.training.validate import sample_picture
from streamfuse.triptych import write_image
from streamfuse.yamlfile import write_yaml


class Stop(Protocol):
    """What may end a run early, e.g. a threading.Event."""

    def is_set(self) -> bool: ...


def train(config: TrainConfig, out: Path, *, resume: bool, stop: Stop, console: Console) -> dict[str, Any]:
    """Train into the folder `out`; what came of it. Raises UserError for data or settings that cannot be used.

    `out` gets settings.yaml, log.csv, validation.csv, samples/, checkpoint.safetensors and in the end
    <model>.safetensors with its card. A set `stop` ends the run after the step at hand, with a checkpoint.
    Under torchrun only the first process writes and speaks; the others return {}.
    """
    torch.set_num_threads(config.threads)
    torch.backends.cudnn.benchmark = False  # whose choice of algorithm differs from run to run
    torch.backends.cudnn.deterministic = True
    check_log(config.log)
    with joined(config.device) as world, memory_advice(config, out / CHECKPOINT):
        console = console if world.first else Console(quiet=True)
        with console.status(escape(f"reading the pairs in {config.root}")):
            run = open_run(config, out, world)
        try:
            return _train(run, resume, stop, console)
        finally:
            run.batches.close()


def _train(run: Run, resume: bool, stop: Stop, console: Console) -> dict[str, Any]:
    config, out = run.config, run.out
    start = _start(run, resume)
    others = f", {run.world.size} processes on {run.world.device.split(':')[0]}" if run.world.size > 1 else ""
    pairs = f"{len(run.training)} pairs to train on, {len(run.validation)} held out"
    console.print(f"{config.model}, to {run.task}: {pairs}{others}; {out}", markup=False)
    if run.loss.config.weights().get(TEMPORAL, 0) > 0 and not config.augment.motion:
        note(console, "the temporal term stays 0: no batch has an earlier view (`augment.motion`)")
    done, metrics = _steps(run, start, stop, console)
    if not run.world.first:
        return {}
    told: dict[str, Any] = {"steps": done, "of": config.steps, "validation": metrics, "out": str(out)}
    if done < config.steps:
        console.print(f"stopped after {done} of {config.steps} steps; go on with --resume")
        return told
    metrics = metrics or run.judge()
    path = out / f"{split(config.model)[0]}{WEIGHTS}"
    card = save_weights(path, run.progress.average, run.card(metrics), half=config.half)
    console.print(f"{path}: {card.parameters} parameters, {path.stat().st_size / 1024:.0f} kB", markup=False)
    return {**told, "validation": metrics, "weights": str(path), "parameters": card.parameters}


def _steps(run: Run, done: int, stop: Stop, console: Console) -> tuple[int, dict[str, float]]:
    """Train from step `done` on, with a log line per step; the steps done in the end, and the last judgement."""
    steps, every, world = run.config.steps, run.config.validate_every, run.world
    metrics: dict[str, float] = {}
    asked = world.any(stop.is_set())
    opened = Log(run.out, run.config.log, keep_until=done) if world.first else nullcontext()
    with opened as log, _bar(console) as bar:
        task = bar.add_task("training", total=steps, completed=done)
        while done < steps and not asked:
            values = run.step(done)
            done += 1
            asked = world.any(stop.is_set())
            if log:
                log.write(done, "train", values)
            bar.update(task, completed=done, description=f"loss {values['total']:.4f}")
            if done % every == 0 or done == steps or asked:
                metrics = _keep(run, done, log, judged=done % every == 0 or done == steps)
    return done, metrics


def _keep(run: Run, done: int, log: Log | None, *, judged: bool) -> dict[str, float]:
    """A checkpoint, a judgement, and a picture to look at, by the first process; the others wait for it.

    A run that is stopped between two judgements leaves the checkpoint alone, and at once.
    """
    metrics: dict[str, float] = {}
    if log:
        save_checkpoint(run.out / CHECKPOINT, run.progress, done, run.settings)
    if log and judged:
        metrics = run.judge()
        log.write(done, "validation", metrics)
        picture = sample_picture(run.progress.average, run.validation, run.world.device)
        log.show(done, picture)
        write_image(run.out / "samples" / f"{done:06d}.png", picture)
    run.world.wait()
    return metrics


def _start(run: Run, resume: bool) -> int:
    """How many steps are done already. A folder that holds a run is not overwritten unasked."""
    path = run.out / CHECKPOINT
    if resume:
        return load_checkpoint(path, run.progress, run.settings)
    if path.exists():
        raise UserError(f"{run.out}: holds a training run already; go on with --resume, or name another --out")
    run.world.wait()  # until all have looked, before the first writes
    if run.world.first:
        _make(run)
    return 0


def _make(run: Run) -> None:
    make_folder(run.out)
    settings = {**run.config.model_dump(mode="json", exclude_none=True), "data": str(run.config.root.absolute())}
    write_yaml(run.out / "settings.yaml", settings)


def _bar(console: Console) -> Bar:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Bar(*columns, console=console)
