"""Both ledgers: they count every way out, they notice what is missing, and the file is the same every time."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import Clock, DroppedFrame, Frame, FramePair, LoneFrame, Modality, Reason
from streamfuse.ledger import FrameLedger, OutputLedger
from streamfuse.sync import PairMatcher

MS = 1_000_000


def frame(modality: Modality, time_ms: float, sequence: int, start_ns: int = 0) -> Frame:
    pixels = np.zeros((1, 1), np.uint8) if modality is Modality.THERMAL else np.zeros((1, 1, 3), np.uint8)
    return Frame(
        modality=modality,
        pixels=pixels,
        capture_ns=start_ns + int(time_ms * MS),
        sequence=sequence,
        clock=Clock.RECORDING,
        recording_ns=int(time_ms * MS),
    )


def thermal(sequence: int) -> Frame:
    return frame(Modality.THERMAL, 33 * sequence, sequence)


def rgb(sequence: int) -> Frame:
    return frame(Modality.RGB, 33 * sequence + 4, sequence)


def lost(sequence: int, reason: Reason = Reason.CORRUPT) -> DroppedFrame:
    return DroppedFrame(modality=Modality.RGB, sequence=sequence, reason=reason)


def filled(path: Path | None = None) -> FrameLedger:
    """Two pairs of which one holds its thermal frame, one lone frame, one corrupt frame, one frame in flight."""
    held, corrupt = thermal(0), lost(2)
    ledger = FrameLedger(path)
    for item in (held, rgb(0), rgb(1), corrupt, thermal(3), thermal(4)):
        ledger.enter(item)
    ledger.leave(FramePair(thermal=held, rgb=rgb(0), skew_ns=-4 * MS))
    ledger.leave(FramePair(thermal=held, rgb=rgb(1), skew_ns=-37 * MS, held=True))
    ledger.leave(corrupt)
    ledger.leave(LoneFrame(frame=thermal(3), why="the other stream is silent"))
    return ledger


def test_every_way_out_is_counted_once() -> None:
    ledger = filled()
    assert ledger.as_dict() == {
        "frames_in": {"thermal": 3, "rgb": 3},
        "matched": 3,
        "lone": {"thermal": 1, "rgb": 0},
        "dropped": {"corrupt": 1},
        "in_flight": 1,
    }
    assert ledger.pairs == 2
    ledger.check(1)


@pytest.mark.parametrize("in_flight", [0, 2])
def test_a_frame_that_is_missing_or_too_many_is_noticed(in_flight: int) -> None:
    with pytest.raises(StreamfuseError, match=rf'{in_flight} in flight.*"thermal": 3.*"in_flight": 1'):
        filled().check(in_flight)


def test_dropped_is_told_by_reason_in_a_fixed_order() -> None:
    ledger = FrameLedger()
    for reason in (Reason.SHUTDOWN, Reason.LATE, Reason.CORRUPT, Reason.LATE):
        ledger.enter(lost(0, reason))
        ledger.leave(lost(0, reason))
    assert list(ledger.dropped.items()) == [("corrupt", 1), ("late", 2), ("shutdown", 1)]


def test_the_file_has_one_line_per_outcome_and_no_clock_of_the_run(tmp_path: Path) -> None:
    with filled(tmp_path / "match.jsonl"):
        pass
    lines = [json.loads(line) for line in (tmp_path / "match.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["pair", "pair", "dropped", "lone"]
    assert lines[1] == {
        "event": "pair",
        "skew_ns": -37 * MS,
        "reason": None,
        "detail": "held",
        "thermal_seq": 0,
        "rgb_seq": 1,
        "thermal_recording_ns": 0,
        "rgb_recording_ns": 37 * MS,
    }
    assert (lines[2]["reason"], lines[2]["rgb_seq"], lines[2]["thermal_seq"]) == ("corrupt", 2, None)
    assert (lines[3]["detail"], lines[3]["thermal_recording_ns"]) == ("the other stream is silent", 99 * MS)


def test_the_file_is_the_same_whenever_the_run_starts(tmp_path: Path) -> None:
    """Jitter, losses and both rates through the matcher, replayed at two monotonic times."""
    written: list[bytes] = []
    for run, start_ns in enumerate((7, 86_400_000_000_123)):
        chance, path = random.Random(3), tmp_path / f"{run}.jsonl"
        arrivals = [
            frame(modality, i * period + chance.uniform(-2, 2) + 20, i, start_ns)
            for modality, period in ((Modality.THERMAL, 1000 / 9), (Modality.RGB, 1000 / 30))
            for i in range(int(4000 / period))
            if chance.random() > 0.1
        ]
        matcher = PairMatcher(thermal_rate_hz=9, rgb_rate_hz=30)
        with FrameLedger(path) as ledger:
            for item in sorted(arrivals, key=lambda each: each.capture_ns):
                ledger.enter(item)
                for outcome in matcher.push(item.stamped("captured", start_ns + chance.randrange(10**10))):
                    ledger.leave(outcome)
            for outcome in matcher.flush():
                ledger.leave(outcome)
            ledger.check(0)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert {b"pair", b"lone", b"surplus"} <= {word for word in (b"pair", b"lone", b"surplus") if word in written[0]}


def test_a_ledger_file_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no/match\.jsonl, found No such file"):
        FrameLedger(tmp_path / "no" / "match.jsonl")


def test_outputs_balance_by_reason() -> None:
    ledger = OutputLedger()
    for _ in range(5):
        ledger.enter()
    ledger.published()
    ledger.published()
    ledger.dropped(Reason.SUPERSEDED)
    assert ledger.as_dict() == {"in": 5, "published": 2, "dropped": {"superseded": 1}, "in_flight": 2}
    assert (ledger.published_count, ledger.dropped_by_reason) == (2, {"superseded": 1})
    ledger.check(2)
    with pytest.raises(StreamfuseError, match=r'output ledger.*0 in flight.*"in": 5'):
        ledger.check(0)


def test_outputs_are_counted_from_many_threads() -> None:
    ledger = OutputLedger()

    def send() -> None:
        for i in range(2000):
            ledger.enter()
            if i % 3:
                ledger.published()
            else:
                ledger.dropped(Reason.SUPERSEDED)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert ledger.as_dict() == {"in": 8000, "published": 5332, "dropped": {"superseded": 2668}, "in_flight": 0}
