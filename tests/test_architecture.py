"""The map holds: who may import whom, where heavy libraries live, how long files and functions may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "streamfuse"
FILES = sorted(PACKAGE.rglob("*.py"))
HOMES = {  # a heavy library -> the only places that may import it
    "openvino": {"fuse"},
    "tensorrt": {"fuse"},
    "torch_tensorrt": {"fuse"},
    "nncf": {"fuse"},
    "onnx": {"fuse"},
    "torch": {"fuse", "models", "training", "evaluation", "doctor", "bench", "roofline"},
    "matplotlib": {"evaluation", "bench", "roofline", "calibrate"},
    "av": {"sources"},
    "zmq": {"publish", "subscribe", "sockets", "outbox", "keys", "curve", "handshakes", "depthlink", "doctor", "bench"},
    "typer": {"commands", "calibrate", "depthlink", "terminal"},
    "gi": {"sources", "doctor"},
    "yaml": {"yamlfile"},
}
STAGES = {"sync", "register", "thermal", "wire", "timing", "frames", "rig", "lens", "distortion", "warp", "ledger"}
OUTSIDE = {"pipeline", "assemble", "capture", "config", "demo", "live", "publish", "sources", "commands"}


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_have_one_home(path):
    roots = {name.split(".")[0] for name in imports(path)}
    astray = {library for library, homes in HOMES.items() if library in roots and place(path) not in homes}
    assert not astray, f"{path.name} imports {astray}"


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_knows_nothing_of_threads_sockets_and_what_is_around_it(stage):
    paths = [path for path in FILES if place(path) == stage]
    assert paths, f"{stage} is gone; take it off the list"
    around = {f"streamfuse.{name}" for name in OUTSIDE}
    for path in paths:
        used = imports(path)
        assert not used & around, f"{path.name} imports {used & around}"
        allowed_threads = {"register", "ledger"}  # rebuilds its map in the background; counts for the sending thread
        assert stage in allowed_threads or "threading" not in used


def test_the_runtime_never_imports_training():
    runtime = [path for path in FILES if place(path) not in {"training", "commands"}]
    assert not [str(path) for path in runtime if any(name.startswith("streamfuse.training") for name in imports(path))]


def test_the_pipeline_knows_calibration_by_its_rig_files_only():
    others = [path for path in FILES if place(path) not in {"calibrate", "commands"}]
    assert not [str(path) for path in others if any(name.startswith("streamfuse.calibrate") for name in imports(path))]


def test_no_module_is_named_for_nothing():
    refused = {"utils", "common", "helpers", "core", "base", "manager", "misc"}
    assert not [path for path in FILES if refused & set(path.relative_to(PACKAGE).with_suffix("").parts)]


def test_files_and_functions_stay_short():
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > 400}
    functions = {
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: count for name, count in functions.items() if count > 50}
    assert sorted(functions.values())[len(functions) // 2] <= 12
    assert sorted(lines.values())[len(lines) // 2] <= 150


def test_no_two_test_files_share_a_name():
    """pytest imports them by it: the second stops the whole suite, though each runs alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_every_module_says_what_it_is():
    silent = [
        str(path) for path in FILES if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent
