"""Trained weights: a safetensors file and, beside it, the identity card that says where it comes from.

Nothing is loaded that is not what its card says: the model's name, its number of parameters and the file's hash are
checked first. No pickle is ever read. It knows nothing of how weights are trained.
"""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from streamfuse.errors import UserError


class DataSet(BaseModel):
    """One set that a network was trained on, and on what terms its publisher gives it."""

    model_config = ConfigDict(frozen=True)

    name: str
    pairs: int
    licence: str


class IdentityCard(BaseModel):
    """Who a weights file is. `metrics` are means over the held-out scenes of the same sets."""

    model_config = ConfigDict(frozen=True)

    model: str
    parameters: int
    sha256: str = ""  # of the weights file
    start: str = ""  # the weights that it was trained on from, and how they were trained; "" = from scratch
    loss_name: str = ""
    loss: dict[str, float] = {}  # weight of every term
    data: tuple[DataSet, ...] = ()
    validation_pairs: int = 0
    metrics: dict[str, float] = {}
    seed: int = 0
    steps: int = 0
    date: str = ""
    command: str = ""  # that trains such weights again
    terms: str = ""


def parameters(network: nn.Module) -> int:
    """How many numbers training sets."""
    return sum(weight.numel() for weight in network.parameters())


def save_weights(path: Path, network: nn.Module, card: IdentityCard, *, half: bool = False) -> IdentityCard:
    """Write `path` and its card; the card as written, with its hash. Raises UserError where that cannot be done.

    Where there is no room for both, what was there before stays.
    `half`: stored as float16, half the size at a relative error of 2^-11; loaded they are float32 again.
    """
    content = save({name: _stored(tensor, half) for name, tensor in network.state_dict().items()})
    card = card.model_copy(update={"sha256": hashlib.sha256(content).hexdigest(), "parameters": parameters(network)})
    said = f"{card.model_dump_json(indent=2)}\n".encode()
    files = {path: content, card_path(path): said}
    unfinished = {file: file.with_name(f".{file.name}.unfinished") for file in files}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, written in unfinished.items():
            written.write_bytes(files[file])
        for file, written in unfinished.items():
            written.replace(file)
    except OSError as error:
        for written in unfinished.values():
            written.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return card


def read_card(path: Path) -> IdentityCard:
    """The card of the weights at `path`. Raises UserError where either is missing, or it is no card."""
    if not path.exists():
        raise UserError(f"{path}: no such weights file; check the path (relative to {Path.cwd()})")
    card = card_path(path)
    try:
        return IdentityCard.model_validate_json(card.read_bytes())
    except OSError as error:
        raise UserError(
            f"{card}: the identity card of {path.name} cannot be read: {error.strerror}; "
            "weights lie beside their card (a checkpoint has none: it is resumed, not run)"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"{card}: no identity card of weights: {where}: {first['msg']}") from error


def load_weights(network: nn.Module, name: str, path: Path) -> IdentityCard:
    """Put the weights at `path` into `network`, which is the model called `name`; its card.

    A fusion rule named after a colon has no weights and does not matter here.
    Raises UserError where file and card, or card and model, do not belong together.
    """
    card = read_card(path)
    if _plain(card.model) != _plain(name):
        raise UserError(f"{path}: asked for the model {name!r}, its card says {card.model!r}")
    if card.parameters != parameters(network):
        raise UserError(
            f"{path}: {name} has {parameters(network)} parameters, the card says {card.parameters}: "
            "these weights are of another version of the model; train again or fetch the matching release"
        )
    _fill(network, _checked_content(path, card), path)
    return card


def card_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _plain(model: str) -> str:
    return model.partition(":")[0]


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _checked_content(path: Path, card: IdentityCard) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the weights cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise UserError(
            f"{path}: is not the file its card describes (sha256 {found[:12]}..., card {card.sha256[:12]}...); "
            "it was changed or cut short: fetch file and card again"
        )
    return content


def _fill(network: nn.Module, content: bytes, path: Path) -> None:
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        said = textwrap.shorten(str(error), 300)  # one line, however many layers differ
        raise UserError(f"{path}: these are not weights of this model: {said}") from error
