"""Weights load only as what their card says they are."""

from __future__ import annotations

import errno
import json
import pickle
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from streamfuse.errors import UserError
from streamfuse.evaluation.scores import COLUMNS
from streamfuse.models import MODELS, build, identity, untrained
from streamfuse.models.streamfuse_s import StreamfuseS
from streamfuse.models.weights import (
    DataSet,
    IdentityCard,
    card_path,
    load_weights,
    parameters,
    read_card,
    save_weights,
)
from streamfuse.offline import fuse_files

COUNT = parameters(StreamfuseS())
SHIPPED = Path(__file__).resolve().parents[2] / "streamfuse" / "weights"


@pytest.fixture
def saved(tmp_path) -> Path:
    torch.manual_seed(5)
    path = tmp_path / "mine.safetensors"
    card = IdentityCard(model="streamfuse-s", parameters=0, data=(DataSet(name="a", pairs=2, licence="CC0"),), steps=7)
    save_weights(path, StreamfuseS(), card)
    return path


def change_card(path: Path, **values: object) -> None:
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**card, **values}))


def test_what_is_saved_comes_back(saved) -> None:
    torch.manual_seed(5)
    network, restored = StreamfuseS(), StreamfuseS()
    card = load_weights(restored, "streamfuse-s", saved)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), restored.parameters(), strict=True))
    assert (card.parameters, card.steps, card.data[0].licence) == (COUNT, 7, "CC0")


def test_a_path_names_its_model_by_its_card(saved) -> None:
    image = torch.rand(1, 1, 20, 24)
    torch.manual_seed(5)
    network = StreamfuseS()
    assert torch.equal(build(str(saved))(image, image), network(image, image))


def test_a_full_disk_keeps_the_old_weights_and_their_card(saved, monkeypatch) -> None:
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}
    card, write, room = read_card(saved), Path.write_bytes, [len(saved.read_bytes()) + 10]

    def write_bytes(path: Path, content: bytes) -> int:
        room[0] -= len(content)
        if room[0] < 0:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    for _ in range(2):  # room for the weights, not for the card; then for neither
        with pytest.raises(UserError, match=r"mine.safetensors: cannot be written: No space left on device"):
            save_weights(saved, StreamfuseS(), card)
        assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["nestfuse", "res2fusion", "residual-dense-m", "streamfuse-s"])
def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path, name) -> None:
    torch.manual_seed(5)
    network, card = untrained(name), IdentityCard(model=name, parameters=0)
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(whole, network, card)
    written = save_weights(half, network, card, half=True)
    assert half.stat().st_size == pytest.approx(whole.stat().st_size / 2, rel=0.1)
    assert written.parameters == parameters(network)
    restored = build(str(half))
    for kept, weight in zip(restored.parameters(), network.parameters(), strict=True):
        assert kept.dtype == torch.float32
        assert torch.equal(kept, weight.detach().half().float())
    thermal, visible = torch.rand(2, 1, 1, 21, 27, generator=torch.Generator().manual_seed(1))
    assert (restored(thermal, visible) - build(str(whole))(thermal, visible)).abs().max() < 2e-3


def test_a_rule_is_chosen_at_a_path_by_name_or_by_card(tmp_path) -> None:
    network, image = untrained("nestfuse"), torch.rand(2, 1, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    for name in ("plain", "max"):
        model = "nestfuse" if name == "plain" else "nestfuse:max"
        save_weights(tmp_path / f"{name}.safetensors", network, IdentityCard(model=model, parameters=0))
    plain, strongest = str(tmp_path / "plain.safetensors"), str(tmp_path / "max.safetensors")
    fused = build(f"{plain}:max")(*image)
    assert torch.equal(build(strongest)(*image), fused)
    assert torch.equal(build(f"{strongest}:average")(*image), build(plain)(*image))
    assert (build(plain)(*image) - fused).abs().max() > 0
    assert identity(f"{plain}:max").startswith("nestfuse:max@")
    with pytest.raises(UserError, match="'nestfuse' has no fusion rule 'l1'"):
        build(f"{plain}:l1")


@pytest.mark.parametrize("name", [name for name in MODELS if name not in {"average", "laplacian"}])
def test_fuse_runs_every_network_from_its_weights_at_an_odd_size(tmp_path, name) -> None:
    torch.manual_seed(5)
    weights = tmp_path / "trained.safetensors"
    save_weights(weights, untrained(name), IdentityCard(model=name, parameters=0), half=True)
    draw = np.random.default_rng(5).integers
    for folder, shape in (("ir", (31, 45)), ("vis", (31, 45, 3))):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "one.png"), draw(0, 256, shape).astype(np.uint8))
    told = fuse_files(
        tmp_path / "ir",
        tmp_path / "vis",
        tmp_path / "out",
        model=str(weights),
        rig=None,
        tone="auto",
        sequence=None,
        stop=threading.Event(),
        console=Console(quiet=True),
    )
    assert told["published"] == 1
    assert told["model"].startswith(f"{name}@")
    assert cv2.imread(str(tmp_path / "out" / "one.png")).shape == (31, 45, 3)


def test_messages_name_weights_by_model_and_hash_never_by_path(saved) -> None:
    assert identity(str(saved)) == f"streamfuse-s@{read_card(saved).sha256[:8]}"
    assert identity("laplacian") == "laplacian"


def test_the_shipped_card_tells_where_the_weights_come_from() -> None:
    card = read_card(SHIPPED / "streamfuse-s.safetensors")
    assert card.parameters == COUNT
    assert card.steps > 100
    assert card.start.startswith("streamfuse-s@")
    assert {"total", *card.loss, "SCD", "VIF", "Qabf"} <= set(card.metrics)
    assert {one.name for one in card.data} == {"msrs", "roadscene", "tno", "m3fd"}
    assert all(one.licence and one.pairs for one in card.data)
    assert "research" in card.terms


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_everything_that_ships_is_small_and_says_what_it_was_trained_on_and_how(path) -> None:
    card = read_card(path)
    assert build(card.model)
    assert card.model == path.stem
    assert path.stat().st_size < 5 << 20
    assert all(one.pairs and "research use only" in one.licence for one in card.data)
    assert not {one.name for one in card.data} & {"llvip", "kaist"}, "their terms rule out commercial use"
    assert "research use" in card.terms
    assert card.loss.keys() - card.metrics.keys() <= {"overshoot"}, "the loss of that name is told as 'overshoot loss'"
    assert card.metrics.keys() >= set(COLUMNS) - {"sky"}, "some cards are older than that figure"
    assert card.command.startswith("streamfuse train configs/")
    assert card.date.startswith("20")


def test_another_file_under_the_same_card_is_refused(saved) -> None:
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(UserError, match="not the file its card describes"):
        build(str(saved))
    saved.write_bytes(bytes(content[:100]))
    with pytest.raises(UserError, match="changed or cut short"):
        build(str(saved))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"parameters": 9}, f"streamfuse-s has {COUNT} parameters, the card says 9"),
        ({"model": "average"}, f"average has 0 parameters, the card says {COUNT}"),
        ({"model": "nonsense"}, "'nonsense' is unknown"),
        ({"parameters": "many"}, "no identity card of weights: parameters"),
    ],
)
def test_a_card_of_something_else_is_refused(saved, values, said) -> None:
    change_card(saved, **values)
    with pytest.raises(UserError, match=said):
        build(str(saved))


def test_weights_of_one_model_are_not_anothers(saved) -> None:
    with pytest.raises(UserError, match=r"asked for the model 'other', its card says 'streamfuse-s'"):
        load_weights(untrained("streamfuse-s"), "other", saved)


def test_weights_of_another_version_with_as_many_parameters_are_refused(tmp_path, saved) -> None:
    other = untrained("streamfuse-s")
    other.renamed = other.stem
    del other.stem
    path = tmp_path / "renamed.safetensors"
    save_weights(path, other, read_card(saved))
    with pytest.raises(UserError, match=r"renamed\.safetensors: these are not weights of this model.*stem"):
        build(str(path))


def test_a_cards_new_fields_are_optional_and_kept(tmp_path, saved) -> None:
    old = json.loads(card_path(saved).read_text())
    del old["loss_name"], old["command"]
    card_path(saved).write_text(json.dumps(old))
    assert (read_card(saved).loss_name, read_card(saved).command) == ("", "")
    change_card(saved, loss_name="CombinedGradientLoss", command="streamfuse train configs/train.yaml")
    assert read_card(saved).loss_name == "CombinedGradientLoss"
    assert read_card(saved).command.startswith("streamfuse train")


def test_missing_files_are_named(saved, tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors: no such weights file; check the path"):
        build(str(tmp_path / "none.safetensors"))
    card_path(saved).unlink()
    with pytest.raises(UserError, match=r"mine\.json.*cannot be read.*a checkpoint has none"):
        build(str(saved))


def test_a_pickle_is_never_opened(saved) -> None:
    import hashlib

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    saved.write_bytes(pickle.dumps(Trap()))
    change_card(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
    with pytest.raises(UserError, match="not weights of this model"):
        build(str(saved))
