"""Several processes that train one network: `torchrun --nproc-per-node N -m streamfuse train CONFIG`.

Each draws its own part of every batch; gradients are averaged, so that all hold the same weights after every step.
Alone, everything here does nothing.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from streamfuse.errors import UserError

ALONE = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}
"""What torchrun tells every process in its environment, and what holds without it."""
PATIENCE = datetime.timedelta(hours=6)
"""How long the others wait while the first one judges the network on held-out pairs."""


@dataclass(frozen=True, slots=True)
class World:
    """Who this process is among how many, and the device it computes on."""

    device: str
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """The one that writes files and speaks."""
        return self.rank == 0

    def shared(self, objective: nn.Module) -> nn.Module:
        """`objective`, whose backward pass averages the gradients of all."""
        return objective if self.size == 1 else DistributedDataParallel(objective)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Of every value the mean over all processes; not a number where one's is not."""
        if self.size == 1:
            return dict(values)
        summed = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        return {name: float(summed[index] / self.size) for index, name in enumerate(values)}

    def any(self, asked: bool) -> bool:
        """Whether one of all asks."""
        return self.mean({"asked": float(asked)})["asked"] > 0

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Generator[World]:
    """The processes that torchrun started together with this one, or this one alone.

    `device`: auto, cpu or cuda; each process takes its own GPU. Raises UserError where there is no such device.
    """
    size, rank, local = (int(os.environ.get(name, alone)) for name, alone in ALONE.items())
    chosen = _device(device, local, size)
    if size == 1:
        yield World(chosen)
        return
    if chosen.startswith("cuda"):
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield World(chosen, rank, size)
    finally:
        distributed.destroy_process_group()


def _device(asked: str, local: int, size: int) -> str:
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not seen):
        return "cpu"
    if not seen:
        raise UserError("`device` = 'cuda', but torch sees no GPU here; use cpu or auto")
    if local >= seen:
        raise UserError(
            f"torchrun started more than {local} processes, but torch sees {seen} GPUs: use --nproc-per-node {seen}"
        )
    return "cuda" if size == 1 else f"cuda:{local}"
