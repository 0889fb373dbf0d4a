"""Run files: what ships is valid, and every mistake is told by file, key, value and what is allowed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streamfuse.config import RunConfig, SyntheticConfig, load_run, resolve
from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path

CONFIGS = sorted(path for path in shipped_path("configs").glob("*.yaml") if not path.name.startswith("train"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_run_file_is_valid_and_names_files_that_exist(path):
    config = load_run(path)
    named = [config.rig, getattr(config.source, "thermal", None), getattr(config.source, "rgb", None)]
    assert all(resolve(config, name).exists() for name in named if isinstance(name, str))


MISTAKES = {
    "": ["is empty", "source", "publish"],
    "- source": ["found list"],
    "a: [": ["is not valid YAML in line 1"],
    "fuse: {}": ["`source` is missing"],
    "fuse: {}\nfuse: {}": ["`fuse` is given twice"],
    "source: {kind: synthetic}\nfuze: {}": ["unknown key `fuze` = {}", "did you mean `fuse`?", "publish"],
    "source: {kind: recording, thermal: a, rgb: b, thermall: c}": ["`source.thermall` = 'c'", "`thermal`?", "rate_hz"],
    "source: {kind: synthetic, thermall_bits: 8}": ["`source.thermall_bits` = 8", "did you mean `thermal_bits`?"],
    "source: {kind: film}": ["`source.kind` = 'film'", "'recording', 'synthetic'"],
    "source: {thermal: a}": ["`source.kind` is missing", "'recording', 'synthetic'"],
    "source: {kind: synthetic, thermal_bits: 12}": ["`source.thermal_bits` = 12", "8 or 16"],
    "source: {kind: synthetic}\nmatch: {method: nearest}": ["`match.method` = 'nearest'", "'approximate'", "'latest'"],
    "source: {kind: synthetic}\noutput: {size: [640]}": ["`output.size.1` is missing"],
    "source: {kind: synthetic}\nfuse: {threads: 0}": ["`fuse.threads` = 0", "greater than or equal to 1"],
    "source: {kind: recording, thermal: a, rgb: b, speed: -1}": ["`source.speed` = -1", "greater than 0"],
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:40] or "empty")
def test_a_mistake_names_file_key_value_and_remedy(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_run(path)
    message = str(caught.value)
    assert "mine.yaml" in message
    for part in MISTAKES[text]:
        assert part in message


def test_another_kind_of_file_is_told_in_few_lines():
    with pytest.raises(UserError) as caught:
        load_run(shipped_path("configs/train.yaml"))
    first, *others = str(caught.value).splitlines()
    assert "is this another kind of file? unknown keys model, data, sets, " in first
    assert "allowed here: source, rig, " in first
    assert [line.split(": ", 1)[1] for line in others] == ["`source` is missing"]


def test_several_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("source: {kind: synthetic, sead: 1}\nfuse: {threads: x}\nwho: 1\n")
    with pytest.raises(UserError) as caught:
        load_run(path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"demmo.yaml: no such run file"):
        load_run(tmp_path / "demmo.yaml")


def test_paths_are_relative_to_the_run_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("source: {kind: recording, thermal: data/t, rgb: /abs/v}")
    config = load_run(tmp_path / "mine.yaml")
    assert resolve(config, "data/t") == tmp_path / "data/t"
    assert resolve(config, "/abs/v") == Path("/abs/v")
    assert resolve(config, "shipped:configs/demo.yaml") == shipped_path("configs/demo.yaml")


def test_an_unknown_shipped_file_is_an_error():
    with pytest.raises(UserError, match="does not ship"):
        shipped_path("configs/nothing.yaml")


def test_a_config_is_frozen_and_has_the_documented_defaults():
    config = RunConfig.model_validate({"source": {"kind": "synthetic"}})
    assert isinstance(config.source, SyntheticConfig)
    assert (config.match.method, config.fuse.engine, config.publish.mode) == ("approximate", "auto", "pub")
    with pytest.raises(Exception, match="frozen"):
        config.rig = "other"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["source", "rig", "match", "output", "tone", "fuse", "publish", "ledger", "policy", "x"])


@given(st.dictionaries(keys, json | st.just({"kind": "synthetic"}), max_size=5))
def test_any_document_is_either_valid_or_a_user_error(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with contextlib.suppress(UserError):
        assert load_run(path).source


def test_the_section_of_registration_is_called_register(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("source: {kind: synthetic}\nregister: {correct: off, depth_m: .inf}\n")
    assert load_run(path).registration.correct == "off"
    path.write_text("source: {kind: synthetic}\nregistr: {depth_m: 3}\n")
    with pytest.raises(UserError, match="did you mean `register`"):
        load_run(path)
    path.write_text("source: {kind: synthetic}\nregister: {depth: 3}\n")
    with pytest.raises(UserError, match=r"did you mean `(register\.)?depth_m`"):
        load_run(path)
