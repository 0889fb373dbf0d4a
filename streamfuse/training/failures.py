"""What is left of a run that fails: the batch on which the loss stopped being a number, and advice when memory ends."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from streamfuse.errors import UserError
from streamfuse.frames import Pixels
from streamfuse.training.crops import Batch
from streamfuse.training.settings import TrainConfig
from streamfuse.triptych import write_image

CPU_REFUSES = "can't allocate memory"


class TrainingFailed(UserError):
    """A training that began went wrong on its way: other settings may do better."""


def keep_batch(path: Path, batch: Batch, step: int, terms: Mapping[str, float]) -> None:
    """Write `path`.safetensors (every image, with step and terms) and `path`.png to look at.

    The picture has a row per image: thermal and visible as given, then as wanted.
    """
    tensors = {name: image.detach().cpu().contiguous() for name, image in batch.tensors().items()}
    said = {"step": str(step), "terms": json.dumps(dict(terms))}
    try:
        path.with_suffix(".safetensors").write_bytes(save(tensors, metadata=said))
    except OSError as error:
        raise UserError(f"{path}: the batch of step {step} cannot be written: {error.strerror}") from error
    write_image(path.with_suffix(".png"), _picture(batch))


@contextmanager
def memory_advice(config: TrainConfig, kept: Path) -> Generator[None]:
    """Turns the end of memory into a TrainingFailed that says what to lower, and what is kept."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_out_of_memory(error):
            raise
        less = "" if config.precision != "fp32" else ", or set `precision: bf16`"
        saved = f"; {kept} is kept, but other settings need another --out" if kept.exists() else ""
        raise TrainingFailed(
            f"out of memory while training {config.model} with batch {config.batch}, crop {config.crop}, "
            f"{config.precision}: lower `batch` or `crop`{less}{saved}"
        ) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or CPU_REFUSES in str(error)


def _picture(batch: Batch) -> Pixels:
    columns = (batch.thermal, batch.visible, batch.wanted_thermal, batch.wanted_visible)
    images: list[NDArray[np.float32]] = [
        image[:, 0].detach().cpu().nan_to_num().clamp(0, 1).numpy() for image in columns
    ]
    return np.hstack([np.rint(np.vstack(tuple(image)) * 255).astype(np.uint8) for image in images])
