"""The engine alone, one call after the other, as trtexec and most papers time it: no camera, no queue, no network.

Closed loop: the next frame waits for the one before, so a stall is counted once, and nothing is ever late. Read it
beside the open-loop figures, never instead of them.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from streamfuse.bench.figures import intervals, summary
from streamfuse.bench.matrix import Cell, Protocol
from streamfuse.bench.measure import planned, run_config
from streamfuse.bench.offered import draw, offer
from streamfuse.bench.opening import first_pair, open_timed
from streamfuse.clock import now_ns
from streamfuse.fuse import on_grid
from streamfuse.thermal import ToneMapper

LABEL = "closed loop, no pipeline"


def measure_closed(cell: Cell, protocol: Protocol) -> dict[str, Any]:
    """Call the engine for `protocol.seconds` after as many calls as the warm-up has frames."""
    offered = offer(draw(cell, seed=protocol.seed), planned(cell, protocol).due_ns, cell.rate_hz)
    config = run_config(cell, "tcp://127.0.0.1:*")
    warp = first_pair(config, offered).warp
    thermal = [offered.thermal.frame(k).pixels for k in range(2)]
    rgb = [on_grid(offered.rgb.frame(k).pixels, warp.grid) for k in range(2)]
    curve = ToneMapper().update(thermal[0], 0)
    fuser, opening = open_timed(config, offered)
    engine = fuser.meter.engine
    taken: list[int] = []
    with fuser:
        for k in range(protocol.warmup_frames):
            engine.fuse(thermal[k % 2], curve, rgb[k % 2])
        began_ns, cpu_ns = now_ns(), time.process_time_ns()
        while now_ns() - began_ns < protocol.seconds * 1e9:
            before_ns = now_ns()
            engine.fuse(thermal[len(taken) % 2], curve, rgb[len(taken) % 2])
            taken.append(now_ns() - before_ns)
        cpu_ns = time.process_time_ns() - cpu_ns
    values = np.array(taken, dtype=np.int64)
    return {
        "label": f"{LABEL}: {engine.name}",
        "frames": {"fused": len(taken)},
        "latency_ms": summary(values),
        "intervals_ms": intervals(values),
        "latency_ends": "engine's return",
        "cpu_ms_per_frame": round(cpu_ns / 1e6 / len(taken), 3),
        "frames_per_second": round(1e3 / float(values.mean() / 1e6), 1),
        "opening": opening,
    }
