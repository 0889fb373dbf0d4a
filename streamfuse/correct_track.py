"""Readings in, an Alignment out: the shift is followed estimate by estimate, roll and zoom by medians of several.

Pure: time comes in as an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from streamfuse.correct import Reading, Shift
from streamfuse.correct_limits import SHIFT, TURN, Follower
from streamfuse.frames import Alignment, Size, Turn

TOGETHER_S = 5.0
"""Of so many seconds the median turn counts, where half of the estimates or more gave one of the present scene."""


@dataclass(slots=True)
class _Several:
    """Estimates of the turn until they are put together."""

    seconds: float = 0.0
    estimates: int = 0
    new_scene: bool = False
    turns: list[Shift] = field(default_factory=list[Shift])

    def add(self, turn: Shift | None, seconds: float, *, new_scene: bool) -> None:
        if new_scene:
            self.turns.clear()
            self.new_scene = True
        if turn is not None:
            self.turns.append(turn)
        self.estimates += 1
        self.seconds += seconds

    @property
    def median(self) -> Shift | None:
        return np.median(self.turns, axis=0) if 2 * len(self.turns) >= self.estimates else None


class Tracker:
    """What is known of the alignment, and what of it is corrected."""

    def __init__(self, size: Size = (640, 512), *, apply: bool = True) -> None:
        """`size`: of the output. Without `apply` nothing is corrected."""
        self._apply, unit = apply, size[0] / 640
        self._shift = Follower(unit, SHIFT, apply=apply)
        self._turn = Follower(unit / (math.hypot(*size) / 2), TURN, apply=apply)
        self._several = _Several()

    def follow(self, reading: Reading | None, seconds: float) -> Alignment:
        """Take in the reading made `seconds` after the one before; None where none could be made."""
        new_scene = reading is not None and reading.new_scene
        trusted = reading if reading is not None and reading.sure else None
        self._shift.follow(trusted.shift_px if trusted else None, seconds, new_scene=new_scene)
        self._several.add(trusted.turn if trusted else None, seconds, new_scene=new_scene)
        if (several := self._several).seconds >= TOGETHER_S:
            self._turn.follow(several.median, several.seconds, new_scene=several.new_scene)
            self._several = _Several()
        return self._told()

    def _told(self) -> Alignment:
        shift, turn = self._shift, self._turn
        return Alignment(
            state="frozen" if shift.frozen else "following" if self._apply else "watching",
            drift_px=_pair(shift.drift),
            spread_px=shift.spread,
            applied_px=_pair(shift.applied),
            trusted=shift.trusted,
            turn=Turn(frozen=turn.frozen, drift=_pair(turn.drift), spread=turn.spread, applied=_pair(turn.applied)),
        )


def _pair(values: Shift) -> tuple[float, float]:
    first, second = values.tolist()
    return first, second
