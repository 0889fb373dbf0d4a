"""Frames of one pixel at chosen times, and what became of them: for every test about time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

import numpy as np

from streamfuse.frames import Clock, Frame, FramePair, LoneFrame, Modality
from streamfuse.sync import Outcome, PairMatcher

T, C = Modality.THERMAL, Modality.RGB
MS, S = 1_000_000, 1_000_000_000
PIXELS = {T: np.zeros((1, 1), np.uint16), C: np.zeros((1, 1, 3), np.uint8)}


def frame(modality: Modality, time_ns: float, sequence: int, captured_ns: int | None = None) -> Frame:
    stamps = {} if captured_ns is None else {"captured": captured_ns}
    pixels = PIXELS[modality]
    return Frame(
        modality=modality, pixels=pixels, capture_ns=int(time_ns), sequence=sequence, clock=Clock.SENSOR, stamps=stamps
    )


def frames(modality: Modality, times_ms: Iterable[float]) -> list[Frame]:
    return [frame(modality, time * MS, sequence) for sequence, time in enumerate(times_ms)]


def in_order(*streams: list[Frame]) -> list[Frame]:
    return sorted(itertools.chain(*streams), key=lambda each: each.capture_ns)


def played(matcher: PairMatcher, items: Iterable[Frame], *, live: bool = False) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for item in items:
        outcomes += matcher.push(item)
        outcomes += matcher.advance(item.capture_ns) if live else []
    return outcomes + matcher.flush()


def pairs(outcomes: Iterable[Outcome]) -> list[tuple[int, int]]:
    return [(each.thermal.sequence, each.rgb.sequence) for each in outcomes if isinstance(each, FramePair)]


def told(outcome: Outcome) -> tuple[object, ...]:
    """An outcome as plain values."""
    if isinstance(outcome, FramePair):
        return "pair", outcome.thermal.sequence, outcome.rgb.sequence, outcome.skew_ns
    if isinstance(outcome, LoneFrame):
        return "lone", outcome.frame.modality.value, outcome.frame.sequence
    return "dropped", outcome.modality.value, outcome.sequence, outcome.reason.value


def summary(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many frames went which way."""
    ways: Counter[str] = Counter()
    for each in outcomes:
        if isinstance(each, FramePair):
            ways["matched"] += 2
        else:
            ways[f"lone {each.frame.modality.value}" if isinstance(each, LoneFrame) else each.reason.value] += 1
    return dict(ways)
