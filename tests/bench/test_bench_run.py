"""The benchmark as it runs: one short cell from schedule to page, what cannot run, interruption, and the plain loop."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from rich.console import Console

from streamfuse.bench.child import answer
from streamfuse.bench.children import run_child
from streamfuse.bench.compare import compare_files
from streamfuse.bench.figures import measured, table
from streamfuse.bench.matrix import Cell, Protocol
from streamfuse.bench.measure import measure, run_config
from streamfuse.bench.offered import draw, offer
from streamfuse.bench.opening import first_pair
from streamfuse.bench.plain import PlainLoop, newest_due
from streamfuse.bench.schedule import Schedule
from streamfuse.frames import Modality

SMALL = {"model": "average", "engine": "eager", "size": "96x64", "thermal_size": "64x48", "rgb_size": "96x64"}
SHORT = Protocol(seconds=2, repeats=1, warmup_s=0.2, warmup_frames=5)


def command(*arguments, **options):
    return [sys.executable, "-m", "streamfuse", *map(str, arguments)], {"text": True, **options}


def write(folder: Path, text: str) -> Path:
    path = folder / "bench.yaml"
    path.write_text(text)
    return path


def test_a_short_cell_from_schedule_to_page(tmp_path):
    cells = f"cells:\n  - {json.dumps(SMALL)}\n  - {{engine: warp-drive}}\n"
    config = write(tmp_path, "protocol: {seconds: 2, repeats: 1, warmup_s: 0.2, warmup_frames: 5}\n" + cells)
    line, options = command("bench", config, "--out", tmp_path / "out", "--json", capture_output=True, timeout=120)
    done = subprocess.run(line, **options, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told == json.loads((tmp_path / "out/result.json").read_text())
    first, second = told["cells"]
    (once,) = first["repeats"]
    assert once["frames"]["offered"] == once["frames"]["fused"] + once["frames"]["alone"] + once["frames"]["missing"]
    assert once["frames"]["fused"] > 40
    assert once["balanced"]
    assert once["residual_percent"] <= 2
    assert list(once["stages_ms"])[-1] == "received"
    total = sum(stage["mean"] for stage in once["stages_ms"].values())
    assert total == pytest.approx(once["latency_ms"]["mean"], rel=0.02)
    assert once["latency_ms"]["p99.9"] is None
    assert once["engine"] == "eager"
    assert once["cpu"]["ms_per_frame"]["graph"] < once["cpu"]["ms_per_frame"]["all"]
    assert (second["status"], "warp-drive" in second["reason"]) == ("skipped", True)
    assert "warp-drive" in done.stderr.partition("not measured")[2]
    assert set(once["inside_ms"]) == {"warp", "network", "colour"}
    inside = sum(part["mean"] for part in once["inside_ms"].values())
    assert 0 < inside <= once["stages_ms"]["computed"]["mean"]
    assert "network" in done.stderr.partition("inside the stage")[2]
    assert told["machine"]["packages"]["numpy"] == np.__version__
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.html", "latency_cdf.png", "stages.png"}
    same = compare_files(*[tmp_path / "out/result.json"] * 2, anyway=False, console=Console(file=io.StringIO()))
    assert (same["better"], same["worse"]) == (0, 0)


def test_a_consumer_thread_needs_no_network_and_loses_nothing():
    told = measure(Cell.model_validate({**SMALL, "transport": "thread"}), SHORT)
    assert told["frames"]["fused"] + told["frames"]["alone"] == told["frames"]["offered"]
    assert told["dropped"]["outputs"] == {}
    assert told["faults"] == []


def test_the_thermal_cameras_phase_is_the_skew_that_is_told():
    told = measure(Cell.model_validate({**SMALL, "transport": "thread", "phase_ms": 5}), SHORT)
    assert told["skew_ms"]["p50"] == 5
    assert told["latency_ms"]["p50"] > 5
    assert told["frames"]["fused"] > 40


@pytest.mark.parametrize("camera", ["thermal", "rgb"])
def test_with_one_camera_every_output_is_its_own(camera):
    told = measure(Cell.model_validate({**SMALL, "cameras": camera, "phase_ms": 5}), SHORT)
    assert told["faults"] == []
    assert told["frames"]["fused"] > 20
    assert told["frames"]["alone"] == 0
    assert told["frames"]["fused"] + told["frames"]["missing"] == told["frames"]["offered"]
    assert told["skew_ms"]["n"] == 0
    assert list(told["stages_ms"])[-1] == "received"
    assert {name for name, count in told["dropped"]["lone"].items() if count} == {camera}


def test_peers_are_skipped_beside_a_first_cell_with_one_camera():
    request = {"kind": "plain", "cell": {**SMALL, "cameras": "rgb"}, "protocol": SHORT.model_dump(), "raw": "no.npz"}
    assert "the first cell of this file has one" in answer({**request, "all_threads": False})["skipped"]


def test_an_encrypted_cell_is_measured_or_skipped_where_libzmq_cannot(monkeypatch):
    cell = {**SMALL, "transport": "curve", "subscribers": 2}
    if zmq.has("curve"):
        told = measure(Cell.model_validate(cell), SHORT)
        assert told["faults"] == []
        assert told["frames"]["fused"] > 20
        assert len(told["subscribers_p99_ms"]) == 2
    monkeypatch.setattr(zmq, "has", lambda what: what != "curve")
    request = {"kind": "cell", "cell": cell, "protocol": SHORT.model_dump(), "raw": "unused.npz"}
    assert "built without CURVE" in answer(request)["skipped"]


def test_a_stall_charges_every_frame_behind_it(monkeypatch, tmp_path):
    """While nothing is fused for half a second 15 frames come: each is late or lost, none is left out."""
    from streamfuse.bench.meter import MeteredEngine

    fuse, calls = MeteredEngine.fuse, []

    def stalling(self, *arguments):
        calls.append(1)
        if len(calls) == 25:
            time.sleep(0.5)
        return fuse(self, *arguments)

    monkeypatch.setattr(MeteredEngine, "fuse", stalling)
    told = measure(Cell.model_validate({**SMALL, "transport": "thread"}), SHORT, tmp_path / "raw.npz")
    with np.load(tmp_path / "raw.npz") as raw:
        late = int((raw["latency"] > 50_000_000).sum())
    lost = told["frames"]["offered"] - told["frames"]["fused"]
    assert late + lost >= 12
    assert told["residual_percent"] <= 2
    assert told["queue_frames"]["max"] >= 5


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"engine": "warp-drive"}, "warp-drive"),
        ({"model": "nothing"}, "nothing"),
        ({"precision": "fp1"}, "fp1"),
    ],
)
def test_what_the_machine_lacks_is_skipped_with_the_reason(tmp_path, cell, said):
    raw = str(tmp_path / "unused.npz")
    request = {"kind": "cell", "cell": {**SMALL, **cell}, "protocol": SHORT.model_dump(), "raw": raw}
    assert said in answer(request)["skipped"]


def test_a_process_that_breaks_is_told_with_its_last_words():
    told = run_child({"kind": "cell", "cell": {"no": "cell"}}, limit_s=60, stop=threading.Event(), tick=lambda _: None)
    assert "ValidationError" in told["failed"] or "Extra inputs" in told["failed"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc")
def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(tmp_path):
    config = write(
        tmp_path,
        "protocol: {seconds: 1, repeats: 1, warmup_s: 0.2, warmup_frames: 5}\n"
        f"cells:\n  - {json.dumps(SMALL)}\nsweep: {{cell: {json.dumps(SMALL)}, rates_hz: [20, 30], seconds: 500}}\n",
    )
    line, options = command("bench", config, "--out", tmp_path / "out", "--json")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    wait_for(lambda: measuring(process.pid))
    measuring_the_cell = measuring(process.pid)
    wait_for(lambda: measuring(process.pid) - measuring_the_cell)
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    told = json.loads(said.strip().splitlines()[-1])
    assert told["stopped"]
    assert told["cells"][0]["status"] == "measured"
    assert set(told["sweep"]["skipped"]) == {"20", "30"}
    assert children
    assert not [pid for pid in children if alive(pid)]


def wait_for(happened, timeout_s=60.0):
    give_up = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.05)


def measuring(pid: int) -> set[int]:
    """The children that measure; the benchmark also asks `git` and the like about the machine."""
    return {child for child in children_of(pid) if "streamfuse.bench.child" in command_line(child)}


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended
        return ""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_cameras_hand_over_on_the_schedule_and_show_the_same_pictures_again():
    pictures = draw(Cell.model_validate(SMALL), seed=3)
    assert (len(pictures.thermal), pictures.thermal[0].dtype, pictures.rgb[0].shape) == (12, np.uint16, (64, 96, 3))
    due = tuple(k * 2_000_000 for k in range(30))
    offered = offer(pictures, due, 500.0)
    with offered.thermal as thermal:
        frames = list(thermal)
    assert [frame.capture_ns - offered.clock.start_ns for frame in frames] == list(due)
    assert all(frame.stamps["offered"] == frame.capture_ns for frame in frames)
    assert frames[12].pixels is frames[0].pixels
    assert (offered.thermal.handed, offered.rgb.handed) == (30, 0)
    assert frames[0].modality is Modality.THERMAL


def test_the_plain_loop_fuses_the_same_scene():
    """The peer must do the same work: its picture differs from ours only by the tone curve and rounding."""
    import torch

    from streamfuse import assemble

    cell = Cell.model_validate({**SMALL, "size": "192x128", "thermal_size": "160x128", "rgb_size": "192x128"})
    pictures = draw(cell, seed=1)
    config = run_config(cell, "tcp://127.0.0.1:*")
    aligned = first_pair(config, offer(pictures, (0,), 30.0))
    before = torch.get_num_threads()
    loop = PlainLoop("average", aligned.warp, pictures, all_threads=False)
    try:
        plain = loop.step(pictures.thermal[0], pictures.rgb[0])
    finally:
        loop.close()
        torch.set_num_threads(before)
    with assemble.open_fusion(config) as fuser:
        ours = fuser.fuse(aligned).pixels
    assert (plain.shape, plain.dtype) == (ours.shape, ours.dtype)
    valid = aligned.warp.valid
    grey = [picture.mean(axis=2)[valid] for picture in (plain, ours)]
    assert np.corrcoef(*grey)[0, 1] > 0.9


def test_a_loop_that_is_behind_goes_on_with_the_newest_picture():
    plan = Schedule((0, 10, 20, 30, 40), warm=0)
    assert newest_due(plan, 1, elapsed_ns=5) == 1
    assert newest_due(plan, 1, elapsed_ns=35) == 3
    assert newest_due(plan, 4, elapsed_ns=99) == 4
    assert newest_due(plan, 5, elapsed_ns=99) == 5


def test_an_empty_table_has_its_columns():
    assert measured(table([]), Schedule((0, 1, 2), 0), "received").shape == (0, 11)
