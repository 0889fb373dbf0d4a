"""`streamfuse demo`: the main job on what ships, with a consumer in a process of its own.

The recording plays at its real pace through the ordinary pipeline; the consumer is the ordinary `streamfuse
subscribe`; two pictures show what was fused, the second with a registration error measured against known truth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from streamfuse.clock import now_ns
from streamfuse.config import RunConfig, load_run
from streamfuse.errors import StreamfuseError
from streamfuse.live import progress_line
from streamfuse.pipeline import Limits, run
from streamfuse.publish import Publisher
from streamfuse.report import print_report
from streamfuse.shipped import shipped_path
from streamfuse.showcase import show_real, show_synthetic
from streamfuse.terminal import make_folder

RUN_FILE = "configs/demo.yaml"
JOIN_S, LAST_WORDS_S = 20.0, 10.0


def demo_config_text() -> str:
    """The demo's run file as text, a complete example to start from."""
    return shipped_path(RUN_FILE).read_text(encoding="utf-8")


def run_demo(
    *, seconds: float, out: Path, model: str | None, stop: threading.Event, console: Console
) -> dict[str, Any]:
    """Play, fuse, publish, receive; the report with what the consumer measured, and the paths of two pictures."""
    make_folder(out)
    with tempfile.TemporaryDirectory(prefix="streamfuse-") as folder:
        config = _demo_config(_local_endpoint(Path(folder)), model)
        console.print(f"replaying a real thermal+RGB recording for {seconds:g} s; its alignment is approximate")
        consumer = _Consumer(stop)
        with consumer, progress_line(console, seconds=seconds) as watch:
            report = run(config, limits=Limits(seconds=seconds), stop=stop, ready=consumer.start, watch=watch)
            heard = consumer.last_words()
    told = report.as_dict()
    if heard:
        told |= {key: heard[key] for key in ("received", "lost", "latency_ms", "stages_ms")}
    told["pictures"] = _pictures(config, out, console) if not (stop.is_set() or report.error) else {}
    print_report(console, told)
    for name, picture in told["pictures"].items():
        console.print(f"picture: {picture['path']} ({name}; {picture['says']})", markup=False)
    return told


def _demo_config(endpoint: str, model: str | None) -> RunConfig:
    config = load_run(shipped_path(RUN_FILE))
    changes: dict[str, Any] = {"publish": config.publish.model_copy(update={"endpoint": endpoint})}
    if model:
        changes["fuse"] = config.fuse.model_copy(update={"model": model})
    return config.model_copy(update=changes)


def _local_endpoint(folder: Path) -> str:
    return "tcp://127.0.0.1:*" if os.name == "nt" else f"ipc://{folder}/demo.sock"


def _pictures(config: RunConfig, out: Path, console: Console) -> dict[str, Any]:
    shows: dict[str, Callable[[], dict[str, Any]]] = {
        "real": lambda: show_real(config, out / "real.png"),
        "synthetic": lambda: show_synthetic(config, out / "synthetic.png"),
    }
    with console.status("two pictures"):
        return {name: show() for name, show in shows.items()}


class _Consumer:
    """`streamfuse subscribe` in a process of its own."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._process: subprocess.Popen[str] | None = None
        self._joined = False

    def __enter__(self) -> _Consumer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def start(self, publisher: Publisher) -> None:
        """Start it and wait until it has joined, so that not one frame is missed, or until the demo is stopped."""
        if self._stop.is_set():
            return
        command = [sys.executable, "-m", "streamfuse", "subscribe", publisher.endpoint, "--quiet", "--json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        give_up_ns = now_ns() + JOIN_S * 1e9
        while not self._joined and not self._stop.is_set() and now_ns() < give_up_ns:
            self._joined = publisher.wait_for_subscriber(0.1)
        if not self._joined and not self._stop.is_set():
            raise StreamfuseError(f"the demo's subscriber did not join {publisher.endpoint} within {JOIN_S:g} s")

    def last_words(self) -> dict[str, Any] | None:
        """Its report, once the publisher has said goodbye; None where the demo was stopped before there was one.

        Ctrl-C reaches this process, too: one that is not yet up does not survive it.
        """
        if self._process is None or not self._joined:
            return None
        try:
            heard, said = self._process.communicate(timeout=LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            raise StreamfuseError(f"the demo's subscriber did not end within {LAST_WORDS_S:g} s") from None
        if self._process.returncode:
            raise StreamfuseError(f"the demo's subscriber failed: {said.strip()}")
        return json.loads(heard.strip().splitlines()[-1])
