"""Capture times of live frames: from the pipeline's clock, or from the clock of an RTSP sender. All in ns.

One axis for every stream of a rig: every pipeline runs on GStreamer's monotonic system clock, and `Axis` puts that
clock onto this machine's monotonic clock (on Linux both are CLOCK_MONOTONIC; it is measured, not believed).

driver: a buffer's running time + the pipeline's base time: when the driver handed the frame out.
arrival: for a stream over a network. When frames came out of the decoder, less jitter: the buffers' times, whose origin
    depends on how the first packets came, are mapped onto the floor of the arrivals (`drift.ClockMapping`). What
    encoder, network and decoder always take is not in it.
rtp_sender: the sender's own wall clock, which RTSP tells for each frame once its first report (RTCP sender report) has
    come. Two ways onto the axis:
    - "free" (default): by arrival, mapped onto the floor of the arrivals like the above. Nothing needs to be
      synchronised; jitter and drift go away, and the shortest delay from exposure to arrival stays in. So streams of
      one rig stay comparable, whichever kind they are; the rig's `thermal_delay_ns` takes up the difference between
      two cameras. It is called rtp_sender when the mapping has settled (some seconds), arrival before.
    - "synced": by wall clock. Both machines follow one time (NTP, PTP), so that the sender's time minus this machine's
      wall-to-monotonic offset is the true capture time, without any delay. Mix it with streams of another kind only
      where their delay is known. A time that lies ahead of the arrival or more than `PLAUSIBLE_NS` behind it is not
      believed: that frame keeps its arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from streamfuse.clock import now_ns, wall_from_monotonic_ns
from streamfuse.drift import ClockMapping, MappedTime
from streamfuse.frames import Clock
from streamfuse.sources.gstreamer_launch import elements, factory_name
from streamfuse.sources.gstreamer_library import load_gstreamer

UNIX_FROM_NTP_NS = 2_208_988_800 * 1_000_000_000
"""From 1900 to 1970 (RFC 5905, section 6)."""
PLAUSIBLE_NS = 2_000_000_000
AHEAD_NS = 5_000_000
SYNCED_ERROR_NS = 1_000_000
"""What is stated for a sender that the run file calls synced: NTP on a local network; PTP does better."""
DRIVERS = "v4l2src nvarguscamerasrc nvv4l2camerasrc libcamerasrc uvch264src aravissrc decklinkvideosrc videotestsrc"
"""Source elements that stamp frames with the time at which the driver (or the test) had them."""


@dataclass(frozen=True, slots=True)
class Axis:
    """GStreamer's clock on this machine's monotonic clock: monotonic = clock - offset_ns, wrong by error_ns at most."""

    clock: Any
    offset_ns: int
    error_ns: int

    @classmethod
    def measure(cls) -> Axis:
        """Read both clocks a few times; the tightest reading counts, and an offset within its error is none."""
        clock = load_gstreamer().Gst.SystemClock.obtain()
        readings: list[tuple[int, int]] = []
        for _ in range(9):
            before, there, after = now_ns(), clock.get_time(), now_ns()
            readings.append(((after - before + 1) // 2, there - (before + after) // 2))
        error_ns, offset_ns = min(readings)
        return cls(clock, offset_ns if abs(offset_ns) > error_ns else 0, error_ns)

    def monotonic_ns(self, clock_ns: int) -> int:
        return clock_ns - self.offset_ns


def stamped_by(pipeline: Any) -> Clock:
    """Who stamps the frames of this pipeline: a driver, or their arrival."""
    sources = {factory_name(element) for element in elements(pipeline)}
    return Clock.DRIVER if sources & set(DRIVERS.split()) else Clock.ARRIVAL


class FrameTimes:
    """Capture times of one stream's frames, in order, rising; one instance each time the stream is opened.

    The error of `driver` is that of the axis, of the others what the mapping states. A delay that all frames share is
    never part of it.
    """

    def __init__(self, axis: Axis, stamped: Clock, *, period_ns: int, synced: bool) -> None:
        self._axis = axis
        self._stamped = stamped
        self._arrivals = ClockMapping(Clock.ARRIVAL, period_ns=period_ns)
        self._sender = None if synced else ClockMapping(Clock.RTP_SENDER, period_ns=period_ns)
        self._last_ns = 0

    def capture(self, clock_ns: int | None, sender_ntp_ns: int | None, arrival_ns: int) -> MappedTime:
        """`clock_ns`: a frame's running + base time (None: it has none); `arrival_ns`: when it came."""
        buffer_ns = None if clock_ns is None else self._axis.monotonic_ns(clock_ns)
        if buffer_ns is not None and self._stamped is not Clock.ARRIVAL:
            return MappedTime(buffer_ns, self._axis.error_ns, self._stamped)
        time = self._arrivals.map(buffer_ns, arrival_ns)
        if sender_ntp_ns is not None:
            time = self._sent(sender_ntp_ns - UNIX_FROM_NTP_NS, time, arrival_ns)
        # from one clock to the other time may step back, by the delay: the next frames make up for it
        capture_ns = max(self._last_ns + 1, min(time.capture_ns, arrival_ns))
        self._last_ns = capture_ns
        return replace(time, capture_ns=capture_ns, error_ns=time.error_ns + abs(capture_ns - time.capture_ns))

    def _sent(self, unix_ns: int, arrival: MappedTime, arrival_ns: int) -> MappedTime:
        if self._sender:
            return self._sender.map(unix_ns, arrival_ns)
        capture_ns = unix_ns - wall_from_monotonic_ns(0)
        if -AHEAD_NS <= arrival_ns - capture_ns <= PLAUSIBLE_NS:
            return MappedTime(capture_ns, SYNCED_ERROR_NS, Clock.RTP_SENDER)
        return arrival


def clock_time_ns(sample: Any, buffer: Any, base_ns: int) -> int | None:
    """Pipeline clock time of a buffer: running time of its PTS + base time; None where it has no PTS."""
    gst = load_gstreamer().Gst
    if buffer.pts == gst.CLOCK_TIME_NONE:
        return None
    running_ns = sample.get_segment().to_running_time(gst.Format.TIME, buffer.pts)
    return None if running_ns == gst.CLOCK_TIME_NONE else running_ns + base_ns


def sender_ntp_ns(buffer: Any) -> int | None:
    """The sender's time of this frame (ns since 1900), where RTSP has told it."""
    meta = buffer.get_reference_timestamp_meta(load_gstreamer().Gst.Caps.from_string("timestamp/x-ntp"))
    return meta.timestamp if meta else None
