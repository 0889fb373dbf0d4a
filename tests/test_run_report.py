"""The report for people of a run in which nothing came out."""

from __future__ import annotations

import io

from rich.console import Console

from streamfuse.report import print_report


def test_a_run_that_published_nothing_has_no_rate() -> None:
    said = io.StringIO()
    nothing = {"p50": None, "p95": None, "p99": None, "n": 0}
    counts = {
        "frames_in": {},
        "matched": 0,
        "lone": {},
        "dropped": {},
        "published": 0,
        "outputs_dropped": {"shutdown": 9},
    }
    rest = {
        "outputs_dropped": {"shutdown": 9},
        "balanced": True,
        "engine": "eager",
        "model": "average",
        "cpu_cores": 0.0,
        "stages_ms": {},
    }
    print_report(Console(file=said, width=100), {**counts, **rest, "fps": None, "latency_ms": nothing})
    assert "0; dropped shutdown 9" in said.getvalue()
    assert "None" not in said.getvalue()
