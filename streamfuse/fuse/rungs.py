"""The engines by name: what each computes in, which can exist on this machine, how long it takes until it serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from streamfuse.errors import EngineError, UserError
from streamfuse.fuse.available import lacks
from streamfuse.fuse.ladder import Pace, Rung

if TYPE_CHECKING:
    from torch import nn

    from streamfuse.frames import WarpMap
    from streamfuse.fuse import Engine
    from streamfuse.fuse.planar import Inputs
    from streamfuse.fuse.tensorrt.order import Progress as Hear

log = logging.getLogger(__name__)

ENGINES = ("tensorrt", "inductor", "openvino", "eager")
"""Best first: the order in which "auto" tries those that can exist on the machine."""
OFFERS = {
    "tensorrt": ("fp32", "fp16", "bf16", "int8"),
    "inductor": ("fp32", "fp16", "bf16"),
    "openvino": ("fp32", "bf16", "int8"),
    "eager": ("fp32",),
}
"""What each engine computes in when it is asked to; "auto" is its own choice, the fastest that looks right."""
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


def check_choice(engine: str, precision: str) -> None:
    """Raises UserError for an engine or a precision that does not exist, and for two that do not go together."""
    if engine not in ("auto", *ENGINES):
        raise UserError(f"engine {engine!r} is unknown; the engines are: auto, {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r} is unknown; allowed: {', '.join(PRECISIONS)}")
    if engine != "auto" and precision not in ("auto", *OFFERS[engine]):
        offered = ", ".join(("auto", *OFFERS[engine]))
        raise UserError(f"engine {engine} does not compute in {precision}; it offers: {offered}")


def existing(precision: str = "auto") -> tuple[str, ...]:
    """The engines that can exist on this machine and offer this precision, best first; eager always stands last.

    Raises UserError, with what each engine lacks, where none offers the precision.
    """
    told = {name: lacks(name) for name in ENGINES if precision in ("auto", *OFFERS[name])}
    for name, lack in told.items():
        log.debug("engine %s: %s", name, f"unavailable, {lack}" if lack else "may be opened")
    found = [name for name, lack in told.items() if not lack]
    if not found:
        reasons = "; ".join(f"{name}: {lack}" for name, lack in told.items())
        raise UserError(f"precision {precision} was asked for, and no engine here computes in it ({reasons})")
    return tuple(dict.fromkeys([*found, "eager"]))


def rung(name: str, network: nn.Module, precision: str, threads: int) -> Rung:
    """An engine of the ladder, with how long it takes until it serves."""
    if name == "eager":
        precision = "auto"
    opened = partial(open_engine, name, network, precision, threads)
    match name:
        case "tensorrt":
            return Rung(name, opened, partial(_tensorrt_pace, opened))
        case "eager":
            return Rung(name, opened)
        case _:
            return Rung(name, opened, lambda _: Pace.SECONDS)


def _tensorrt_pace(opened: Callable[[], Engine], warp: WarpMap) -> Pace:
    """Seconds where its engine file exists; also where TensorRT does not load, which opening it will say."""
    from streamfuse.fuse.tensorrt import TensorRtEngine

    try:
        engine = opened()
    except EngineError:
        return Pace.SECONDS
    built = isinstance(engine, TensorRtEngine) and engine.file((warp.thermal_size, warp.grid.size)).path.exists()
    return Pace.SECONDS if built else Pace.MINUTES


def open_engine(
    name: str,
    network: nn.Module,
    precision: str,
    threads: int,
    *,
    calibration: Sequence[Inputs] = (),
    hear: Hear | None = None,
) -> Engine:
    """The engine of this name, before it knows a map. `calibration` (pairs for int8) and `hear` (how far a build is)
    are for those that have use for them. Raises EngineError with the remedy where it does not load."""
    match name:
        case "tensorrt":
            from streamfuse.fuse.tensorrt import TensorRtEngine

            return TensorRtEngine(network, precision=precision, calibration=calibration, progress=hear)
        case "inductor":
            from streamfuse.fuse.inductor import InductorEngine

            return InductorEngine(network, precision=precision)
        case "openvino":
            from streamfuse.fuse.openvino import OpenVinoEngine

            return OpenVinoEngine(network, threads=threads, precision=precision, calibration=calibration)
        case _:
            from streamfuse.fuse.eager import EagerEngine

            return EagerEngine(network, threads=threads)
