"""Opening an engine with a watch in hand: libraries, building, first inference, each apart from the steady state."""

from __future__ import annotations

from streamfuse import assemble
from streamfuse.bench.meter import MeteredFuser
from streamfuse.bench.offered import Offer
from streamfuse.clock import now_ns
from streamfuse.config import RunConfig
from streamfuse.frames import AlignedPair, FramePair


def open_timed(config: RunConfig, offered: Offer) -> tuple[MeteredFuser, dict[str, float]]:
    """The run's Fuser, ready and rewound, and what it took: seconds, and ms for the first inference.

    `engine_s` is a compilation where the engine's cache is empty, else the time to load it.
    """
    first = first_pair(config, offered)
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


def first_pair(config: RunConfig, offered: Offer) -> AlignedPair:
    """The cameras' first pictures on the run's own map."""
    sources = offered.thermal.info, offered.rgb.info
    registrar = assemble.open_registrar(config, offered.cameras(), offered.rig, *sources)
    return registrar.register(FramePair(thermal=offered.thermal.frame(0), rgb=offered.rgb.frame(0), skew_ns=0))
