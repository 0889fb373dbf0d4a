"""`streamfuse subscribe`: a consumer that says what it gets, and the example of how to be one."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from streamfuse.clock import now_ns
from streamfuse.curve import ReaderKeys
from streamfuse.frames import FusedFrame, Stamps
from streamfuse.report import timings
from streamfuse.subscribe import Subscriber, age_ns

KEPT_STAMPS = 100_000
LINE_NS = 1_000_000_000
HINT_S = 3.0
ABSENT = {"connecting", "stalled", "failed"}


@dataclass(slots=True)
class _Tally:
    """What was received so far, and what was received since the last line."""

    received: int = 0
    states: Counter[str] = field(default_factory=Counter[str])
    stamps: deque[Stamps] = field(default_factory=lambda: deque[Stamps](maxlen=KEPT_STAMPS))
    line_ns: int = field(default_factory=now_ns)
    line_frames: int = 0

    def add(self, frame: FusedFrame) -> None:
        self.received += 1
        self.line_frames += 1
        self.states[frame.state.value] += 1
        if frame.same_boot:
            self.stamps.append(frame.stamps)

    def line(self, frame: FusedFrame, subscriber: Subscriber) -> str | None:
        """One line a second about the newest frame, else None."""
        now = now_ns()
        if now - self.line_ns < LINE_NS:
            return None
        fps = self.line_frames * 1e9 / (now - self.line_ns)
        self.line_ns, self.line_frames = now, 0
        gone = "".join(f"  {name} {state}" for name, state in subscriber.sources.items() if state in ABSENT)
        skew = "-" if frame.skew_ns is None else f"{frame.skew_ns / 1e6:+.1f} ms"
        return (
            f"frame {frame.sequence}  {fps:5.1f} fps  age {age_ns(frame) / 1e6:6.1f} ms  skew {skew}  "
            f"{frame.state.value}  {frame.engine}/{frame.model}  lost {subscriber.lost}{gone}"
        )


def listen(
    endpoint: str,
    *,
    stream: str,
    frames: int | None,
    seconds: float | None,
    save: Path | None,
    mode: str,
    stop: threading.Event,
    console: Console | None,
    curve: ReaderKeys | None = None,
) -> dict[str, Any]:
    """Receive until the publisher says goodbye, a limit, or `stop`; counts and latency as a dictionary.

    Latency is measured only for frames of this machine, whose clock it is. Raises UserError for a bad endpoint.
    """
    tally = _Tally()
    with Subscriber(endpoint, stream=stream, mode=mode, timeout_s=None, curve=curve) as subscriber:
        with _closed_in_time(subscriber, stop, seconds, console):
            for frame in subscriber.every():
                tally.add(frame)
                if save:
                    _save(save, frame)
                if console and (line := tally.line(frame, subscriber)):
                    console.print(line, highlight=False)
                if tally.received == frames:
                    break
        return _told(tally, subscriber, stream)


def _told(tally: _Tally, subscriber: Subscriber, stream: str) -> dict[str, Any]:
    timed = timings(list(tally.stamps), until="received")
    return {
        "stream": stream,
        "received": tally.received,
        "lost": subscriber.lost,
        "skipped": subscriber.skipped,
        "refused": subscriber.refused,
        "trouble": subscriber.trouble,
        "states": dict(tally.states),
        "latency_ms": dict(timed.latency_ms),
        "stages_ms": {stage: dict(row) for stage, row in timed.stages_ms.items()},
        "fps": timed.fps,
        "info": dict(subscriber.info or {}),
    }


@contextmanager
def _closed_in_time(
    subscriber: Subscriber, stop: threading.Event, seconds: float | None, console: Console | None
) -> Generator[None]:
    """Close the subscriber, which ends its iteration, on `stop` or after `seconds`; hint once when nothing comes."""
    over = threading.Event()

    def watch() -> None:
        began_ns, hinted = now_ns(), console is None
        while not over.is_set() and not stop.wait(0.1):
            waited_s = (now_ns() - began_ns) / 1e9
            if console and not hinted and waited_s > HINT_S and not subscriber.connected:
                hint = (
                    subscriber.trouble or f"nothing heard from {subscriber.endpoint} yet; is a publisher bound there?"
                )
                console.print(hint, markup=False, highlight=False)
                hinted = True
            if seconds is not None and waited_s >= seconds:
                break
        subscriber.close()

    watcher = threading.Thread(target=watch, name="subscribe-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _save(folder: Path, frame: FusedFrame) -> None:
    from streamfuse.triptych import write_image

    write_image(folder / f"{frame.sequence:06d}.png", frame.pixels)
