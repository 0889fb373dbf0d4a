"""Engines by preference: the best that loads does the work; one that breaks gives way to the next.

Never silently: every step down is a warning in the log with its reason, and the name that stands in every message is
that of the engine at work. A rung that broke is not tried again before the next start.

No frame waits for a slow rung. A start, and a map of other sizes, may take seconds; a rung that takes minutes is opened
in the background while the best of the others serves, and takes over between two frames. Where one breaks at work,
the next that is there at once goes on, and a better one that takes seconds comes in the same way. The ladder knows no
engine by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from streamfuse.errors import EngineError
from streamfuse.fuse.coming import Coming, sizes

if TYPE_CHECKING:
    from streamfuse.frames import Pixels, WarpMap
    from streamfuse.fuse import Engine
    from streamfuse.thermal import ToneCurve

log = logging.getLogger(__name__)
Made = TypeVar("Made")


class Pace(IntEnum):
    """How long a rung takes until it serves."""

    INSTANT = 0
    SECONDS = 1
    MINUTES = 2


def instant(warp: WarpMap) -> Pace:
    del warp
    return Pace.INSTANT


@dataclass(frozen=True, slots=True)
class Rung:
    """An engine that may be opened; `pace` says how long that and taking over a map will take."""

    name: str
    open: Callable[[], Engine]
    pace: Callable[[WarpMap], Pace] = instant


class Ladder:
    """An Engine that is the best of several. Raises EngineError when not one of them loads, or none is left."""

    def __init__(self, rungs: Iterable[Rung]) -> None:
        self._rungs = list(rungs)
        self._warp: WarpMap | None = None
        self._served = False
        self._coming: Coming | None = None
        self._settle(Pace.SECONDS)

    @property
    def name(self) -> str:
        return self._engine.name

    def set_warp(self, warp: WarpMap) -> None:
        known = self._warp is not None and sizes(self._warp) == sizes(warp)
        self._warp = warp
        if known:
            self._done(lambda engine: engine.set_warp(warp))
        else:
            self._move()

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        return self._serve(lambda engine: engine.fuse(thermal, curve, rgb))

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        return self._serve(lambda engine: engine.align(thermal, curve))

    def close(self) -> None:
        if self._coming:
            self._coming.give_up()
        self._engine.close()

    def _serve(self, work: Callable[[Engine], Made]) -> Made:
        self._step_up()
        made = self._done(work)
        self._served = True
        return made

    def _done(self, work: Callable[[Engine], Made]) -> Made:
        """The work, by the first engine from here downwards that gets it done: no frame is lost to a step down."""
        try:
            return work(self._engine)
        except Exception as error:  # vendor libraries raise anything
            self._step_down(error)
        return self._done(work)

    def _step_down(self, error: Exception) -> None:
        log.warning("engine %s failed: %s", self._engine.name, _line(error))
        self._put_down()
        self._rungs.remove(self._at)
        self._settle(Pace.INSTANT if self._served else Pace.SECONDS, error)

    def _move(self) -> None:
        """To a map of other sizes, by the engine at work, unless that takes minutes."""
        warp = self._warp
        if warp is not None and self._soon(self._at, Pace.SECONDS):
            self._done(lambda engine: engine.set_warp(warp))
        else:
            self._put_down()
            self._settle(Pace.SECONDS)
        self._send_for_better()

    def _settle(self, patience: Pace, broken: Exception | None = None) -> None:
        """Put the best rung to work that is there soon enough; any, where none is."""
        soon = [rung for rung in self._rungs if self._soon(rung, patience)]
        reason = broken
        for rung in soon + [rung for rung in self._rungs if rung not in soon]:
            try:
                self._engine, self._at = self._opened(rung), rung
            except Exception as error:
                log.warning("engine %s does not load: %s", rung.name, _line(error))
                self._rungs.remove(rung)
                reason = error
                continue
            if reason is not None:
                log.warning("going on with engine %s", self._engine.name)
            return self._send_for_better()
        raise EngineError(f"no engine is left: {_line(reason)}") from reason

    def _soon(self, rung: Rung, patience: Pace) -> bool:
        return self._warp is None or rung.pace(self._warp) <= patience

    def _opened(self, rung: Rung) -> Engine:
        engine = rung.open()
        if self._warp is not None:
            engine.set_warp(self._warp)
        return engine

    def _put_down(self) -> None:
        with suppress(Exception):
            self._engine.close()

    def _send_for_better(self) -> None:
        """Have the best rung above the one at work opened in the background; one at a time."""
        if self._warp is None or self._coming is not None or self._rungs[0] is self._at:
            return
        log.info("engine %s is being made ready; %s serves until then", self._rungs[0].name, self._engine.name)
        self._coming = Coming(self._rungs[0], self._warp)

    def _step_up(self) -> None:
        """Between two frames: to the engine that became ready, if one did."""
        coming, warp = self._coming, self._warp
        if coming is None or warp is None or not coming.finished:
            return
        self._coming = None
        try:
            engine = coming.taken(warp)
        except Exception as error:
            log.warning("engine %s does not load: %s", coming.rung.name, _line(error))
            self._rungs.remove(coming.rung)
        else:
            if engine is not None:
                self._put_down()
                self._engine, self._at = engine, coming.rung
                log.warning("engine %s is ready and takes over", engine.name)
        self._send_for_better()


def _line(error: Exception | None) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
