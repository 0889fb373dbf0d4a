"""Engines by preference: the best that loads does the work; one that breaks gives way to the next.

Never silently: every step down is a warning in the log with its reason, and the name that stands in every message is
that of the engine at work. There is no way up again before the next start. It knows no engine by name.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from streamfuse.errors import EngineError

if TYPE_CHECKING:
    from streamfuse.frames import Pixels, WarpMap
    from streamfuse.fuse import Engine
    from streamfuse.thermal import ToneCurve

log = logging.getLogger(__name__)
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Rung:
    """An engine that may be opened."""

    name: str
    open: Callable[[], Engine]


class Ladder:
    """An Engine that is the best of several. Raises EngineError when not one of them loads, or none is left."""

    def __init__(self, rungs: Iterable[Rung]) -> None:
        self._below = deque(rungs)
        self._warp: WarpMap | None = None
        self._engine = self._next_engine(None)

    @property
    def name(self) -> str:
        return self._engine.name

    def set_warp(self, warp: WarpMap) -> None:
        self._warp = warp
        self._done(lambda engine: engine.set_warp(warp))

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        return self._done(lambda engine: engine.fuse(thermal, curve, rgb))

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        return self._done(lambda engine: engine.align(thermal, curve))

    def close(self) -> None:
        self._engine.close()

    def _done(self, work: Callable[[Engine], Made]) -> Made:
        """The work, by the first engine from here downwards that gets it done: no frame is lost to a step down."""
        try:
            return work(self._engine)
        except Exception as error:  # vendor libraries raise anything
            self._step_down(error)
        return self._done(work)

    def _step_down(self, error: Exception) -> None:
        log.warning("engine %s failed: %s", self._engine.name, _line(error))
        with suppress(Exception):
            self._engine.close()
        self._engine = self._next_engine(error)

    def _next_engine(self, broken: Exception | None) -> Engine:
        """The next rung that loads and takes over the map."""
        reason = broken
        while self._below:
            rung = self._below.popleft()
            try:
                engine = self._opened(rung)
            except Exception as error:
                log.warning("engine %s does not load: %s", rung.name, _line(error))
                reason = error
                continue
            if reason is not None:
                log.warning("going on with engine %s", engine.name)
            return engine
        raise EngineError(f"no engine is left: {_line(reason)}") from reason

    def _opened(self, rung: Rung) -> Engine:
        engine = rung.open()
        if self._warp is not None:
            engine.set_warp(self._warp)
        return engine


def _line(error: Exception | None) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
