"""Runs one request in a fresh process, and ends it with all it started when it is time to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streamfuse.clock import now_ns

TICK_S, GRACE_S = 0.1, 3.0
LAST_LINES = 3

Tick = Callable[[float], None]


def run_child(request: dict[str, Any], *, limit_s: float, stop: threading.Event, tick: Tick) -> dict[str, Any]:
    """The child's answer: {"result": ...}, {"skipped": why}, {"failed": why} or {"stopped": ...}.

    `tick` is called with the seconds passed, ten times a second. A child that takes longer than `limit_s` has failed.
    """
    with TemporaryDirectory(prefix="streamfuse-") as name:
        asked, answered, said = (Path(name) / part for part in ("request.json", "answer.json", "stderr.txt"))
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "streamfuse.bench.child", str(asked), str(answered)]
        with said.open("w", encoding="utf-8") as errors:
            # A session of its own: Ctrl-C reaches this process only, which then ends the child and its subscribers.
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
            ended = _waited(child, limit_s, stop, tick)
        if ended:
            return ended
        if child.returncode or not answered.exists():
            return {"failed": _last_words(said) or f"the measuring process ended with code {child.returncode}"}
        return json.loads(answered.read_text(encoding="utf-8"))


def _waited(child: subprocess.Popen[bytes], limit_s: float, stop: threading.Event, tick: Tick) -> dict[str, Any] | None:
    """None when the child ended by itself."""
    began_ns = now_ns()
    while child.poll() is None:
        passed_s = (now_ns() - began_ns) / 1e9
        tick(passed_s)
        if passed_s > limit_s:
            _end(child)
            return {"failed": f"it took longer than {limit_s:.0f} s and was ended"}
        if stop.wait(TICK_S):
            _end(child)
            return {"stopped": "interrupted"}
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and everything in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError):
            os.killpg(child.pid, number) if hasattr(os, "killpg") else child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
            return


def _last_words(said: Path) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-LAST_LINES:])
