"""The networks by name, each an ordinary module with one contract.

forward(thermal, visible) -> fused: all N 1 H W float in [0, 1], any H and W; deterministic; no control flow that
depends on pixel values, so that it can be exported. A model knows nothing of cameras, colour or time.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path

if TYPE_CHECKING:
    from torch import nn

MODELS = ("average", "laplacian", "streamfuse-s")
WEIGHTS = ".safetensors"


def build(name: str) -> nn.Module:
    """The model of this name with its shipped weights, or the one whose weights are at this path (`*.safetensors`).

    Ready for inference. Raises UserError for a name that is not in `MODELS` and for weights that do not fit.
    """
    if name.endswith(WEIGHTS):
        return _trained(Path(name).expanduser())
    network = untrained(name)
    if any(True for _ in network.parameters()):
        return _trained(shipped_path(f"weights/{name}.safetensors"), network, name)
    return network.eval().requires_grad_(False)


def identity(name: str) -> str:
    """What messages call the model: its name, and for weights at a path the first letters of their hash."""
    if not name.endswith(WEIGHTS):
        return name
    from streamfuse.models.weights import read_card

    card = read_card(Path(name).expanduser())
    return f"{card.model}@{card.sha256[:8]}"


def untrained(name: str) -> nn.Module:
    """The model of this name as it is before training. Raises UserError for a name that is not in `MODELS`."""
    match name:
        case "average":
            from streamfuse.models.average import Average

            return Average()
        case "laplacian":
            from streamfuse.models.laplacian import LaplacianPyramid

            return LaplacianPyramid()
        case "streamfuse-s":
            from streamfuse.models.streamfuse_s import StreamfuseS

            return StreamfuseS()
        case _:
            raise UserError(f"model {name!r} is unknown{_nearest(name)}; the models are: {', '.join(MODELS)}")


def _trained(path: Path, network: nn.Module | None = None, name: str | None = None) -> nn.Module:
    from streamfuse.models.weights import load_weights, read_card

    name = name or read_card(path).model
    network = network or untrained(name)
    load_weights(network, name, path)
    return network.eval().requires_grad_(False)


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), MODELS, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
