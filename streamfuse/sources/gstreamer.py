"""Live cameras (and files) through GStreamer: one pipeline, one camera, one FrameSource.

It takes frames out of an appsink in the capture thread; GStreamer never calls into Python. How a pipeline is built,
how pixels, times and losses come out of it, and what its errors mean is said in the `gstreamer_*` files beside this
one. It refuses to know of other cameras, and to rebuild itself: a source that broke is left, and a new one opened.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from streamfuse.clock import ReplayClock, now_ns
from streamfuse.errors import SourceLost
from streamfuse.frames import Clock, DroppedFrame, Frame, Modality, Reason, Size
from streamfuse.sources import SourceInfo
from streamfuse.sources.gstreamer_bus import failure_on_bus, what_to_check
from streamfuse.sources.gstreamer_launch import PASSED, SINK, build_pipeline
from streamfuse.sources.gstreamer_library import load_gstreamer
from streamfuse.sources.gstreamer_losses import LossCount
from streamfuse.sources.gstreamer_pixels import FrameMemory, layout_of, mapped, read_pixels
from streamfuse.sources.gstreamer_spec import CameraSpec
from streamfuse.sources.gstreamer_times import Axis, FrameTimes, clock_time_ns, sender_ntp_ns, stamped_by

POLL_NS = 50_000_000
"""How long a wait for a frame lasts before the bus, the end and `close` are looked at."""
UNKNOWN_RATE_HZ = 30.0
STALL_PERIODS = 5
FILE_STALL_S = 10.0
TEAR_DOWN_S = 2.0


@dataclass(slots=True)
class _Open:
    """An open pipeline and what belongs to this opening only."""

    pipeline: Any
    sink: Any
    live: bool
    info: SourceInfo
    times: FrameTimes
    axis: Axis
    stall_ns: int
    losses: LossCount
    came_ns: int = 0  # when the newest frame (or the wait for it) began

    @property
    def entered(self) -> int:
        return self.pipeline.get_by_name(PASSED).get_property("stats").get_uint64("num-buffers")[1]


class GstSource:
    """One camera as a FrameSource: enter it, iterate it once, leave it. A new one is made for each opening.

    Entering waits for the first frame. It raises UserError where a person has to change something (typo, missing
    plugin, no such device, wrong password, a format that the camera does not have), and SourceLost where waiting may
    help (nothing listens there yet, nothing comes). Iterating a live stream skips what waited since then.
    A live stream is leaky: frames it lost come out as DroppedFrame. A file plays at its real pace, every frame, and on
    one time with every other file that was given the same `replay`.

    any_size: frames of another size may follow when a camera changes its size; else that is SourceLost.
    """

    def __init__(
        self, modality: Modality, spec: CameraSpec, *, any_size: bool = False, replay: ReplayClock | None = None
    ) -> None:
        self.modality = modality
        self._spec = spec
        self._any_size = any_size
        self._replay = replay or ReplayClock(0)
        self._memory = FrameMemory()
        self._closed = threading.Event()
        self._open: _Open | None = None

    @property
    def info(self) -> SourceInfo:
        assert self._open, "known once the source is open"
        return self._open.info

    def __enter__(self) -> GstSource:
        pipeline = build_pipeline(self.modality, self._spec)
        try:
            self._open = self._start(pipeline)
        except BaseException:
            _tear_down(pipeline)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._open:
            _tear_down(self._open.pipeline)

    def close(self) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Frame | DroppedFrame]:
        opened = self._open
        assert opened, "enter the source first"
        self._play(opened)
        sequence = itertools.count()
        while not self._closed.is_set():
            entered = opened.entered
            sample = opened.sink.try_pull_sample(POLL_NS)
            if sample is None:
                yield from self._lost(opened, opened.losses.while_empty(entered), sequence)
                if self._over(opened):
                    return
                continue
            opened.came_ns = now_ns()
            yield from self._items(opened, sample, sequence)

    # -- opening ----------------------------------------------------------------------------------------------------

    def _start(self, pipeline: Any) -> _Open:
        gst = load_gstreamer().Gst
        sink, axis = pipeline.get_by_name(SINK), Axis.measure()
        pipeline.use_clock(axis.clock)
        paused = pipeline.set_state(gst.State.PAUSED)
        live = paused == gst.StateChangeReturn.NO_PREROLL
        sink.set_property("drop", live)
        sink.set_property("sync", not live)
        if live:
            pipeline.set_state(gst.State.PLAYING)
        sample = self._first_sample(pipeline, sink.try_pull_sample if live else sink.try_pull_preroll)
        info = self._look(sample)
        period_ns = round(1e9 / info.rate_hz)
        stamped = stamped_by(pipeline) if live else Clock.RECORDING
        times = FrameTimes(axis, stamped, period_ns=period_ns, synced=self._spec.sender_clock == "synced")
        losses = LossCount()
        losses.skip(_number(sample))
        return _Open(pipeline, sink, live, info, times, axis, self._stall_ns(live, period_ns), losses)

    def _first_sample(self, pipeline: Any, pull: Callable[[int], Any]) -> Any:
        until_ns = now_ns() + round(self._spec.open_s * 1e9)
        while (sample := pull(POLL_NS)) is None:
            if failure := failure_on_bus(pipeline, self.modality, self._spec):
                raise failure
            if self._closed.is_set():
                raise SourceLost(f"{self._who} was closed while it was being opened")
            if now_ns() > until_ns:
                raise SourceLost(f"{self._who} sent nothing for {self._spec.open_s:g} s; {what_to_check(self._spec)}")
        return sample

    def _look(self, sample: Any) -> SourceInfo:
        layout = layout_of(sample.get_caps(), sample.get_buffer())
        found, numerator, denominator = sample.get_caps().get_structure(0).get_fraction("framerate")
        rate_hz = numerator / denominator if found and numerator else self._spec.rate_hz or UNKNOWN_RATE_HZ
        return SourceInfo(f"{layout.format} from {self._spec.shown}", layout.size, layout.bits, rate_hz)

    def _stall_ns(self, live: bool, period_ns: int) -> int:
        return max(STALL_PERIODS * period_ns, round((self._spec.stall_s if live else FILE_STALL_S) * 1e9))

    @property
    def _who(self) -> str:
        return f"the {self.modality.value} camera ({self._spec.shown})"

    # -- running ----------------------------------------------------------------------------------------------------

    def _play(self, opened: _Open) -> None:
        """Live: forget what came while nobody listened. File: start the clock, the same for all files."""
        gst = load_gstreamer().Gst
        if opened.live:
            entered = opened.entered
            while (sample := opened.sink.try_pull_sample(0)) is not None:
                opened.losses.skip(_number(sample))
                entered = opened.entered
            opened.losses.begin(entered)
        else:
            opened.pipeline.set_start_time(gst.CLOCK_TIME_NONE)
            opened.pipeline.set_base_time(self._replay.start_ns + opened.axis.offset_ns)
            opened.pipeline.set_state(gst.State.PLAYING)
        opened.came_ns = now_ns()

    def _over(self, opened: _Open) -> bool:
        """Has the stream ended? Raises SourceLost where it broke, went away, or has been silent for too long."""
        if failure := failure_on_bus(opened.pipeline, self.modality, self._spec):
            raise SourceLost(str(failure))
        if opened.sink.is_eos():
            if opened.live and self._spec.is_network:
                raise SourceLost(f"{self._who} ended its stream; {what_to_check(self._spec)}")
            return True
        if now_ns() - opened.came_ns > opened.stall_ns and not self._closed.is_set():
            silent = f"sent nothing for {opened.stall_ns / 1e9:g} s"
            raise SourceLost(f"{self._who} {silent}; {what_to_check(self._spec)}")
        return False

    def _items(self, opened: _Open, sample: Any, sequence: Iterator[int]) -> Iterator[Frame | DroppedFrame]:
        """Frames lost before this one, and this one."""
        gst = load_gstreamer().Gst
        buffer = sample.get_buffer()
        if opened.live:
            yield from self._lost(opened, opened.losses.before_frame(_number(sample), opened.entered), sequence)
        time = opened.times.capture(
            clock_time_ns(sample, buffer, opened.pipeline.get_base_time()), sender_ntp_ns(buffer), opened.came_ns
        )
        try:
            if buffer.has_flags(gst.BufferFlags.CORRUPTED):
                raise ValueError("marked as damaged by its decoder")
            layout = layout_of(sample.get_caps(), buffer)
            self._check_size(layout.size)
            with mapped(buffer) as data:
                pixels = read_pixels(data, layout, self.modality, self._memory)
        except ValueError as error:
            yield self._dropped(next(sequence), Reason.CORRUPT, str(error), time.capture_ns)
            return
        yield Frame(
            modality=self.modality,
            pixels=pixels,
            capture_ns=time.capture_ns,
            capture_error_ns=time.error_ns,
            clock=time.origin,
            sequence=next(sequence),
            recording_ns=None if opened.live else buffer.pts,
            stamps={"offered": time.capture_ns},
        )

    def _check_size(self, size: Size) -> None:
        expected = self.info.size
        if size != expected and not self._any_size:
            raise SourceLost(
                f"{self._who} changed from {expected[0]}x{expected[1]} to {size[0]}x{size[1]} while it ran; the rig's "
                "map is for one size: set `size` for this camera, or scale in its launch line"
            )

    def _lost(self, opened: _Open, count: int, sequence: Iterator[int]) -> Iterator[DroppedFrame]:
        for _ in range(count if opened.live else 0):
            yield self._dropped(next(sequence), Reason.OVERFLOW, "lost between the camera and the capture thread")

    def _dropped(self, sequence: int, reason: Reason, detail: str, capture_ns: int | None = None) -> DroppedFrame:
        return DroppedFrame(
            modality=self.modality, sequence=sequence, reason=reason, capture_ns=capture_ns, detail=detail
        )


@dataclass(frozen=True, slots=True)
class GstCamera:
    """A camera that can be opened again and again: each call makes a new source of the same spec."""

    modality: Modality
    spec: CameraSpec
    any_size: bool = False
    replay: ReplayClock | None = None

    @property
    def expected(self) -> SourceInfo | None:
        """What is known before the camera is opened; None where its size is not."""
        spec = self.spec
        if spec.size is None:
            return None
        bits = 16 if spec.format == "GRAY16_LE" else 8
        return SourceInfo(
            f"{spec.format or 'frames'} from {spec.shown}", spec.size, bits, spec.rate_hz or UNKNOWN_RATE_HZ
        )

    def __call__(self) -> GstSource:
        return GstSource(self.modality, self.spec, any_size=self.any_size, replay=self.replay)


def _number(sample: Any) -> int | None:
    """The number that the source gave to this buffer, where it gives any."""
    number = sample.get_buffer().offset
    return None if number == load_gstreamer().Gst.BUFFER_OFFSET_NONE else number


def _tear_down(pipeline: Any) -> None:
    """To NULL, in a thread of its own: a driver that hangs must not hang the process."""
    null = load_gstreamer().Gst.State.NULL
    worker = threading.Thread(target=pipeline.set_state, args=(null,), name="gstreamer-to-null", daemon=True)
    worker.start()
    worker.join(TEAR_DOWN_S)
