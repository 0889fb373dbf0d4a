"""What an ablation file may say: networks and losses, seeds, how all are trained, and what they are judged on."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from streamfuse.config import Section
from streamfuse.errors import UserError
from streamfuse.training.run import UNASKED
from streamfuse.training.settings import Count, FolderConfig, NotNegative, TrainConfig, located
from streamfuse.yamlfile import explain, read_yaml


class RowConfig(Section):
    """One network and the losses that are compared on it."""

    model: str
    losses: Annotated[dict[str, str | dict[str, Any]], Field(min_length=1)]
    """Label: loss file, or the loss itself; all others are compared with the first."""
    sets: tuple[str, ...] | None = None  # folders of the sets to train on; all
    training: dict[str, Any] = Field(
        default_factory=dict[str, Any]
    )  # keys of a training file that this row sets otherwise

    @property
    def label(self) -> str:
        return f"{self.model} on {'+'.join(self.sets)}" if self.sets else self.model


class AblateConfig(Section):
    training: dict[str, Any]  # keys of a training file, without model, loss and seed
    rows: Annotated[tuple[RowConfig, ...], Field(min_length=1)]
    seeds: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (1, 2, 3)
    tests: Annotated[tuple[FolderConfig, ...], Field(min_length=1)]  # below the data root; never trained on
    images: Count | None = None  # at most so many pairs of each test, evenly chosen; all
    folder: Annotated[Path, Field(exclude=True)] = Path()  # where relative paths start; set by load_ablation


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: a row's network with one of its losses and one seed. `digest` stands for all that decides it."""

    row: str
    loss: str
    seed: int
    training: TrainConfig
    digest: str

    @property
    def name(self) -> str:
        """As files may be called."""
        return re.sub(r"[^\w.+-]+", "-", f"{self.row}--{self.loss}--seed{self.seed}")


def load_ablation(path: Path, data: Path | None = None) -> AblateConfig:
    """Read and check an ablation file; `data` replaces its data root. Raises UserError naming what is allowed."""
    config = read_yaml(path, AblateConfig, "ablation file")
    reserved = {"model", "loss", "seed"} & config.training.keys()
    if reserved:
        raise UserError(f"{path}: `training.{min(reserved)}` is said by `rows` and `seeds`; leave it out there")
    labels = [row.label for row in config.rows]
    if len(set(labels)) < len(labels):
        raise UserError(f"{path}: two rows have the same network and sets; name their losses in one row")
    training = {**config.training, "data": str(data.absolute())} if data else config.training
    return config.model_copy(update={"training": training, "folder": path.resolve().parent})


def cells(config: AblateConfig) -> list[Cell]:
    """All cells, seed by seed, so that a run that is cut short has whole comparisons. Raises UserError."""
    return [_cell(config, row, loss, seed) for seed in config.seeds for row in config.rows for loss in row.losses]


def _cell(config: AblateConfig, row: RowConfig, loss: str, seed: int) -> Cell:
    told = {**config.training, **row.training, "model": row.model, "loss": row.losses[loss], "seed": seed}
    where = f"ablation row {row.label}"
    try:
        training = located(TrainConfig.model_validate(told), config.folder)
    except ValidationError as error:
        raise UserError(explain(error, TrainConfig, where)) from error
    if row.sets is not None:
        missing = set(row.sets) - {one.folder for one in training.sets}
        if missing:
            raise UserError(f"{where}: `training.sets` has no set in the folder {min(missing)}")
        chosen = tuple(one for one in training.sets if one.folder in row.sets)
        training = training.model_copy(update={"sets": chosen})
    settings = {
        "training": training.model_dump(mode="json", exclude=UNASKED),
        "tests": [test.model_dump(mode="json") for test in config.tests],
        "images": config.images,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    return Cell(row.label, loss, seed, training, digest)
