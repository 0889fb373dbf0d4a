"""What a loss file may say: which terms, with which settings, how heavy, and from when on.

The table of terms is here, too. A term's settings are the keywords of its constructor, with the limits stated there,
so that nothing is written twice.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import create_model, field_validator, model_validator

from streamfuse.config import Section
from streamfuse.training.losses.angular import AngularLoss
from streamfuse.training.losses.complement import ComplementLoss
from streamfuse.training.losses.daylight import DaylightLoss
from streamfuse.training.losses.directional import DirectionalGradientLoss
from streamfuse.training.losses.edge_transfer import EdgeTransferLoss
from streamfuse.training.losses.fidelity import FidelityLoss
from streamfuse.training.losses.intensity import IntensityLoss
from streamfuse.training.losses.laplacian import LaplacianGradientLoss
from streamfuse.training.losses.max_gradient import MaxGradientLoss
from streamfuse.training.losses.overshoot import OvershootLoss
from streamfuse.training.losses.salience import SalienceLoss
from streamfuse.training.losses.soft_hog import SoftHOGLoss
from streamfuse.training.losses.structure import MSSSIMLoss, SSIMLoss
from streamfuse.training.losses.temporal import TemporalConsistencyLoss
from streamfuse.training.losses.term import FusionLoss, Share, Weight
from streamfuse.training.losses.weight_block import WeightBlockGradientLoss
from streamfuse.yamlfile import read_yaml

TERMS: dict[str, type[FusionLoss]] = {
    "intensity": IntensityLoss,
    "directional": DirectionalGradientLoss,
    "angular": AngularLoss,
    "max_gradient": MaxGradientLoss,
    "weight_block": WeightBlockGradientLoss,
    "laplacian": LaplacianGradientLoss,
    "soft_hog": SoftHOGLoss,
    "ssim": SSIMLoss,
    "ms_ssim": MSSSIMLoss,
    "complement": ComplementLoss,
    "edge_transfer": EdgeTransferLoss,
    "fidelity": FidelityLoss,
    "overshoot": OvershootLoss,
    "salience": SalienceLoss,
    "daylight": DaylightLoss,
    "temporal": TemporalConsistencyLoss,
}
"""Every term by its name in loss files and logs."""


class TermSettings(Section):
    """What all terms have in common; each adds its own keywords."""

    weight: Weight = 1.0
    after: Share = 0.0  # share of the training before it ramps in, over the next tenth

    def options(self) -> dict[str, Any]:
        """What its constructor takes."""
        return self.model_dump(exclude={"weight", "after"})

    def ramp(self, progress: float) -> float:
        """How much of the weight counts when the share `progress` of the training is done: 0 to 1, at the end 1."""
        if self.after == 0 or progress >= 1:
            return 1.0
        return min(1.0, max(0.0, (progress - self.after) / 0.1))


def _settings_of(loss: type[FusionLoss]) -> type[TermSettings]:
    limits = get_type_hints(loss.__init__, include_extras=True)
    keywords = inspect.signature(loss).parameters.values()
    fields: dict[str, Any] = {keyword.name: (limits[keyword.name], keyword.default) for keyword in keywords}
    return create_model(loss.__name__, __base__=TermSettings, **fields)


if TYPE_CHECKING:
    Terms = Section
else:
    Terms = create_model(
        "Terms", __base__=Section, **{name: (_settings_of(loss) | None, None) for name, loss in TERMS.items()}
    )


class LossConfig(Section):
    """A weighted sum of terms."""

    terms: Terms
    veil: Weight | None = None  # standard deviations below the mean at which thermal brightness starts; None: as it is

    @field_validator("terms", mode="before")
    @classmethod
    def _said(cls, terms: object) -> object:
        if isinstance(terms, dict):
            for name, settings in terms.items():  # pyright: ignore[reportUnknownVariableType]
                if settings is None:
                    raise ValueError(f"`{name}` says nothing; write `{name}: {{}}` for its defaults")
        return terms  # pyright: ignore[reportUnknownVariableType]

    @model_validator(mode="after")
    def _something_to_minimise(self) -> LossConfig:
        if not any(self.weights().values()):
            raise ValueError(f"`terms` needs one with a weight above 0; known terms are {', '.join(TERMS)}")
        return self

    def chosen(self) -> dict[str, TermSettings]:
        """The terms named in the file, in the table's order."""
        settings = {name: getattr(self.terms, name) for name in TERMS}
        return {name: one for name, one in settings.items() if one is not None}

    def weights(self) -> dict[str, float]:
        return {name: settings.weight for name, settings in self.chosen().items()}


def load_loss(path: Path) -> LossConfig:
    """Read and check a loss file. Raises UserError naming file, key, value and what is allowed."""
    return read_yaml(path, LossConfig, "loss file")
