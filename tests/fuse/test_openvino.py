"""The compiled engine's own promises: what is compiled when, what is kept on disk, what leaves the machine."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fusion_scenes import rgb_frame, thermal_frame, warp

from streamfuse.errors import EngineError
from streamfuse.fuse import openvino
from streamfuse.fuse.openvino import OpenVinoEngine
from streamfuse.models import build, untrained
from streamfuse.thermal import ToneMapper

THERMAL, RGB = thermal_frame((31, 23)).pixels, rgb_frame((45, 37)).pixels
CURVE = ToneMapper().update(THERMAL, 0)
GEOMETRY = warp((31, 23), (45, 37))
PLANE = np.zeros((1, 1, 32, 32), np.float32)


@pytest.fixture
def compiling(monkeypatch) -> list[str]:
    """What was compiled, in order."""
    seen: list[str] = []
    real = openvino.converted
    monkeypatch.setattr(openvino, "converted", lambda *a: seen.append(type(a[0]).__name__) or real(*a))
    return seen


@pytest.fixture(scope="module")
def once_built(tmp_path_factory) -> Path:
    cache = tmp_path_factory.mktemp("once-built")
    started(cache)
    return cache


@pytest.fixture
def built(once_built, tmp_path) -> Path:
    """A cache folder of its own that holds the average model."""
    return Path(shutil.copytree(once_built, tmp_path / "built"))


def started(cache: Path, model: str = "average", **options) -> OpenVinoEngine:
    engine = OpenVinoEngine(build(model), cache=cache, **options)
    engine.set_warp(GEOMETRY)
    return engine


def fused(engine: OpenVinoEngine) -> np.ndarray:
    return engine.fuse(THERMAL, CURVE, RGB)


def test_the_second_start_compiles_nothing_and_gives_the_same(tmp_path, compiling, caplog) -> None:
    caplog.set_level(logging.INFO)
    first = fused(started(tmp_path))
    assert "compiling the fusion graph" in caplog.text
    assert compiling == ["PlanarGraph", "AlignedGraph"]
    again = started(tmp_path)
    assert len(compiling) == 2
    assert np.array_equal(fused(again), first)
    assert again.name == "openvino-fp32"


def test_neither_a_new_map_nor_a_new_curve_compiles_anything(built, compiling) -> None:
    engine = started(built)
    before = fused(engine)
    engine.set_warp(warp((31, 23), (45, 37), tilt=-0.4, revision=1))
    turned = fused(engine)
    darker = engine.fuse(THERMAL, ToneMapper("linear").update(THERMAL // 2, 0), RGB)
    assert compiling == []
    assert not np.array_equal(before, turned)
    assert not np.array_equal(turned, darker)


def test_another_size_model_precision_or_weight_is_another_file(built, compiling) -> None:
    started(built).set_warp(warp((31, 23), (48, 37)))
    started(built, precision="fp32")
    started(built, "streamfuse-s", precision="fp32")
    other = OpenVinoEngine(untrained("streamfuse-s").eval(), cache=built, precision="fp32")
    other.set_warp(GEOMETRY)
    assert compiling.count("PlanarGraph") == 4
    assert other.name == "openvino-fp32"
    assert len(list(built.glob("openvino-fusion-*.engine"))) == 5


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_by_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_by_emptying(path: Path) -> None:
    path.write_bytes(b"")


def damage_by_mixing_up(path: Path) -> None:
    other = next(each for each in sorted(path.parent.glob("*.engine")) if each != path)
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_one_bit, damage_by_emptying, damage_by_mixing_up])
def test_a_damaged_file_is_refused_by_name_and_built_again(built, compiling, caplog, damage) -> None:
    right = fused(started(built))
    path = next(built.glob("openvino-fusion-*.engine"))
    damage(path)
    assert np.array_equal(fused(started(built)), right)
    assert compiling == ["PlanarGraph"]
    assert f"{path} is refused" in caplog.text
    started(built)
    assert compiling == ["PlanarGraph"]


def test_a_file_that_openvino_cannot_read_is_refused(built, compiling, caplog) -> None:
    engine = started(built)
    inputs = engine._buffers.fusion
    file = openvino.engine_file("openvino-fusion", engine._made_from(engine._fusing, inputs), built)
    file.write(b"whole and signed, yet no graph")
    assert np.array_equal(fused(started(built)), fused(engine))
    assert "OpenVINO cannot read it" in caplog.text
    assert compiling == ["PlanarGraph"]


def test_where_nothing_can_be_written_it_works_all_the_same(tmp_path, caplog) -> None:
    place = tmp_path / "taken"
    place.write_text("a file where the folder should be")
    assert fused(started(place)).shape == (37, 45, 3)
    assert "cannot be written" in caplog.text


def test_old_engines_make_room(tmp_path, monkeypatch) -> None:
    from streamfuse.fuse import engine_files

    monkeypatch.setattr(engine_files, "KEPT", 3)
    files = [engine_files.engine_file("kind", {"number": str(k)}, tmp_path) for k in range(5)]
    for file in files:
        file.write(b"content")
    assert len(list(tmp_path.iterdir())) == 3
    assert files[-1].read() == b"content"


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch) -> None:
    from streamfuse.fuse.engine_files import cache_folder

    monkeypatch.setenv("STREAMFUSE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("STREAMFUSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "streamfuse"


def test_it_keeps_to_its_threads(built) -> None:
    compiled = started(built, threads=1)._fusion.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1


def test_nothing_is_reported_to_the_makers_of_openvino() -> None:
    script = (
        "import sys; from streamfuse.fuse.openvino import load_openvino; load_openvino().convert_model; "
        "import openvino.tools.ovc; sys.exit(sys.modules.get('openvino_telemetry') is not None)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False).returncode == 0


class Unsupported(torch.nn.Module):
    """Nothing that OpenVINO can read."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(image)


def test_a_graph_that_cannot_be_read_does_not_silence_the_log(caplog) -> None:
    with pytest.raises(Exception, match="svd"):
        openvino.converted(Unsupported(), {"image": PLANE})
    logging.getLogger("streamfuse").warning("ours")
    logging.getLogger("another").warning("and theirs")
    assert "ours" in caplog.text
    assert "and theirs" in caplog.text


def test_what_we_say_while_a_graph_is_read_is_heard(monkeypatch, caplog) -> None:
    def silencing(_: object) -> None:
        logging.getLogger().setLevel(logging.ERROR)  # as the real one does
        logging.getLogger("streamfuse.fuse").warning("meanwhile")
        raise EngineError("enough")

    monkeypatch.setattr(openvino.load_openvino(), "convert_model", silencing)
    with pytest.raises(EngineError, match="enough"):
        openvino.converted(build("average"), {"thermal": PLANE, "visible": PLANE})
    assert "meanwhile" in caplog.text
