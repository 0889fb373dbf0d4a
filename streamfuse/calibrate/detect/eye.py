"""Eye: one camera, looked through again and again; each look is short, for somebody holds the target meanwhile.

A look tries the preparation that showed the target last and one more; what no single look has time for is tried over
the next ones, so that a still target is found within a dozen looks by whatever shows it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from streamfuse.calibrate.detect.detect import Look, look_through
from streamfuse.calibrate.detect.preparations import preparations
from streamfuse.calibrate.detect.scalar import scalar_of
from streamfuse.calibrate.target import Target


class Eye:
    """Looks for `target` in the images of one camera."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._showed: int = 0  # number of the preparation that showed the target last
        self._next: int = 1  # that is tried beside it
        self._instead = Look(None)  # another board, or a part of one
        self._lately = False  # seen since the first preparations were tried last

    def look(self, image: NDArray[Any]) -> Look:
        """As `detect.look_for`, with two preparations at most; another board, or a part of one, is told until the
        target is seen or every preparation was tried without either."""
        values, kind = scalar_of(image)
        tried = {self._showed, self._next}
        for number, prepared in enumerate(preparations(values)):
            if number in tried:
                look = look_through(number, prepared, values, kind, self._target)
                if look.sighting:
                    self._showed, self._next, self._instead = number, number, Look(None)
                    return look
                if look.other_size or look.part:
                    self._instead, self._lately = look, True
            if number >= max(tried):
                self._next += 1
                return self._instead
        self._next, self._lately, known = 0, False, self._lately
        self._instead = self._instead if known else Look(None)
        return self._instead
