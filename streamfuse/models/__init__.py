"""The networks by name, each an ordinary module with one contract.

forward(thermal, visible) -> fused: all N 1 H W float in [0, 1], any H and W; deterministic; no control flow that
depends on pixel values, so that it can be exported. A model knows nothing of cameras, colour or time.

A network that fuses by one of several rules without parameters takes the rule after a colon: "nestfuse:max",
"unfusion:l2", "weights/mine.safetensors:max". The weights are the same; the plain name means the first rule.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a model's constructor is, what the model is, the file that trains it, and its fusion rules."""

    module: str
    constructor: str
    about: str
    recipe: str = ""
    rules: tuple[str, ...] = ()
    """What the constructor takes as its argument."""


ENCODED, DENSE = "train-res2fusion", "train-residual-dense"
TABLE = MappingProxyType(
    {
        "average": Entry("average", "Average", "mean of both images"),
        "laplacian": Entry("laplacian", "LaplacianPyramid", "Laplacian pyramid, stronger detail wins"),
        "streamfuse-s": Entry("streamfuse_s", "StreamfuseS", "our small network, real time on a CPU", "train"),
        "streamfuse-q": Entry("streamfuse_q", "StreamfuseQ", "our quality network", "train-q"),
        "nestfuse": Entry(
            "nestfuse", "NestFuse", "autoencoder, nest connections", ENCODED, ("average", "max", "nuclear")
        ),
        "res2fusion": Entry(
            "res2fusion", "Res2Fusion", "autoencoder, non-local attention", ENCODED, ("full", "coarse")
        ),
        "unfusion": Entry("unfusion", "UNFusion", "autoencoder, dense, Lp attention", ENCODED, ("l1", "l2", "max")),
        "residual-dense-s": Entry("residual_dense", "small", "residual dense network, 28 000 parameters", DENSE),
        "residual-dense-m": Entry("residual_dense", "medium", "residual dense network, 138 000 parameters", DENSE),
        "residual-dense-l": Entry("residual_dense", "large", "residual dense network, 906 000 parameters", DENSE),
    }
)
MODELS = tuple(TABLE)
WEIGHTS = ".safetensors"


def build(name: str) -> nn.Module:
    """The model of this name with its shipped weights, or the one whose weights are at this path (`*.safetensors`).

    Ready for inference. Raises UserError for a name that is not in `MODELS` and for weights that are missing or do
    not fit.
    """
    plain, rule = split(name)
    if plain.endswith(WEIGHTS):
        return _trained(weights_of(name), rule)
    network = untrained(name)
    if any(True for _ in network.parameters()):
        from streamfuse.models.weights import load_weights

        load_weights(network, plain, weights_of(name))
    return network.eval().requires_grad_(False)


def untrained(name: str) -> nn.Module:
    """The model of this name as it is before training. Raises UserError for a name that is not in `MODELS`."""
    plain, rule = split(name)
    entry = _entry(plain)
    if rule and rule not in entry.rules:
        rules = f"its rules are: {', '.join(entry.rules)}" if entry.rules else "it has no rules to choose from"
        raise UserError(f"model {plain!r} has no fusion rule {rule!r}; {rules}")
    construct = getattr(importlib.import_module(f"{__name__}.{entry.module}"), entry.constructor)
    return construct(rule) if rule else construct()


def weights_of(name: str) -> Path:
    """The file of this model's weights: the path itself, or the one that ships. Raises UserError where none does."""
    plain = split(name)[0]
    return Path(plain).expanduser() if plain.endswith(WEIGHTS) else _shipped_weights(plain)


def identity(name: str) -> str:
    """What messages call the model: its name, and for weights at a path the first letters of their hash."""
    plain, rule = split(name)
    if not plain.endswith(WEIGHTS):
        return name
    from streamfuse.models.weights import read_card

    card = read_card(Path(plain).expanduser())
    return f"{_ruled(card.model, rule)}@{card.sha256[:8]}"


def split(name: str) -> tuple[str, str]:
    """A model's name or path without its rule, and the rule ("" = its first)."""
    plain, colon, rule = name.rpartition(":")
    return (plain, rule) if colon and (plain in TABLE or plain.endswith(WEIGHTS)) else (name, "")


def _trained(path: Path, rule: str) -> nn.Module:
    from streamfuse.models.weights import load_weights, read_card

    name = _ruled(read_card(path).model, rule)
    network = untrained(name)
    load_weights(network, name, path)
    return network.eval().requires_grad_(False)


def _ruled(model: str, rule: str) -> str:
    """The model that a card names, with the rule asked for, if any, in place of its own."""
    return f"{split(model)[0]}:{rule}" if rule else model


def _entry(name: str) -> Entry:
    if name not in TABLE:
        raise UserError(f"model {name!r} is unknown{_nearest(name)}; the models are: {', '.join(MODELS)}")
    return TABLE[name]


def _shipped_weights(name: str) -> Path:
    entry = _entry(name)
    try:
        return shipped_path(f"weights/{name}{WEIGHTS}")
    except UserError as error:
        recipe = f"configs/{entry.recipe}.yaml"
        raise UserError(
            f"model {name!r}: no weights ship with it; train them: streamfuse train {recipe} --model {name} --data DIR "
            f"--out DIR, then use DIR/{name}{WEIGHTS} as the model"
        ) from error


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), MODELS, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
