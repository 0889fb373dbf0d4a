"""`streamfuse export`: a file that says what is in it, and clear words for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from streamfuse.errors import UserError
from streamfuse.export import export_model

onnx = pytest.importorskip("onnx", reason="pip install 'streamfuse[onnx]'")


def exported(model: str = "average", out: Path | None = None, **options) -> dict:
    asked = {"size": "48x32", "thermal_size": None, "opset": 17, "dynamic": False, **options}
    return export_model(model, out, console=Console(quiet=True), **asked)


def test_it_says_what_it_wrote(tmp_path) -> None:
    told = exported(out=tmp_path / "made" / "average.onnx", thermal_size="40x30", opset=20)
    model = onnx.load(told["file"])
    assert told["bytes"] == (tmp_path / "made" / "average.onnx").stat().st_size
    assert set(told["operators"]) == {node.op_type for node in model.graph.node}
    sides = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
    assert sides == [1, 1, 30, 40]
    assert (told["opset"], told["thermal_size"], told["size"]) == (20, (40, 30), (48, 32))


def test_without_a_name_the_file_is_called_after_model_and_size(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert exported()["file"] == "average-48x32.onnx"
    assert exported(dynamic=True)["file"] == "average-open.onnx"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "averige"}, "average"),
        ({"size": "48"}, "--size"),
        ({"thermal_size": "0x3"}, "--thermal-size"),
        ({"opset": 12}, "opset 12 is not offered"),
        ({"out": Path("file.engine")}, "ends in .onnx"),
        ({"out": Path("/proc/none/file.onnx")}, "cannot be written"),
    ],
)
def test_what_cannot_be_is_the_users_mistake(options, said) -> None:
    with pytest.raises(UserError, match=said):
        exported(**options)
