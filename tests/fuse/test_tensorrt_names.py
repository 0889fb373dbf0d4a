"""TensorRT's interface as we and our fake use it exists in the real bindings, from 8.5 to 11."""

from __future__ import annotations

import ast
import inspect
from enum import EnumMeta
from pathlib import Path

import fake_tensorrt
import pytest

NAMES = {
    path.stem: set(path.read_text().splitlines()[1:])
    for path in Path(__file__).with_name("tensorrt_names").glob("*.txt")
}
HOME = Path(__file__).resolve().parents[2] / "streamfuse" / "fuse" / "tensorrt"

every_version = pytest.mark.parametrize("version", sorted(NAMES))


def owners(version: str) -> set[str]:
    return {name.split(".")[0] for name in NAMES[version]}


def test_the_bindings_of_five_versions_are_written_down() -> None:
    assert set(NAMES) == {"8.5.3", "8.6.1", "10.3.0", "10.15.1", "11.0.0"}
    assert all(len(names) > 300 for names in NAMES.values())


@every_version
def test_the_fake_has_what_a_version_has_and_no_more(version: str) -> None:
    fake = fake_tensorrt.fake(version)
    for name, owner in vars(fake).items():
        if not name.startswith("__"):
            assert name in owners(version)
            assert {f"{name}.{member}" for member in members(owner)} <= NAMES[version] | without_calls(version)


@every_version
def test_the_fake_is_called_as_the_real_one_is(version: str) -> None:
    classes = [each for each in vars(fake_tensorrt).values() if inspect.isclass(each)]
    methods = [
        (each.__name__, name, function)
        for each in classes
        if each.__module__ == "fake_tensorrt" and not isinstance(each, EnumMeta) and each.__name__ in owners(version)
        for name, function in vars(each).items()
        if inspect.isfunction(function) and not name.startswith("_")
    ]
    assert len(methods) > 15
    for owner, name, function in methods:
        taken = list(inspect.signature(function).parameters)[1:]
        real = [found for found in NAMES[version] if found.startswith(f"{owner}.{name}(")]
        assert real, f"{owner}.{name} is no method in {version}"
        assert any(found.startswith(f"{owner}.{name}({', '.join(taken)}") for found in real), (real, taken)


@every_version
def test_every_name_of_the_library_that_our_code_says_exists_or_is_asked_for_first(version: str) -> None:
    used = {name for path in HOME.glob("*.py") for name in library_names(path)}
    assert {("Builder", ""), ("Runtime", ""), ("BuilderFlag", "TF32"), ("DataType", "FLOAT")} <= used
    asked_for = {"IProgressMonitor", "IInt8EntropyCalibrator2", "EXPLICIT_BATCH", "STRONGLY_TYPED"}
    for owner, member in used:
        if owner in {"__version__", "dynamo"}:  # of the library itself; of torch-tensorrt
            continue
        assert owner in owners(version) | asked_for, owner
        if member and member not in asked_for:
            assert f"{owner}.{member}" in NAMES[version], f"{owner}.{member} is not in {version}"


def test_what_is_asked_for_first_is_there_in_some_versions_and_not_in_others() -> None:
    def having(name: str) -> set[str]:
        return {version for version in NAMES if any(found.startswith(name) for found in NAMES[version])}

    assert having("IProgressMonitor.step_complete(phase_name, step)") == {"10.3.0", "10.15.1", "11.0.0"}
    assert having("IInt8EntropyCalibrator2.get_batch(names)") == {"8.5.3", "8.6.1", "10.3.0", "10.15.1"}
    assert having("NetworkDefinitionCreationFlag.STRONGLY_TYPED") == {"10.3.0", "10.15.1", "11.0.0"}
    assert having("BuilderFlag.FP16") == {"8.5.3", "8.6.1", "10.3.0", "10.15.1"}
    assert having("IBuilderConfig.int8_calibrator") == {"8.5.3", "8.6.1", "10.3.0", "10.15.1"}


def members(owner: object) -> list[str]:
    """What a fake class shows, in the form in which names are written down: enumerators, properties, constants."""
    if isinstance(owner, EnumMeta):
        return list(owner.__members__)
    known = {"refuses", "fails", "built", "host_tensors"}
    return [name for name, value in vars(owner).items() if not name.startswith("_") and name not in known | {"log"}]


def without_calls(version: str) -> set[str]:
    return {name.split("(")[0] for name in NAMES[version]}


def library_names(path: Path) -> set[tuple[str, str]]:
    """`library.Owner` and `library.Owner.member` in a file's code."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="library"), attr=owner), attr=member):
                found.add((owner, member))
            case ast.Attribute(value=ast.Name(id="library"), attr=owner):
                found.add((owner, ""))
            case _:
                pass
    return found
