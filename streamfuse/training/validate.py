"""Judges a network on whole held-out images: every loss term, the field's metrics, and a picture to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from streamfuse.errors import UserError
from streamfuse.evaluation.scores import means, scores
from streamfuse.frames import Pixels
from streamfuse.training.losses import CombinedGradientLoss
from streamfuse.training.objective import reconstruction
from streamfuse.training.pairs import Grey, Pair, evenly
from streamfuse.training.settings import Task

SHOWN = 4
SHOWN_WIDTH = 320
SMALLEST = 41
"""Pixels along either side that the metrics need."""


def validate(
    network: nn.Module, loss: CombinedGradientLoss, task: Task, pairs: Sequence[Pair], device: str
) -> dict[str, float]:
    """Means of the loss and its terms over whole images, as they are: no crop, no degradation.

    Raises UserError for a pair that is smaller than a term of the loss needs.
    """
    judged: list[dict[str, float]] = []
    for pair in pairs:
        thermal, visible = (as_tensor(image, device) for image in pair.images())
        try:
            judged += _judged(network, loss, task, thermal, visible)
        except ValueError as error:
            raise UserError(f"{pair.files.thermal}: is too small to be held out with this loss: {error}") from error
    return means(judged)


@torch.inference_mode()
def _judged(
    network: nn.Module, loss: CombinedGradientLoss, task: Task, thermal: Tensor, visible: Tensor
) -> list[dict[str, float]]:
    if task == "fuse":
        return [loss(network(thermal, visible), thermal, visible).values()]
    rebuilt = reconstruction(network)
    return [loss(rebuilt(image), image, image).values() for image in (thermal, visible)]


def score(network: nn.Module, pair: Pair, device: str) -> dict[str, float]:
    """The field's metrics of what the network makes of one pair. Raises ValueError for images under 41 x 41."""
    thermal, visible = pair.images()
    return scores(fused_image(network, thermal, visible, device), thermal, visible, device=device)


def score_all(network: nn.Module, pairs: Sequence[Pair], device: str) -> dict[str, float]:
    """Mean metrics over `pairs` that are large enough for them; nothing where none is."""
    large = [pair for pair in pairs if min(pair.images()[0].shape) >= SMALLEST]
    return means([score(network, pair, device) for pair in large]) if large else {}


def sample_picture(network: nn.Module, pairs: Sequence[Pair], device: str) -> Pixels:
    """thermal | visible | fused of a few pairs, one below the other: H W uint8."""
    rows = [_row(network, pair, device) for pair in evenly(pairs, SHOWN)]
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 4), (0, width - row.shape[1]))) for row in rows])


def fused_image(network: nn.Module, thermal: Grey, visible: Grey, device: str) -> Grey:
    """H W uint8, all three."""
    with torch.inference_mode():
        fused: Tensor = network(as_tensor(thermal, device), as_tensor(visible, device))
    return (fused[0, 0].float() * 255).round().clamp(0, 255).byte().cpu().numpy()


def as_tensor(image: Grey, device: str) -> Tensor:
    """H W uint8 -> 1 1 H W in [0, 1]."""
    return torch.from_numpy(image).to(device)[None, None].float() / 255


def _row(network: nn.Module, pair: Pair, device: str) -> Pixels:
    thermal, visible = pair.images()
    step = max(1, thermal.shape[1] // SHOWN_WIDTH)
    return np.hstack(
        [image[::step, ::step] for image in (thermal, visible, fused_image(network, thermal, visible, device))]
    )
