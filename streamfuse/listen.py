"""`streamfuse subscribe`: a consumer that says what it gets, and the example of how to be one."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
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
from streamfuse.terminal import counted, make_folder

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
    console: Console,
    quiet: bool = False,
    curve: ReaderKeys | None = None,
) -> dict[str, Any]:
    """Receive until the publisher says goodbye, a limit, or `stop`; counts and latency as a dictionary.

    `quiet`: no line per second, only the summary. Latency is measured only for frames of this machine, whose clock it
    is. Raises UserError for a bad endpoint, and for a folder that cannot be written.
    """
    tally = _Tally()
    if save:
        make_folder(save, "--save")
    with Subscriber(endpoint, stream=stream, mode=mode, timeout_s=None, curve=curve) as subscriber:

        def hint() -> None:
            if not quiet and not tally.received:
                console.print(_why_nothing(subscriber, mode), markup=False, highlight=False)

        with _closed_in_time(subscriber, stop, seconds, hint):
            for frame in subscriber.every():
                tally.add(frame)
                if save:
                    _save(save, frame)
                if not quiet and (line := tally.line(frame, subscriber)):
                    console.print(line, highlight=False)
                if tally.received == frames:
                    break
        told = _told(tally, subscriber, stream)
    console.print(_summary(told), markup=False, highlight=False)
    return told


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


def _summary(told: Mapping[str, Any]) -> str:
    """What was received, in one line for people."""
    rate = f" at {told['fps']:.1f} fps" if told["fps"] else ""
    states = f" ({', '.join(f'{count} {state}' for state, count in told['states'].items())})" if told["states"] else ""
    counts = ", ".join(f"{name} {told[name]}" for name in ("lost", "skipped", "refused"))
    ages = [f"{name} {ms:.1f} ms" for name, ms in told["latency_ms"].items() if name != "n" and ms is not None]
    latency = f"; from capture {', '.join(ages)}" if ages else ""
    trouble = f"; {told['trouble']}" if told["trouble"] else ""
    received = counted(told["received"], f"{told['stream']} frame")
    return f"received {received}{rate}{states}; {counts}{latency}{trouble}"


def _why_nothing(subscriber: Subscriber, mode: str) -> str:
    """Why no frame came, as far as can be told from here."""
    if not subscriber.connected:
        asked = "a publisher with publish.mode: push" if mode == "pull" else "a publisher"
        other = "" if mode == "pull" else " (one with publish.mode: push needs --pull)"
        return subscriber.trouble or f"nothing heard from {subscriber.endpoint} yet; is {asked} bound there?{other}"
    streams = (subscriber.info or {}).get("streams", [])
    if streams and subscriber.stream not in streams:
        return f"{subscriber.endpoint} has no stream {subscriber.stream!r}; it has {', '.join(streams)}"
    return f"{subscriber.endpoint} is there, and has sent no {subscriber.stream} frame yet"


@contextmanager
def _closed_in_time(
    subscriber: Subscriber, stop: threading.Event, seconds: float | None, hint: Callable[[], None]
) -> Generator[None]:
    """Close the subscriber, which ends its iteration, on `stop` or after `seconds`; call `hint` once after `HINT_S`."""
    over = threading.Event()

    def watch() -> None:
        began_ns, hinted = now_ns(), False
        while not over.is_set() and not stop.wait(0.1):
            waited_s = (now_ns() - began_ns) / 1e9
            if not hinted and waited_s > HINT_S:
                hint()
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
