"""How many frames of a live stream never reached us, as far as that is known exactly; times are no witness.

Two witnesses: frame numbers that the driver (or a test source) puts on each buffer, and, for streams without them, the
count of buffers that entered the appsink. The count tells a loss only once more frames are missing than can still be
waiting there, or when nothing waits any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamfuse.sources.gstreamer_launch import WAITING

MOST = 10_000
"""A larger gap between two frame numbers is a counter that was set, not a loss."""


@dataclass(slots=True)
class LossCount:
    """`begin`, then ask `before_frame` with every frame that was taken, and `while_empty` when none was waiting."""

    taken: int = 0
    told: int = 0
    numbered: bool = False  # do numbers count frames? (some elements number bytes)
    last_number: int | None = None

    def skip(self, number: int | None) -> None:
        """A frame that came before anybody listened; it only shows whether numbers count frames."""
        self._step(number)

    def begin(self, entered: int) -> None:
        """From here on frames count; `entered` as read before nothing was found waiting."""
        self.taken, self.told = 0, entered

    def before_frame(self, number: int | None, entered: int) -> int:
        """Frames lost between the frame taken last and this one. `entered`: buffers that came to the appsink so far."""
        self.taken += 1
        step = self._step(number)
        if self.numbered:
            return step - 1 if 1 < step < MOST else 0
        return self._tell(entered - self.taken - self.told - WAITING)

    def while_empty(self, entered: int) -> int:
        """Frames lost and not told yet; `entered` as read before nothing was found waiting."""
        return 0 if self.numbered else self._tell(entered - self.taken - self.told)

    def _step(self, number: int | None) -> int:
        """From the last number to this one, 0 where there is none."""
        step = 0 if number is None or self.last_number is None else number - self.last_number
        self.last_number = number
        self.numbered = self.numbered or step == 1
        return step

    def _tell(self, lost: int) -> int:
        lost = max(0, lost)
        self.told += lost
        return lost
