"""The peer: a loop of OpenCV and PyTorch as people write it, with the same network, pictures, map and schedule.

Read both images, remap thermal with precomputed maps, scale by 255, run the network in float, put the colour back,
publish raw bytes. One thread does it all; nothing of streamfuse's engines or publisher is used. It sets no option of
any library but, where asked, PyTorch's number of threads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse import assemble
from streamfuse.bench.figures import intervals, summary
from streamfuse.bench.matrix import Cell, Protocol
from streamfuse.bench.measure import planned, run_config
from streamfuse.bench.offered import Pictures, draw, offer
from streamfuse.bench.schedule import Schedule
from streamfuse.clock import START_LEAD_NS, now_ns
from streamfuse.frames import Pixels, WarpMap
from streamfuse.terminal import counted

LABEL = "plain OpenCV + PyTorch loop"


@dataclass(slots=True)
class Tally:
    """What the loop did: latency of every frame from its due time, and its CPU time after the warm-up."""

    latencies_ns: list[int] = field(default_factory=list[int])
    skipped: int = 0
    cpu_ns: int = 0


class PlainLoop:
    """The body of the loop."""

    def __init__(self, model: str, warp: WarpMap, pictures: Pictures, *, all_threads: bool) -> None:
        import torch
        import zmq

        from streamfuse.models import build

        if not all_threads:
            torch.set_num_threads(1)
        self.threads = torch.get_num_threads()
        self._torch, self._network = torch, build(model)
        self._map_x, self._map_y = np.split(warp.thermal_from_output, 2, axis=2)
        self._size = warp.grid.size
        self._x, self._y, self._width, self._height = warp.grid.crop
        low, high = np.percentile(pictures.thermal[0], (1, 99))
        self._low, self._span = float(low), float(high - low)
        self._socket = zmq.Context.instance().socket(zmq.PUB)
        self._socket.bind("tcp://127.0.0.1:*")

    def close(self) -> None:
        self._socket.close(0)

    def step(self, thermal: Pixels, rgb: Pixels) -> Pixels:
        """One pair in, the fused picture published and returned."""
        scaled = np.clip((thermal.astype(np.float32) - self._low) / self._span * 255, 0, 255).astype(np.uint8)
        aligned = cv2.remap(scaled, self._map_x, self._map_y, cv2.INTER_LINEAR)
        crop = rgb[self._y : self._y + self._height, self._x : self._x + self._width]
        ycc = cv2.cvtColor(cv2.resize(crop, self._size), cv2.COLOR_RGB2YCrCb)
        y, cr, cb = cv2.split(ycc)
        fused = self._fused(aligned, np.asarray(y))
        out = cv2.cvtColor(cv2.merge([fused, cr, cb]), cv2.COLOR_YCrCb2RGB)
        self._socket.send_multipart([b"fused", str(out.shape).encode(), out.tobytes()])
        return out

    def _fused(self, thermal: Pixels, luma: Pixels) -> Pixels:
        torch = self._torch
        with torch.no_grad():
            infrared = torch.from_numpy(thermal).float()[None, None] / 255
            visible = torch.from_numpy(luma).float()[None, None] / 255
            fused = self._network(infrared, visible)
            return (fused[0, 0].clamp(0, 1) * 255).round().byte().numpy()


def measure_plain(cell: Cell, protocol: Protocol, *, all_threads: bool) -> dict[str, Any]:
    """Run the loop on the cell's schedule; when it is behind, it goes on with the newest picture, as a camera would."""
    plan, pictures = planned(cell, protocol), draw(cell, seed=protocol.seed)
    loop = PlainLoop(cell.model, _warp(cell, plan, pictures), pictures, all_threads=all_threads)
    try:
        loop.step(pictures.thermal[0], pictures.rgb[0])
        tally = _paced(loop, plan, pictures)
    finally:
        loop.close()
    latencies: NDArray[np.int64] = np.array(tally.latencies_ns, dtype=np.int64)
    return {
        "label": f"{LABEL}, {counted(loop.threads, 'thread')}",
        "frames": {"offered": len(plan.due_ns) - plan.warm, "fused": len(latencies), "missing": tally.skipped},
        "latency_ms": summary(latencies),
        "intervals_ms": intervals(latencies),
        "latency_ends": "handed to the socket",
        "cpu_ms_per_frame": round(tally.cpu_ns / 1e6 / len(latencies), 3) if len(latencies) else None,
    }


def _warp(cell: Cell, plan: Schedule, pictures: Pictures) -> WarpMap:
    offered = offer(pictures, plan.due_ns, cell.rate_hz)
    sources = offered.thermal.info, offered.rgb.info
    config = run_config(cell, "tcp://127.0.0.1:*")
    return assemble.open_registrar(config, offered.cameras(), offered.rig, *sources).warp


def _paced(loop: PlainLoop, plan: Schedule, pictures: Pictures) -> Tally:
    tally, start_ns, number, warm_cpu_ns = Tally(), now_ns() + START_LEAD_NS, 0, 0
    while number < len(plan.due_ns):
        due_ns = start_ns + plan.due_ns[number]
        time.sleep(max(0.0, (due_ns - now_ns()) / 1e9))
        if number >= plan.warm and not warm_cpu_ns:
            warm_cpu_ns = time.process_time_ns()
        loop.step(pictures.thermal[number % len(pictures.thermal)], pictures.rgb[number % len(pictures.rgb)])
        if number >= plan.warm:
            tally.latencies_ns.append(now_ns() - due_ns)
        following = newest_due(plan, number + 1, now_ns() - start_ns)
        tally.skipped += following - number - 1 if number >= plan.warm else 0
        number = following
    tally.cpu_ns = time.process_time_ns() - warm_cpu_ns
    return tally


def newest_due(plan: Schedule, at_least: int, elapsed_ns: int) -> int:
    """The newest frame that is due by now, or `at_least` if that is not due yet."""
    newest = at_least
    while newest + 1 < len(plan.due_ns) and plan.due_ns[newest + 1] <= elapsed_ns:
        newest += 1
    return newest
