"""The networks by name, each an ordinary module with one contract.

forward(thermal, visible) -> fused: all N 1 H W float in [0, 1], any H and W; deterministic; no control flow that
depends on pixel values, so that it can be exported. A model knows nothing of cameras, colour or time.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from streamfuse.errors import UserError

if TYPE_CHECKING:
    from torch import nn

MODELS = ("average", "laplacian")


def build(name: str) -> nn.Module:
    """The model of this name, ready for inference. Raises UserError for a name that is not in `MODELS`."""
    match name:
        case "average":
            from streamfuse.models.average import Average

            return Average().eval()
        case "laplacian":
            from streamfuse.models.laplacian import LaplacianPyramid

            return LaplacianPyramid().eval()
        case _:
            raise UserError(f"model {name!r} is unknown{_nearest(name)}; the models are: {', '.join(MODELS)}")


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), MODELS, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
