"""Results as `streamfuse bench` writes them, with figures of one's choice."""

from __future__ import annotations

from streamfuse.bench.jobs import jobs
from streamfuse.bench.matrix import BenchConfig
from streamfuse.bench.outcome import Ledger, error_of, told_of

MACHINE = {
    "cpu": "Test CPU",
    "cores": 2,
    "usable_cores": 2,
    "memory_gb": 8,
    "gpu": None,
    "board": None,
    "power_mode": None,
    "packages": {"torch": "2.13.0"},
    "commit": "abc",
}


def repeat(p50=10.0, cpu=12.0, *, spread=0.5, faults=(), lost=0.0, **more):
    """One repeat whose bootstrap interval reaches `spread` to both sides."""
    return {
        "frames": {"offered": 100, "fused": 100},
        "latency_ms": {"p50": p50, "p95": 2 * p50, "p99": None, "p99.9": None, "max": 3 * p50, "mean": p50, "n": 100},
        "intervals_ms": {"p50": [p50 - spread, p50 + spread], "p95": [2 * p50 - spread, 2 * p50 + spread]},
        "stages_ms": {"captured": {"mean": 1.0}, "received": {"mean": p50 - 1.0}},
        "jitter_ms": {"sd": 0.5},
        "rate_hz": {"offered": 30.0, "achieved": 29.9},
        "not_fused_percent": lost,
        "cpu": {"ms_per_frame": {"all": cpu, "graph": cpu - 3, "overhead": 2.5, "capture": 0.5}},
        "gpu": None,
        "gpu_note": "none here",
        "engine": "eager",
        "opening": {"engine_s": 0.1, "first_inference_ms": 5.0},
        "faults": list(faults),
        **more,
    }


def config(**changes) -> BenchConfig:
    return BenchConfig.model_validate({"protocol": {"repeats": 3}, "cells": [{"model": "average"}], **changes})


def report(answers, settings=None, **machine):
    """The report of a run whose jobs were answered in turn by `answers`; the rest never ran."""
    settings, ledger = settings or config(), Ledger()
    for job, answer in zip(jobs(settings), answers, strict=False):
        ledger.add(job, answer)
    told = {
        "schema": 1,
        "kind": "streamfuse-bench",
        "machine": {**MACHINE, **machine},
        "protocol": settings.protocol.model_dump(),
        **told_of(settings, ledger),
        "stopped": False,
    }
    return {**told, "error": error_of(told)}
