"""Two ledgers: whatever enters must leave, through a named door, or still be in flight.

They count; they decide nothing and know no clock. The frame ledger may also write every outcome to a file, one JSON
line each, with deterministic content only: the same input gives the same bytes.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import DroppedFrame, Frame, FramePair, LoneFrame, Modality, Reason
from streamfuse.sync import Outcome


class FrameLedger:
    """Frames in = matched + lone + dropped by reason + in flight. For one thread.

    A `DroppedFrame` that comes out of a source enters like a frame, and leaves like any other outcome.
    `path`: also write one JSON line per outcome there (UserError where that file cannot be written). A context
    manager: leaving it closes the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.frames_in = {modality.value: 0 for modality in Modality}
        self.lone = {modality.value: 0 for modality in Modality}
        self.matched = 0
        self.pairs = 0
        self._dropped: Counter[Reason] = Counter()
        self._last_paired: dict[Modality, Frame] = {}
        self._file = _open(path) if path is not None else None

    def __enter__(self) -> FrameLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def dropped(self) -> dict[str, int]:
        """Dropped frames by reason, in the order of `Reason`; only reasons that occurred."""
        return _by_reason(self._dropped)

    @property
    def in_flight(self) -> int:
        left = self.matched + sum(self.lone.values()) + sum(self._dropped.values())
        return sum(self.frames_in.values()) - left

    def enter(self, item: Frame | DroppedFrame) -> None:
        self.frames_in[item.modality.value] += 1

    def leave(self, outcome: Outcome) -> None:
        if isinstance(outcome, FramePair):
            self._leave_paired(outcome)
        elif isinstance(outcome, LoneFrame):
            self.lone[outcome.frame.modality.value] += 1
        else:
            self._dropped[outcome.reason] += 1
        if self._file is not None:
            self._file.write(json.dumps(_line(outcome)) + "\n")

    def _leave_paired(self, pair: FramePair) -> None:
        self.pairs += 1
        for frame in (pair.thermal, pair.rgb):
            self.matched += not (pair.held and self._last_paired.get(frame.modality) is frame)
            self._last_paired[frame.modality] = frame

    def check(self, in_flight: int) -> None:
        """Raises StreamfuseError, naming the numbers, unless exactly `in_flight` frames are unaccounted for."""
        if self.in_flight != in_flight:
            raise StreamfuseError(f"the frame ledger does not balance: {in_flight} in flight, ledger says {self}")

    def as_dict(self) -> dict[str, Any]:
        return {
            "frames_in": dict(self.frames_in),
            "matched": self.matched,
            "lone": dict(self.lone),
            "dropped": self.dropped,
            "in_flight": self.in_flight,
        }

    def __str__(self) -> str:
        return json.dumps(self.as_dict())


class OutputLedger:
    """Pairs and lone frames in = published + dropped by reason + in flight. For any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._published = 0
        self._dropped: Counter[Reason] = Counter()

    def enter(self, count: int = 1) -> None:
        with self._lock:
            self._entered += count

    def published(self, count: int = 1) -> None:
        with self._lock:
            self._published += count

    def dropped(self, reason: Reason, count: int = 1) -> None:
        with self._lock:
            self._dropped[reason] += count

    @property
    def published_count(self) -> int:
        with self._lock:
            return self._published

    @property
    def dropped_by_reason(self) -> dict[str, int]:
        """Dropped outputs by reason, in the order of `Reason`; only reasons that occurred."""
        with self._lock:
            return _by_reason(self._dropped)

    @property
    def in_flight(self) -> int:
        return int(self.as_dict()["in_flight"])

    def check(self, in_flight: int) -> None:
        """Raises StreamfuseError, naming the numbers, unless exactly `in_flight` outputs are unaccounted for."""
        now = self.as_dict()
        if now["in_flight"] != in_flight:
            raise StreamfuseError(
                f"the output ledger does not balance: {in_flight} in flight, ledger says {json.dumps(now)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """One consistent moment of all counts."""
        with self._lock:
            dropped = _by_reason(self._dropped)
            in_flight = self._entered - self._published - sum(dropped.values())
            return {"in": self._entered, "published": self._published, "dropped": dropped, "in_flight": in_flight}


def _by_reason(counts: Counter[Reason]) -> dict[str, int]:
    return {reason.value: counts[reason] for reason in Reason if counts[reason]}


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(
            f"match ledger: asked to write {path}, found {error.strerror}; name a file in a folder you may write to"
        ) from error


def _line(outcome: Outcome) -> dict[str, Any]:
    """What may be written of an outcome: sequences, the recording's times, skew, reason; no clock of this run."""
    if isinstance(outcome, DroppedFrame):
        frames = {outcome.modality: (outcome.sequence, outcome.recording_ns)}
    elif isinstance(outcome, LoneFrame):
        frames = {outcome.frame.modality: (outcome.frame.sequence, outcome.frame.recording_ns)}
    else:
        frames = {frame.modality: (frame.sequence, frame.recording_ns) for frame in (outcome.thermal, outcome.rgb)}
    thermal_seq, thermal_ns = frames.get(Modality.THERMAL, (None, None))
    rgb_seq, rgb_ns = frames.get(Modality.RGB, (None, None))
    return {
        **_event(outcome),
        "thermal_seq": thermal_seq,
        "rgb_seq": rgb_seq,
        "thermal_recording_ns": thermal_ns,
        "rgb_recording_ns": rgb_ns,
    }


def _event(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, FramePair):
        return {"event": "pair", "skew_ns": outcome.skew_ns, "reason": None, "detail": "held" if outcome.held else ""}
    if isinstance(outcome, LoneFrame):
        return {"event": "lone", "skew_ns": None, "reason": None, "detail": outcome.why}
    return {"event": "dropped", "skew_ns": None, "reason": outcome.reason.value, "detail": outcome.detail}
