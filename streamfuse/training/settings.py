"""What a training file may say, and nothing else: an unknown key is an error that names the nearest valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from streamfuse.config import Section
from streamfuse.errors import UserError
from streamfuse.models import WEIGHTS
from streamfuse.shipped import resolve_path
from streamfuse.training.losses.settings import LossConfig, load_loss
from streamfuse.yamlfile import read_yaml

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Task = Literal["fuse", "reconstruct"]


class FolderConfig(Section):
    """Where registered pairs lie. Usual folder names are found by themselves; else name the folders, or list the pairs.

    All paths are relative to `folder`.
    """

    folder: str  # below the data root
    thermal: str | None = None  # folder of the thermal images, where its name does not say so
    visible: str | None = None  # folder of the visible images
    pairs: str | None = None  # CSV or TSV: one pair a line, thermal file and visible file
    only: str | None = None  # text file: one stem per line, everything else is left out

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> FolderConfig:
        if (self.thermal is None) != (self.visible is None):
            raise ValueError("`thermal` and `visible` are named together, or neither")
        if self.pairs is not None and self.thermal is not None:
            raise ValueError("either `pairs` (a list) or `thermal` and `visible` (folders), not both")
        return self


class SetConfig(FolderConfig):
    """One data set to train on."""

    licence: str  # as its publisher states it; goes into the identity card
    scene: str | None = None  # regular expression on stems; pairs with equal groups show one scene
    share: Annotated[float, Field(gt=0)] = 1.0  # how often a pair of this set is drawn, relative to other sets' pairs


class AugmentConfig(Section):
    """How inputs are varied; probabilities are per sample. Whatever moves pixels moves both images alike, but one."""

    smallest: Annotated[float, Field(gt=0, le=1)] = 0.5  # pairs are scaled by this to 1
    turn: Share = 0.0  # x and y are exchanged: with the flips, every turn by 90 degrees
    tone: Share = 0.5  # brightness, contrast and gamma of either image change
    exposure: Share = 0.0  # the visible image is exposed up to two stops wrong, and clips
    night: Share = 0.2  # the visible image gets dark, down to black
    inversion: Share = 0.0  # the thermal image shows hot as black
    glare: Share = 0.0  # lamps shine into the visible camera, in front of what is warm
    noise: Share = 0.3  # sensor noise on either input; the wanted output has none
    blank: Share = 0.06  # the thermal image shows nothing; the wanted output is the visible one
    misregistration: Annotated[float, Field(ge=0, le=16)] = 0.0  # px; thermal is shifted by up to this, either way
    motion: Share = 0.0  # share of batches with an earlier view; read by the temporal term of the loss alone
    motion_px: Annotated[int, Field(ge=1, le=64)] = 6  # largest shift to the earlier view


def _file_or_section(value: Any, section: ValidatorFunctionWrapHandler) -> Any:
    """A file's name stays as it is until `load_training`, which knows the folder, has read it."""
    return value if isinstance(value, str) else section(value)


class TrainConfig(Section):
    model: str = "streamfuse-s"
    start: str | None = None  # weights to go on from: a file of this model, or the name of one that ships
    task: Literal["auto", "fuse", "reconstruct"] = "auto"  # auto: reconstruct single images where the network can
    loss: Annotated[LossConfig, WrapValidator(_file_or_section)]  # or the path of a loss file
    data: str = "data"  # root of the sets, relative to this file
    sets: Annotated[tuple[SetConfig, ...], Field(min_length=1)]
    memory_gib: Annotated[float, Field(ge=0)] = 8.0  # images beyond this are read anew each time they are drawn
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share of whole scenes that are never trained on
    validate_on: Count | None = None  # at most so many of the held-out pairs, evenly chosen; all
    scored: NotNegative = 8  # of these, so many are scored by the field's metrics, too
    validate_every: Count = 500  # steps; checkpoints are written then, too
    seed: NotNegative = 0
    steps: Count = 4000
    batch: Count = 8  # of each process
    crop: Annotated[int, Field(ge=32)] = 192
    augment: AugmentConfig = AugmentConfig()
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3  # at the top of the cosine
    warm_up: NotNegative = 100  # steps
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998  # of the weights, over steps: what is saved
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest norm of a gradient
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the network; the loss is always fp32
    half: bool = False  # save the weights as fp16
    threads: Count = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    log: Literal["csv", "tensorboard", "both"] = "csv"
    terms: str = ""  # of the weights, because of the data; goes into the identity card
    folder: Annotated[Path, Field(exclude=True)] = Path()  # where relative paths start; set by load_training
    command: Annotated[str, Field(exclude=True)] = ""  # that trains this again; goes into the identity card

    @property
    def root(self) -> Path:
        return self.folder / Path(self.data).expanduser()


def load_training(path: Path) -> TrainConfig:
    """Read and check a training file and the loss file it may name.

    Raises UserError naming file, key, value and what is allowed.
    """
    config = read_yaml(path, TrainConfig, "training file")
    return located(config, path.resolve().parent).model_copy(update={"command": f"streamfuse train {_shown(path)}"})


def located(config: TrainConfig, folder: Path) -> TrainConfig:
    """`config`, whose relative paths start at `folder`, with its loss read where it is a file's name."""
    loss: Any = config.loss
    if isinstance(loss, str):
        loss = load_loss(resolve_path(loss, folder))
    start = config.start and _anchored(config.start, folder)
    return config.model_copy(update={"folder": folder, "loss": loss, "start": start})


def changed(
    config: TrainConfig,
    *,
    model: str | None = None,
    start: str | None = None,
    loss: Path | None = None,
    seed: int | None = None,
    steps: int | None = None,
    data: Path | None = None,
) -> TrainConfig:
    """`config` with what the command line says otherwise; None leaves the file's word. Raises UserError."""
    words = {
        "model": model,
        "start": _shown(Path(start)) if start else None,
        "loss": _shown(loss) if loss else None,
        "seed": seed,
        "steps": steps,
    }
    command = config.command + "".join(f" --{name} {value}" for name, value in words.items() if value is not None)
    update: dict[str, Any] = {
        "model": model,
        "start": start and _anchored(start, Path.cwd()),
        "seed": seed,
        "steps": steps,
    }
    update["loss"] = load_loss(loss) if loss else None
    update["data"] = str(data.absolute()) if data else None
    update = {name: value for name, value in update.items() if value is not None}
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data}: no such folder; name the folder that holds the data sets")
    return config.model_copy(update={**update, "command": command})


def _anchored(start: str, folder: Path) -> str:
    """The name of a model that ships as it is; a file's path from `folder` on, so that it is found from anywhere."""
    return str(folder / Path(start).expanduser()) if start.endswith(WEIGHTS) else start


def _shown(path: Path) -> str:
    """A path as a card may tell it: without the folders of this machine."""
    return path.name if path.is_absolute() else path.as_posix()
