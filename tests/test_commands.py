"""The commands as people and scripts use them: exit codes, last lines, bad input, signals."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rich.console import Console

from streamfuse.demo import run_demo
from streamfuse.offline import fuse_files
from streamfuse.shipped import shipped_path

SAMPLE = shipped_path("samples/heli041")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def streamfuse(*arguments: object, check: int | None = 0, timeout: float = 120):
    """Run a command; returns (what --json said or None, stderr). A traceback is always a failure."""
    command = [sys.executable, "-m", "streamfuse", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    said = ANSI.sub("", done.stderr)
    assert "Traceback" not in said, said
    assert check is None or done.returncode == check, f"exit {done.returncode}: {done.stdout}\n{said}"
    lines = done.stdout.strip().splitlines()
    return (json.loads(lines[-1]) if "--json" in arguments and lines else None), " ".join(said.split())


@pytest.fixture
def pairs(tmp_path):
    """Six registered pairs with a warm disc; visible has colour, one pair is grey."""
    rng = np.random.default_rng(3)
    for folder in ("ir", "vis"):
        (tmp_path / folder).mkdir()
    for k in range(6):
        thermal = cv2.circle(np.full((48, 64), 60, np.uint8), (10 + 8 * k, 24), 6, 230, -1)
        visible = rng.integers(0, 255, (48, 64, 3), np.uint8)
        visible = visible[..., :1].repeat(3, axis=2) if k == 0 else visible
        cv2.imwrite(str(tmp_path / f"ir/{k:03d}.png"), thermal)
        cv2.imwrite(str(tmp_path / f"vis/{k:03d}.png"), visible)
    return tmp_path


def run_file(folder: Path, **changes) -> Path:
    """The demo's run file with some sections changed, on a socket of its own."""
    document = yaml.safe_load(shipped_path("configs/demo.yaml").read_text())
    document["publish"]["endpoint"] = f"ipc://{folder}/run.sock"
    for section, change in changes.items():
        document[section] = {**document[section], **change} if isinstance(change, dict) else change
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("command", ["", "demo", "run", "fuse", "subscribe", "depth", "doctor", "calibrate align"])
def test_help_explains_every_command_and_option(command):
    done = subprocess.run(
        [sys.executable, "-m", "streamfuse", *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    text = ANSI.sub("", done.stdout)
    assert "Usage" in text
    assert not re.search(r"--[a-z-]+ +(TEXT|INTEGER|FLOAT|PATH)? *│?$", text, re.MULTILINE), "an option without a word"
    assert set(re.findall(r"--no-[a-z]+", text)) <= {"--no-sequence"}, "a needless second switch"


@pytest.mark.slow
def test_the_demo_balances_its_ledgers_and_measures_what_a_consumer_got(tmp_path):
    told, said = streamfuse("demo", "--seconds", 5, "--out", tmp_path, "--json")
    assert told["balanced"]
    assert sum(told["frames_in"].values()) == 2 * told["matched"] + sum(told["lone"].values()) + sum(
        told["dropped"].values()
    )
    assert told["matched"] + sum(told["lone"].values()) == told["published"] + sum(told["outputs_dropped"].values())
    assert told["received"] > 100
    # an output that is dropped before the first or after the last one that was sent leaves no gap to be seen
    assert 0 <= told["received"] + told["lost"] - told["published"] <= sum(told["outputs_dropped"].values())
    assert set(told["latency_ms"]) == {"p50", "p95", "p99", "n"}
    assert told["latency_ms"]["n"] == told["received"]
    assert {"captured", "matched", "registered", "fused", "sent", "received"} <= set(told["stages_ms"])
    assert told["engine"] in ("openvino-bf16", "openvino-fp32")
    assert told["model"] == "streamfuse-s"
    for picture in told["pictures"].values():
        assert cv2.imread(picture["path"]) is not None
    assert told["pictures"]["synthetic"]["registration_error_px"] < 0.1
    assert "balanced" in said


def test_a_demo_that_is_stopped_before_its_subscriber_is_up_ends_with_its_summary(tmp_path):
    stop = threading.Event()
    stop.set()
    said = Console(file=io.StringIO())
    told = run_demo(seconds=5, out=tmp_path / "out", model="average", stop=stop, console=said)
    assert told["balanced"]
    assert told["pictures"] == {}
    assert "published" in said.file.getvalue()


def test_a_demo_with_no_place_for_its_pictures_is_told_so_at_once(tmp_path):
    (tmp_path / "file").touch()
    streamfuse("demo", "--out", tmp_path / "file", check=2, timeout=8)


def test_fuse_writes_every_pair_under_its_name_the_same_bytes_twice(pairs):
    for out in ("a", "b"):
        told, _ = streamfuse(
            "fuse", pairs / "ir", pairs / "vis", "--out", pairs / out, "--model", "laplacian", "--json"
        )
        assert told["published"] == 6
        assert told["balanced"]
    names = sorted(path.name for path in (pairs / "a").iterdir())
    assert names == [f"{k:03d}.png" for k in range(6)]
    assert all((pairs / "a" / name).read_bytes() == (pairs / "b" / name).read_bytes() for name in names)


def test_fuse_that_is_stopped_does_not_end_as_if_all_were_done(pairs):
    stop = threading.Event()
    stop.set()
    said = Console(file=io.StringIO())
    told = fuse_files(
        pairs / "ir", pairs / "vis", pairs / "out", "average", None, tone="auto", sequence=None, stop=stop, console=said
    )
    assert told["error"] == "stopped before every pair was fused; run it again"
    assert told["published"] == 0


def test_fuse_keeps_grey_grey_and_colour_coloured(pairs):
    streamfuse("fuse", pairs / "ir", pairs / "vis", "--out", pairs / "out")
    assert cv2.imread(str(pairs / "out/000.png"), cv2.IMREAD_UNCHANGED).ndim == 2
    assert cv2.imread(str(pairs / "out/001.png"), cv2.IMREAD_UNCHANGED).shape == (48, 64, 3)


def test_fuse_reports_missing_partners_and_a_corrupt_image_and_goes_on(pairs):
    (pairs / "ir/002.png").unlink()
    (pairs / "vis/004.png").write_bytes(b"not an image")
    told, said = streamfuse("fuse", pairs / "ir", pairs / "vis", "--out", pairs / "out", "--json")
    assert sorted(path.stem for path in (pairs / "out").iterdir()) == ["000", "001", "003", "005"]
    assert told["dropped"]["corrupt"] == 1
    assert told["lone"] == {"thermal": 1, "rgb": 1}
    assert told["outputs_dropped"] == {"lone": 2}
    assert told["balanced"]
    assert "002" in said
    assert "frames that are in no image: corrupt 1" in said


def test_fuse_accepts_single_images_and_pairs_of_different_sizes(pairs):
    streamfuse("fuse", pairs / "ir/000.png", pairs / "vis/000.png", "--out", pairs / "one")
    assert (pairs / "one/000.png").exists()
    cv2.imwrite(str(pairs / "ir/003.png"), np.zeros((30, 50), np.uint8))
    cv2.imwrite(str(pairs / "vis/003.png"), np.zeros((60, 100, 3), np.uint8))
    told, _ = streamfuse("fuse", pairs / "ir", pairs / "vis", "--out", pairs / "out", "--json")
    assert told["published"] == 6
    assert cv2.imread(str(pairs / "out/003.png"), cv2.IMREAD_UNCHANGED).shape[:2] == (60, 100)
    assert told["warnings"] == [], "half as large is no other shape"
    for name in ("004", "005"):
        cv2.imwrite(str(pairs / f"ir/{name}.png"), np.zeros((40, 64), np.uint8))
    told, said = streamfuse("fuse", pairs / "ir", pairs / "vis", "--out", pairs / "out", "--json")
    assert told["published"] == 6
    assert "2 pairs of two shapes, the first 004 (64x40, 64x48): thermal was stretched" in said


@pytest.mark.slow
def test_fuse_reads_videos_and_fuses_every_frame(tmp_path):
    rig = shipped_path("calibration/rigs/heli041.yaml")
    videos = (SAMPLE / "thermal.mp4", SAMPLE / "visible.mp4")
    told, _ = streamfuse("fuse", *videos, "--out", tmp_path, "--rig", rig, "--model", "average", "--json")
    assert told["published"] == len(list(tmp_path.glob("*.png"))) == told["frames_in"]["rgb"] == 166


def test_fuse_into_a_place_that_cannot_be_a_folder_is_told(pairs):
    _, said = streamfuse("fuse", pairs / "ir", pairs / "vis", "--out", pairs / "ir/000.png", check=2)
    assert "--out" in said


def test_swapped_inputs_are_noticed(pairs):
    _, said = streamfuse("fuse", pairs / "vis", pairs / "ir", "--out", pairs / "out", check=None)
    assert "swapped" in said


BAD = {
    "missing folder": (["fuse", "{ir}/none", "{vis}", "--out", "{out}"], "none"),
    "empty folder": (["fuse", "{empty}", "{vis}", "--out", "{out}"], "empty"),
    "unsupported format": (["fuse", "{text}", "{vis}", "--out", "{out}"], "notes.txt"),
    "unknown model": (["fuse", "{ir}", "{vis}", "--out", "{out}", "--model", "laplacien"], "laplacian"),
    "missing rig": (["fuse", "{ir}", "{vis}", "--out", "{out}", "--rig", "{ir}/rig.yaml"], "rig.yaml"),
    "rig of another resolution": (["fuse", "{ir}", "{vis}", "--out", "{out}", "--rig", "{rig}"], "320x256"),
    "missing run file": (["run", "{ir}/run.yaml"], "run.yaml"),
    "empty run file": (["run", "{void}"], "empty"),
    "bad endpoint": (["subscribe", "nowhere", "--seconds", "1"], "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_with_exit_code_2(case, pairs):
    (pairs / "empty").mkdir()
    (pairs / "notes.txt").write_text("hello")
    (pairs / "void.yaml").write_text("")
    places = {
        "ir": pairs / "ir", "vis": pairs / "vis", "out": pairs / "out", "empty": pairs / "empty",
        "text": pairs / "notes.txt", "void": pairs / "void.yaml", "rig": shipped_path("calibration/rigs/heli041.yaml"),
    }  # fmt: skip
    arguments, named = BAD[case]
    _, said = streamfuse(*[argument.format(**places) for argument in arguments], check=2)
    assert "error:" in said
    assert named in said


def test_an_unknown_engine_is_told_before_anything_flows(tmp_path):
    _, said = streamfuse("run", run_file(tmp_path, fuse={"model": "average", "engine": "warp-drive"}), check=2)
    assert "warp-drive" in said
    assert "eager" in said


def test_a_busy_port_is_told_with_its_remedy(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        _, said = streamfuse("run", run_file(tmp_path, publish={"endpoint": endpoint}), check=2)
    assert endpoint in said
    assert "using it" in said


def test_run_stops_after_its_frames_and_writes_a_ledger_that_repeats(tmp_path):
    ledgers = []
    for name in ("a", "b"):
        path = run_file(
            tmp_path, source={"pace": "every", "loop": False}, fuse={"model": "average"}, ledger=f"{name}.jsonl"
        )
        told, _ = streamfuse("run", path, "--frames", 20, "--json")
        assert told["balanced"]
        assert told["matched"] + sum(told["lone"].values()) == 20
        ledgers.append((tmp_path / f"{name}.jsonl").read_bytes())
    assert ledgers[0] == ledgers[1] != b""


@pytest.mark.parametrize(
    ("number", "mode"), [(signal.SIGINT, "pub"), (signal.SIGTERM, "pub"), (signal.SIGTERM, "push")]
)
def test_a_signal_ends_a_run_with_its_summary(tmp_path, number, mode):
    """Also a loss-free run, which waits for a reader that never comes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamfuse", "run", str(run_file(tmp_path, publish={"mode": mode})), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        waited_until = time.monotonic() + 60
        while not (tmp_path / "run.sock").exists() and time.monotonic() < waited_until:
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(number)
        out, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    told = json.loads(out.strip().splitlines()[-1])
    assert told["balanced"]
    assert (told["published"] > 0) == (mode == "pub")


INTERRUPTED = """
import sys
class CtrlC:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC())
from streamfuse.__main__ import main
main()
"""


@pytest.mark.parametrize("imported", ["streamfuse.commands", "streamfuse.errors", "typer", "rich"])
def test_ctrl_c_while_the_commands_are_imported_is_no_traceback(imported):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, imported], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_doctor_tells_what_is_here():
    told, said = streamfuse("doctor", "--json")
    found = {finding["what"]: finding for finding in told["findings"]}
    assert found["Python"]["status"] == found["OpenCV"]["status"] == found["shipped files"]["status"] == "ok"
    assert all(finding["remedy"] for finding in told["findings"] if finding["status"] != "ok")
    assert "ZeroMQ" in said
