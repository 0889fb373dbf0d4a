"""How the live sources are doing: their state, how often they came back, what was wrong last; told in the log.

It counts and tells; it decides nothing and knows no thread and no clock.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from streamfuse.frames import Modality
from streamfuse.sources import SourceChange, SourceState

ENDED = "ended"
"""State of a recording that is through; the others are those of `SourceState`."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """One source so far; `reconnects` counts how often it was opened anew and came back."""

    state: str
    reconnects: int = 0
    last_error: str | None = None


class Health:
    """Takes in the changes of supervised sources; those that are not supervised do not appear in `as_dict`.

    `states`: the state of every source that was heard of, by name; replaced as a whole, so that any thread may read it.
    """

    def __init__(self) -> None:
        self._sources: dict[Modality, SourceHealth] = {}
        self.states: Mapping[str, str] = {}
        self._left_live_ns: dict[Modality, int] = {}
        self._torn_down: set[Modality] = set()  # since they were live

    def note(self, change: SourceChange) -> None:
        """Count a change, and tell it unless it only repeats what was told."""
        before = self._sources.get(change.modality, SourceHealth(""))
        after = replace(before, state=change.state.value, last_error=change.why or before.last_error)
        if change.state is SourceState.LIVE:
            after = replace(after, reconnects=before.reconnects + (change.modality in self._torn_down))
            self._torn_down.discard(change.modality)
        elif before.state == SourceState.LIVE.value:
            self._left_live_ns[change.modality] = change.at_ns
        if change.state is SourceState.FAILED and change.modality in self._left_live_ns:
            self._torn_down.add(change.modality)
        self._sources[change.modality] = after
        self._state(change.modality, change.state.value)
        self._tell(change, before)

    def note_frame(self, modality: Modality) -> None:
        """A source that is not supervised says with its first frame only that it is there."""
        if modality.value not in self.states:
            self._state(modality, SourceState.LIVE.value)

    def note_end(self, modality: Modality) -> None:
        self._state(modality, ENDED)

    def as_dict(self) -> dict[str, dict[str, str | int | None]]:
        return {modality.value: asdict(health) for modality, health in self._sources.items()}

    def _state(self, modality: Modality, state: str) -> None:
        self.states = {**self.states, modality.value: state}

    def _tell(self, change: SourceChange, before: SourceHealth) -> None:
        name = change.modality.value
        if change.state is SourceState.LIVE:
            gone_ns = change.at_ns - self._left_live_ns.get(change.modality, change.at_ns)
            log.info("%s: live%s", name, f" again after {gone_ns / 1e9:.1f} s" if gone_ns else "")
        elif (change.why and change.why != before.last_error) or before.state == SourceState.LIVE.value:
            log.warning("%s: %s: %s", name, change.state.value, change.why)
