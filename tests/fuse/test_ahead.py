"""`streamfuse compile`: what it builds, what it says of it, and what it refuses with the remedy."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress
from test_tensorrt import installed
from typer.testing import CliRunner

from streamfuse.commands import app
from streamfuse.errors import EngineError, UserError
from streamfuse.fuse import ahead, available, rungs
from streamfuse.fuse.ahead import compile_ahead, size_of
from streamfuse.fuse.streams import NoStreams


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("STREAMFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("streamfuse.fuse.openvino.hash_of_code", lambda: "code")


def compiled(**changes):
    asked = {
        "engine": "openvino",
        "size": (45, 37),
        "thermal_size": (31, 23),
        "precision": "fp32",
        "calibration": None,
        "console": Console(file=io.StringIO()),
    }
    return compile_ahead("average", **{**asked, **changes})


def test_what_was_built_is_found_by_the_second_time_and_told_with_place_and_size() -> None:
    first, second = compiled(), compiled()
    assert (first["engine"], first["size"], first["thermal_size"]) == ("openvino-fp32", [45, 37], [31, 23])
    assert [file["path"] for file in first["files"]] == [file["path"] for file in second["files"]]
    assert len(first["files"]) == 2
    for file in first["files"]:
        assert file["built"]
        assert Path(file["path"]).stat().st_size == file["bytes"] > 0


def test_a_file_that_was_there_is_not_said_to_be_built(monkeypatch) -> None:
    compiled()
    later = ahead.time.time() + 60
    monkeypatch.setattr(ahead.time, "time", lambda: later)
    assert [file["built"] for file in compiled()["files"]] == [False, False]


def test_a_run_with_the_same_sizes_finds_what_was_built(monkeypatch) -> None:
    from fusion_scenes import pair, rgb_frame, thermal_frame, warp

    from streamfuse.fuse import open_fuser, openvino

    compiled()
    monkeypatch.setattr(openvino, "converted", lambda *_: pytest.fail("it was compiled again"))
    with open_fuser(model="average", engine="openvino", precision="fp32") as fuser:
        fuser.fuse(pair(thermal_frame((31, 23)), rgb_frame((45, 37)), warp((31, 23), (45, 37))))


def test_tensorrt_is_built_with_progress_from_recorded_pairs(monkeypatch, tmp_path) -> None:
    from streamfuse.fuse import tensorrt

    fake = installed(monkeypatch, "10.15.1")
    monkeypatch.setattr(available, "cuda_lacks", lambda: "")
    monkeypatch.setattr(tensorrt, "cuda_lacks", lambda: "")
    monkeypatch.setattr(tensorrt, "CudaStreams", NoStreams)
    heard = []
    monkeypatch.setattr(Progress, "update", lambda *_, **told: heard.append(told["description"]))
    folders = tmp_path / "thermal", tmp_path / "visible"
    for folder in folders:
        folder.mkdir()
        for name in ("a.png", "b.png"):
            cv2.imwrite(str(folder / name), np.full((37, 45), 90, np.uint8))
    told = compiled(engine="tensorrt", precision="int8", calibration=folders)
    assert told["engine"] == "tensorrt-int8"
    assert len(fake.Builder.built[0].calibrated) == 2
    assert "Building" in heard
    assert {Path(file["path"]).name.rsplit("-", 1)[0] for file in told["files"]} == {"tensorrt", "tensorrt-timings"}


@pytest.mark.parametrize("engine", ["tensorrt", "inductor"])
def test_what_is_missing_is_told_with_the_remedy(monkeypatch, engine: str) -> None:
    monkeypatch.setattr(available, "cuda_lacks", lambda: available.NO_DEVICE)
    with pytest.raises(EngineError, match=rf"{engine} cannot be built here: .*no device; install the NVIDIA driver"):
        compiled(engine=engine)


def test_auto_takes_the_best_that_is_here(monkeypatch) -> None:
    monkeypatch.setattr(rungs, "lacks", lambda name: "gone" if name in {"tensorrt", "inductor"} else "")
    assert compiled(engine="auto", precision="auto")["engine"].startswith("openvino")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "eager"}, "there is nothing to compile"),
        ({"precision": "fp16"}, "engine openvino does not compute in fp16"),
        ({"calibration": (Path("a"), Path("b"))}, "--calibration is for --precision int8 of tensorrt and openvino"),
        ({"engine": "cuda"}, "engine 'cuda' is unknown"),
    ],
)
def test_what_cannot_be_asked_for_is_a_users_error(changes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        compiled(**changes)


@pytest.mark.parametrize("text", ["640", "640x", "0x512", "640x512x3", "640,512", "-640x512", "6400000x1"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--size .* is no size; write width x height"):
        size_of(text, "--size")


def test_the_command_ends_in_one_json_line() -> None:
    ran = CliRunner().invoke(
        app, ["compile", "average", "--size", "45x37", "--thermal-size", "31x23", "--engine", "openvino", "--json"]
    )
    assert ran.exit_code == 0
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["model"] == "average"
    assert told["seconds"] > 0
    assert size_of("640x512", "--size") == (640, 512)
