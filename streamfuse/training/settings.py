"""What a training file may say, and nothing else: an unknown key is an error that names the nearest valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from streamfuse.config import Section
from streamfuse.training.losses import LossWeights
from streamfuse.yamlfile import read_yaml

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]


class SetConfig(Section):
    """One data set: a folder with a thermal and a visible folder in it."""

    folder: str  # below the data root
    licence: str  # as its publisher states it; goes into the identity card
    only: str | None = None  # text file in the folder: one stem per line, everything else is left out
    scene: str | None = None  # regular expression; pairs with equal groups show one scene
    share: Annotated[float, Field(gt=0)] = 1.0  # how often a pair of this set is drawn, relative to other sets' pairs


class AugmentConfig(Section):
    """How inputs are varied; probabilities are per sample."""

    smallest: Annotated[float, Field(gt=0, le=1)] = 0.5  # pairs are scaled by this to 1
    tone: Share = 0.5  # brightness, contrast and gamma of either image change
    night: Share = 0.2  # the visible image gets dark, down to black
    noise: Share = 0.3  # sensor noise on either input; the wanted output has none
    blank: Share = 0.06  # the thermal image shows nothing; the wanted output is the visible one


class LossConfig(Section):
    intensity: Weight = 1.0
    gradient: Weight = 10.0
    structure: Weight = 0.5
    veil: Weight = 0.5  # standard deviations below the mean at which thermal brightness starts

    def weights(self) -> LossWeights:
        return LossWeights(intensity=self.intensity, gradient=self.gradient, structure=self.structure)


class TrainConfig(Section):
    model: Literal["streamfuse-s"] = "streamfuse-s"
    data: str = "data"  # root of the sets, relative to this file
    sets: Annotated[tuple[SetConfig, ...], Field(min_length=1)]
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share of whole scenes that are never trained on
    seed: int = 0
    steps: Count = 4000
    batch: Count = 8
    crop: Annotated[int, Field(ge=32)] = 192
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3  # at the top of the cosine
    warm_up: Annotated[int, Field(ge=0)] = 100  # steps
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998  # of the weights, over steps: what is saved
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest norm of a gradient
    threads: Count = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    validate_every: Count = 500  # steps; checkpoints are written then, too
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    terms: str = ""  # of the weights, because of the data; goes into the identity card
    folder: Annotated[Path, Field(exclude=True)] = Path()  # where relative paths start; set by load_training

    @property
    def root(self) -> Path:
        return self.folder / Path(self.data).expanduser()


def load_training(path: Path) -> TrainConfig:
    """Read and check a training file. Raises UserError naming file, key, value and what is allowed."""
    return read_yaml(path, TrainConfig, "training file").model_copy(update={"folder": path.resolve().parent})
