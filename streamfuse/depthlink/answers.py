"""What a run does with a request: the Registrar is asked, and a region that nobody renews is forgotten in time.

Knows no sockets and no clock: whoever calls says what time it is.
"""

from __future__ import annotations

import logging
import math

from streamfuse.depthlink.wire import (
    AskDepth,
    AskForget,
    AskRegion,
    AskState,
    Far,
    RefusedReply,
    RegionEntry,
    Reply,
    Request,
    StateReply,
    far,
    read_request,
    write,
)
from streamfuse.errors import UserError
from streamfuse.register import Registrar

log = logging.getLogger(__name__)


class Answers:
    """Answers the requests of one run, whoever sends them; only one thread may call it."""

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar
        self._until_ns: dict[str, int] = {}

    def answer(self, parts: list[bytes], at_ns: int) -> bytes:
        """The reply; never raises."""
        return write(self._reply(parts, at_ns))

    def expire(self, at_ns: int) -> None:
        """Forget the regions whose time is over."""
        for name in [name for name, until_ns in self._until_ns.items() if until_ns <= at_ns]:
            del self._until_ns[name]
            self._registrar.forget_region(name)

    def patience_ms(self, at_ns: int) -> int | None:
        """For how long nothing expires; None = for ever."""
        first_ns = min(self._until_ns.values(), default=None)
        return None if first_ns is None else max(0, -((at_ns - first_ns) // 1_000_000))

    def _reply(self, parts: list[bytes], at_ns: int) -> Reply:
        try:
            self.expire(at_ns)
            self._do(read_request(parts), at_ns)
            return self._state(at_ns)
        except UserError as error:
            return RefusedReply(str(error))
        except Exception:
            log.exception("a request for another depth could not be answered")
            return RefusedReply("the request could not be answered; the log of the run says why")

    def _do(self, request: Request, at_ns: int) -> None:
        match request:
            case AskDepth(depth_m):
                self._registrar.set_depth(float(depth_m))
            case AskRegion(box, depth_m, name, seconds):
                self._registrar.set_depth(float(depth_m), box, name=name)
                self._until_ns.pop(name, None)
                if seconds != "inf":
                    self._until_ns[name] = at_ns + round(seconds * 1e9)
            case AskForget(name):
                self._until_ns.pop(name, None)
                self._registrar.forget_region(name)
            case AskState():
                pass

    def _state(self, at_ns: int) -> StateReply:
        registrar = self._registrar
        depth_m, pending, warp = registrar.depth_m, not registrar.wait(0), registrar.warp
        return StateReply(
            depth_m=None if depth_m is None else far(depth_m),
            regions=[
                RegionEntry(name, box, far(region_m), self._seconds(name, at_ns))
                for name, (box, region_m) in registrar.regions.items()
            ],
            revision=warp.revision,
            confidence=registrar.confidence,
            pending=pending,
            size=warp.grid.size,
        )

    def _seconds(self, name: str, at_ns: int) -> Far:
        return far((self._until_ns[name] - at_ns) / 1e9 if name in self._until_ns else math.inf)
