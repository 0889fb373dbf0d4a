"""Weights load only as what their card says they are."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from streamfuse.errors import UserError
from streamfuse.models import build, identity, untrained
from streamfuse.models.streamfuse_s import StreamfuseS
from streamfuse.models.weights import DataSet, IdentityCard, card_path, load_weights, read_card, save_weights

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
    assert (card.parameters, card.steps, card.data[0].licence) == (8949, 7, "CC0")


def test_a_path_names_its_model_by_its_card(saved) -> None:
    image = torch.rand(1, 1, 20, 24)
    torch.manual_seed(5)
    network = StreamfuseS()
    assert torch.equal(build(str(saved))(image, image), network(image, image))


def test_messages_name_weights_by_model_and_hash_never_by_path(saved) -> None:
    assert identity(str(saved)) == f"streamfuse-s@{read_card(saved).sha256[:8]}"
    assert identity("laplacian") == "laplacian"


def test_the_shipped_card_tells_where_the_weights_come_from() -> None:
    card = read_card(SHIPPED / "streamfuse-s.safetensors")
    assert card.parameters == 8949
    assert card.steps > 1000
    assert {"total", "intensity", "gradient", "structure"} <= set(card.metrics)
    assert {one.name for one in card.data} == {"msrs", "roadscene", "tno", "m3fd"}
    assert all(one.licence and one.pairs for one in card.data)
    assert "research" in card.terms


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
        ({"parameters": 9}, "streamfuse-s has 8949 parameters, the card says 9"),
        ({"model": "average"}, "average has 0 parameters, the card says 8949"),
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


def test_missing_files_are_named(saved, tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.json.*cannot be read"):
        build(str(tmp_path / "none.safetensors"))
    saved.unlink()
    with pytest.raises(UserError, match=r"mine\.safetensors: the weights cannot be read"):
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
