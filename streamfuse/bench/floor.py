"""The floor: GStreamer's test pictures from two appsinks into this process: no matching, no fusion, no publisher."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from streamfuse import assemble
from streamfuse.bench.figures import intervals, summary
from streamfuse.bench.matrix import Cell, Protocol
from streamfuse.clock import now_ns
from streamfuse.config import CameraConfig, LiveConfig, RunConfig
from streamfuse.frames import Frame, Modality

LABEL = "GStreamer only, two appsinks"


def measure_floor(cell: Cell, protocol: Protocol) -> dict[str, Any]:
    """Read both cameras for the protocol's time. Raises UserError where GStreamer is missing."""
    config = _config(cell)
    cameras = assemble.open_cameras(config)
    latencies: list[int] = []
    started_ns = cpu_ns = pairs = 0
    with assemble.open_intake(config, cameras) as intake:
        for item in intake:
            started_ns = started_ns or (now_ns() if isinstance(item, Frame) else 0)
            elapsed_s = (now_ns() - started_ns) / 1e9 if started_ns else 0.0
            if elapsed_s > protocol.warmup_s + protocol.seconds:
                break
            if not isinstance(item, Frame) or elapsed_s < protocol.warmup_s:
                continue
            cpu_ns = cpu_ns or time.process_time_ns()
            latencies.append(item.stamps["captured"] - item.capture_ns)
            pairs += item.modality is Modality.RGB
        cpu_ns = time.process_time_ns() - cpu_ns
    values = np.array(latencies, dtype=np.int64)
    return {
        "label": LABEL,
        "frames": {"fused": 0, "captured": len(latencies)},
        "latency_ms": summary(values),
        "intervals_ms": intervals(values),
        "latency_ends": "in this process",
        "cpu_ms_per_frame": round(cpu_ns / 1e6 / pairs, 3) if pairs else None,
    }


def _config(cell: Cell) -> RunConfig:
    pattern = "videotestsrc is-live=true pattern=smpte"
    thermal = CameraConfig(launch=pattern, format="GRAY16_LE", size=cell.thermal, rate_hz=cell.rate_hz)
    rgb = CameraConfig(launch=pattern, format="BGR", size=cell.rgb, rate_hz=cell.rate_hz)
    return RunConfig(source=LiveConfig(kind="live", thermal=thermal, rgb=rgb))
