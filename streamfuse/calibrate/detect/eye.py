"""Eye: one camera, looked through again and again; each look is short, for somebody holds the target meanwhile.

A look tries the preparation that showed the target last and one more; what no single look has time for is tried over
the next ones, so that a still target is found within a dozen looks by whatever shows it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from streamfuse.calibrate.detect.detect import Look, look_through, other_board
from streamfuse.calibrate.detect.preparations import preparations
from streamfuse.calibrate.detect.scalar import scalar_of
from streamfuse.calibrate.target import Target


class Eye:
    """Looks for `target` in the images of one camera."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._showed: int = 0  # number of the preparation that showed the target last
        self._next: int = 1  # that is tried beside it
        self._other: tuple[int, int] | None = None

    def look(self, image: NDArray[Any]) -> Look:
        """As `detect.look_for`, with two preparations at most; a board of another size is told once all were tried."""
        values, kind = scalar_of(image)
        tried = {self._showed, self._next}
        for number, prepared in enumerate(preparations(values)):
            if number in tried:
                look = look_through(prepared, values, kind, self._target)
                if look.sighting:
                    self._showed, self._next, self._other = number, number, None
                    return look
                self._other = look.other_size or self._other
            if number >= max(tried):
                self._next += 1
                return Look(None, self._other)
        self._next, self._other = 0, other_board(values, self._target)
        return Look(None, self._other)
