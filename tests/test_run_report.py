"""The report for people of a run in which nothing came out."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from streamfuse.report import print_report


def test_one_of_a_thing_is_told_as_one() -> None:
    assert "1 pair " in printed(matched=1)
    assert "live, 1 reconnect " in printed(sources={"rgb": {"state": "live", "reconnects": 1, "last_error": None}})


def test_a_run_that_published_nothing_has_no_rate() -> None:
    said = printed(outputs_dropped={"shutdown": 9})
    assert "0; dropped shutdown 9" in said
    assert "None" not in said


def printed(**changes: Any) -> str:
    """The report of a run in which nothing came out, and what is said otherwise."""
    said = io.StringIO()
    nothing = {"p50": None, "p95": None, "p99": None, "n": 0}
    counts = {
        "frames_in": {},
        "matched": 0,
        "lone": {},
        "dropped": {},
        "published": 0,
    }
    rest = {
        "outputs_dropped": {},
        "balanced": True,
        "engine": "eager",
        "model": "average",
        "cpu_cores": 0.0,
        "stages_ms": {},
    }
    print_report(Console(file=said, width=100), {**counts, **rest, "fps": None, "latency_ms": nothing, **changes})
    return said.getvalue()
