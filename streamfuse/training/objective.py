"""Network and loss as one module, whose forward is what a step minimises: the same for one process and for many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from streamfuse.errors import UserError
from streamfuse.models.autoencoder import Autoencoder
from streamfuse.training.crops import Batch, Earlier
from streamfuse.training.losses import CombinedGradientLoss, LossConfig, LossRecord, Previous
from streamfuse.training.settings import Task, TrainConfig

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
TEMPORAL = "temporal"


class Objective(nn.Module):
    """forward(batch, progress) -> `LossRecord`; `progress` is the share of the training that is done.

    Task `fuse`: loss(network(thermal, visible), wanted thermal, wanted visible). Task `reconstruct`: every image of
    either kind is one to be reproduced, loss(network.reconstruct(x), x, x). The network runs in the `narrow` type where
    one is given, the loss never does. With an earlier view the network fuses that, too, and the loss is told.
    """

    def __init__(self, network: nn.Module, loss: CombinedGradientLoss, task: Task, narrow: torch.dtype | None) -> None:
        super().__init__()
        self.network, self.loss, self.task, self.narrow = network, loss, task, narrow

    def forward(self, batch: Batch, progress: float) -> LossRecord:
        if self.task == "reconstruct":
            images = torch.cat((batch.thermal, batch.visible))
            wanted = torch.cat((batch.wanted_thermal, batch.wanted_visible))
            return self.loss(self._run(reconstruction(self.network), images), wanted, wanted, progress=progress)
        previous = self._previous(batch.earlier) if batch.earlier is not None else None
        fused = self._run(self.network, batch.thermal, batch.visible)
        wanted = (batch.wanted_thermal, batch.wanted_visible)
        return self.loss(fused, *wanted, previous=previous, progress=progress)

    @torch.no_grad()
    def _previous(self, earlier: Earlier) -> Previous:
        """What the network makes of the earlier view. Without a slope: the past is given, the present adapts to it."""
        return Previous(self._run(self.network, earlier.thermal, earlier.visible), earlier.flow, earlier.mask)

    def _run(self, network: Callable[..., Tensor], *images: Tensor) -> Tensor:
        with torch.autocast(images[0].device.type, self.narrow, enabled=self.narrow is not None):
            return network(*images).float()


def reconstruction(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network's own `reconstruct`. Raises UserError where it has none."""
    return _autoencoder(network).reconstruct


def _autoencoder(network: nn.Module) -> Autoencoder:
    if not isinstance(network, Autoencoder):
        raise UserError("`task: reconstruct` needs an autoencoder (nestfuse, res2fusion, unfusion); use fuse or auto")
    return network


def fitting_task(config: TrainConfig, network: nn.Module) -> Task:
    """What is trained: as the file says; `auto` reconstructs where the network can."""
    if config.task != "auto":
        return config.task
    return "reconstruct" if isinstance(network, Autoencoder) else "fuse"


def fitting_loss(config: TrainConfig, task: Task) -> LossConfig:
    """The loss to train by. A single image to be reproduced is wanted as it is, veil and all."""
    return config.loss.model_copy(update={"veil": None}) if task == "reconstruct" else config.loss


def fitting_augment(config: TrainConfig, task: Task) -> TrainConfig:
    """Without what the task or the loss has no use for: earlier views, and images that the other one stands in for."""
    temporal = task == "fuse" and config.loss.weights().get(TEMPORAL, 0) > 0
    without = ({} if temporal else {"motion": 0.0}) | ({"blank": 0.0} if task == "reconstruct" else {})
    return config.model_copy(update={"augment": config.augment.model_copy(update=without)})
