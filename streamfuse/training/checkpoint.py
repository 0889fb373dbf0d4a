"""Checkpoints: everything a run needs to go on as if it had not stopped, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from streamfuse.errors import UserError

FORMAT = "2"


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What training changes: the network, the running average of its weights, what optimiser and scaler remember."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def save_checkpoint(path: Path, progress: Progress, step: int, settings: Mapping[str, Any]) -> None:
    """Write the state after `step` steps; `settings` says what the run was asked.

    A reader never sees half a file, and where there is no room for a new one, the old one stays.
    """
    scaler = json.dumps(progress.scaler.state_dict())
    metadata = {"format": FORMAT, "step": str(step), "settings": json.dumps(settings), "scaler": scaler}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(save(_tensors(progress), metadata=metadata))
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        before = "the one before it is kept; " if path.exists() else ""
        raise UserError(
            f"{path}: the checkpoint of step {step} cannot be written: {error.strerror}; {before}"
            "make room and go on with --resume"
        ) from error


def load_checkpoint(path: Path, progress: Progress, settings: Mapping[str, Any]) -> int:
    """Restore a state; how many steps had been done. Raises UserError: no checkpoint, or one of another run."""
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: is no checkpoint of this version of streamfuse; train anew, into another --out")
    _check_settings(path, json.loads(metadata["settings"]), json.loads(json.dumps(settings)))
    try:
        progress.network.load_state_dict(_below("network.", tensors))
        progress.average.load_state_dict(_below("average.", tensors))
        _restore(progress.optimizer, tensors)
        progress.scaler.load_state_dict(json.loads(metadata["scaler"]))
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: does not fit {settings.get('model')} as it is in this version of streamfuse ({reason}); "
            "train anew, into another --out"
        ) from error
    return int(metadata["step"])


def _check_settings(path: Path, saved: dict[str, Any], asked: dict[str, Any]) -> None:
    if saved.get("model") != asked.get("model"):
        raise UserError(f"{path}: is a checkpoint of {saved.get('model')}, asked for {asked.get('model')}")
    other = [name for name in sorted(saved.keys() | asked.keys()) if saved.get(name) != asked.get(name)]
    if other:
        said = ", ".join(f"{name} (then {_short(saved.get(name))}, now {_short(asked.get(name))})" for name in other)
        raise UserError(
            f"{path}: belongs to a run with other settings: {said}; resume with the same, or use another --out"
        )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    opened: Any = safe_open
    try:
        with opened(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint; name the --out of the run to go on with") from None
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
