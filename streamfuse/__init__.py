"""Thermal and RGB camera streams in, one fused, time-stamped image stream out.

Read the stream, in any process and without the rest of streamfuse being loaded:

    from streamfuse import Subscriber, age_ns

    with Subscriber("tcp://127.0.0.1:5555") as subscriber:
        while (frame := subscriber.latest()) is not None:
            print(frame.sequence, frame.state.value, f"{age_ns(frame) / 1e6:.1f} ms old", frame.pixels.shape)

The first of these names loads numpy, pyzmq and msgspec, nothing heavier; the command line starts before that.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamfuse.depthlink.client import DepthLink
    from streamfuse.errors import StreamfuseError, UserError, WireError
    from streamfuse.frames import Clock, FusedFrame, Reason, State
    from streamfuse.publish import Publisher
    from streamfuse.subscribe import Subscriber, age_ns

__all__ = [
    "Clock",
    "DepthLink",
    "FusedFrame",
    "Publisher",
    "Reason",
    "State",
    "StreamfuseError",
    "Subscriber",
    "UserError",
    "WireError",
    "age_ns",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamfuse import errors, frames, publish, subscribe
    from streamfuse.depthlink import client

    return next(getattr(home, name) for home in (errors, frames, publish, subscribe, client) if hasattr(home, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
