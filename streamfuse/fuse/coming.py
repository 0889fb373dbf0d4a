"""One engine being made ready in a thread of its own, while another serves. It knows nothing of preferences."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamfuse.frames import Size, WarpMap
    from streamfuse.fuse import Engine
    from streamfuse.fuse.ladder import Rung


class Coming:
    """Opens the rung and gives it the map. A daemon: a build of minutes does not keep the process from ending."""

    def __init__(self, rung: Rung, warp: WarpMap) -> None:
        self.rung = rung
        self._warp = warp
        self._engine: Engine | None = None
        self._error: Exception | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._make, name=f"make-{rung.name}", daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        return not self._thread.is_alive()

    def taken(self, warp: WarpMap) -> Engine | None:
        """The engine, with this map; None where it was made for other sizes meanwhile out of use.

        Raises what its making raised. To be called once, when finished.
        """
        if self._error is not None:
            raise self._error
        if self._engine is None or sizes(self._warp) != sizes(warp):
            self.give_up()
            return None
        if warp is not self._warp:
            self._engine.set_warp(warp)
        return self._engine

    def give_up(self) -> None:
        """Nobody waits any more: a builder that listens ends its build."""
        self._given_up = True
        if self._engine is not None:
            with suppress(Exception):
                self._engine.close()

    def _make(self) -> None:
        try:
            self._engine = self.rung.open()
            self._engine.set_warp(self._warp)
        except Exception as error:  # vendor libraries raise anything
            self._error = error
        if self._given_up:
            self.give_up()


def sizes(warp: WarpMap) -> tuple[Size, Size]:
    """What engines are compiled for: thermal and output."""
    return warp.thermal_size, warp.grid.size
