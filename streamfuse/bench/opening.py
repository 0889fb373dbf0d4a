"""Opening an engine with a watch in hand: libraries, building, first inference, each apart from the steady state."""

from __future__ import annotations

from contextlib import suppress

from streamfuse import assemble
from streamfuse.bench.meter import MeteredFuser
from streamfuse.bench.offered import Offer
from streamfuse.clock import now_ns
from streamfuse.config import RunConfig
from streamfuse.errors import EngineError
from streamfuse.frames import AlignedPair, FramePair


def open_timed(config: RunConfig, offered: Offer) -> tuple[MeteredFuser, dict[str, float]]:
    """The run's Fuser, ready and rewound, and what it took: seconds, and ms for the first inference.

    "auto" becomes here at once what a running pipeline may reach only after minutes of building in the background:
    the best engine that works. `engine_s` is a compilation where the engine's cache is empty, else the time to load
    it. Raises EngineError where no engine works.
    """
    first = first_pair(config, offered)
    *others, last = _candidates(config)
    for one in others:
        with suppress(EngineError):
            return _opened(one, first)
    return _opened(last, first)


def first_pair(config: RunConfig, offered: Offer) -> AlignedPair:
    """The cameras' first pictures on the run's own map."""
    sources = offered.thermal.info, offered.rgb.info
    registrar = assemble.open_registrar(config, offered.cameras(), offered.rig, *sources)
    return registrar.register(FramePair(thermal=offered.thermal.frame(0), rgb=offered.rgb.frame(0), skew_ns=0))


def _candidates(config: RunConfig) -> list[RunConfig]:
    """The config with each engine that may be meant by name, best first."""
    from streamfuse.fuse.rungs import existing

    if config.fuse.engine != "auto":
        return [config]
    fuses = [config.fuse.model_copy(update={"engine": name}) for name in existing(config.fuse.precision)]
    return [config.model_copy(update={"fuse": fuse}) for fuse in fuses] or [config]


def _opened(config: RunConfig, first: AlignedPair) -> tuple[MeteredFuser, dict[str, float]]:
    began_ns = now_ns()
    fuser = MeteredFuser(assemble.open_fusion(config))
    loaded_ns = now_ns()
    fuser.prepare(first.warp)
    built_ns = now_ns()
    fuser.fuse(first)
    inferred_ns = now_ns()
    fuser.rewind()
    return fuser, {
        "libraries_and_weights_s": round((loaded_ns - began_ns) / 1e9, 3),
        "engine_s": round((built_ns - loaded_ns) / 1e9, 3),
        "first_inference_ms": round((inferred_ns - built_ns) / 1e6, 3),
    }
