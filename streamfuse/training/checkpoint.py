"""Checkpoints: everything a run needs to go on as if it had not stopped, in one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from streamfuse.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What training changes: the network, the running average of its weights, and what the optimiser remembers."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer


def save_checkpoint(path: Path, progress: Progress, step: int, settings: str) -> None:
    """Write the state after `step` steps; `settings` says what the run was asked. A reader never sees half a file."""
    metadata = {"step": str(step), "settings": settings}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(save(_tensors(progress), metadata=metadata))
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path}: the checkpoint cannot be written: {error.strerror}") from error


def load_checkpoint(path: Path, progress: Progress, settings: str) -> int:
    """Restore a state; how many steps had been done. Raises UserError: no checkpoint, or one of another run."""
    metadata, tensors = _read(path)
    if metadata.get("settings") != settings:
        raise UserError(
            f"{path}: belongs to a run with other settings; resume with the same file, or use another --out"
        )
    try:
        progress.network.load_state_dict(_below("network.", tensors))
        progress.average.load_state_dict(_below("average.", tensors))
        _restore(progress.optimizer, tensors)
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{path}: is not a checkpoint of this network: {error}") from error
    return int(metadata["step"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    opened: Any = safe_open
    try:
        with opened(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be resumed: {error}") from error


def _tensors(progress: Progress) -> dict[str, Tensor]:
    named = {f"network.{name}": tensor for name, tensor in progress.network.state_dict().items()}
    named |= {f"average.{name}": tensor for name, tensor in progress.average.state_dict().items()}
    for index, remembered in progress.optimizer.state_dict()["state"].items():
        named |= {f"optimizer.{index}.{key}": value for key, value in remembered.items()}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimizer.", tensors).items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
