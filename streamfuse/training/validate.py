"""Judges a network on held-out pairs: the mean of every loss term, and a picture to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from streamfuse.frames import Pixels
from streamfuse.training.losses import CombinedLoss
from streamfuse.training.pairs import Grey, Pair

SHOWN = 4
SHOWN_WIDTH = 320


def validate(network: nn.Module, loss: CombinedLoss, pairs: Sequence[Pair], device: str) -> dict[str, float]:
    """Means over whole images, as they are: no crop, no degradation."""
    judged: list[dict[str, float]] = []
    with torch.inference_mode():
        for pair in pairs:
            thermal, visible = as_tensor(pair.thermal, device), as_tensor(pair.visible, device)
            judged.append(loss(network(thermal, visible), thermal, visible).values())
    return {name: float(np.mean([one[name] for one in judged])) for name in judged[0]}


def sample_picture(network: nn.Module, pairs: Sequence[Pair], device: str) -> Pixels:
    """thermal | visible | fused of a few pairs, one below the other: H W uint8."""
    rows = [_row(network, pair, device) for pair in pairs[:: max(1, len(pairs) // SHOWN)][:SHOWN]]
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 4), (0, width - row.shape[1]))) for row in rows])


def as_tensor(image: Grey, device: str) -> Tensor:
    """H W uint8 -> 1 1 H W in [0, 1]."""
    return torch.from_numpy(image).to(device)[None, None].float() / 255


def _row(network: nn.Module, pair: Pair, device: str) -> Pixels:
    with torch.inference_mode():
        fused = network(as_tensor(pair.thermal, device), as_tensor(pair.visible, device))
    grey = (fused[0, 0] * 255).round().byte().cpu().numpy()
    step = max(1, pair.thermal.shape[1] // SHOWN_WIDTH)
    return np.hstack([image[::step, ::step] for image in (pair.thermal, pair.visible, grey)])
