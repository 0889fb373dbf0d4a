"""What this machine can do at most, measured: bytes per second of a large copy, operations per second of a product.

A copy of memory that no cache holds (read and written bytes both count), and a product of square matrices in fp32,
bf16 and, on a GPU, fp16. The best of several rounds, since whatever else runs can only make it slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

COPY_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
SIDE = {"cpu": 1536, "cuda": 8192}
ROUNDS = 7
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Of one device: bytes per second, operations per second by precision."""

    device: str
    bandwidth: float
    peaks: dict[str, float]


def measure(device: str, threads: int) -> Ceilings:
    """`device` cpu or cuda; `threads` of the CPU. Takes some seconds."""
    torch.set_num_threads(threads)
    names = ("fp32", "bf16") if device == "cpu" else ("fp32", "bf16", "fp16")
    return Ceilings(device, bandwidth(device), {name: peak(device, TYPES[name]) for name in names})


def bandwidth(device: str) -> float:
    source = torch.ones(COPY_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * source.numel() / best(lambda: target.copy_(source), device)


def peak(device: str, kind: torch.dtype) -> float:
    """On a GPU fp32 means fp32: without the shorter mantissa of its tensor cores."""
    torch.backends.cuda.matmul.allow_tf32 = False
    side = SIDE[device]
    a, b = (torch.ones(side, side, dtype=kind, device=device) for _ in range(2))
    made = torch.empty(side, side, dtype=kind, device=device)
    return 2 * side**3 / best(lambda: torch.mm(a, b, out=made), device)


def best(work: Callable[[], object], device: str, rounds: int = ROUNDS) -> float:
    """The shortest time in seconds of some rounds, after one that does not count."""
    times: list[float] = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])
