"""Capture times of live frames: from the pipeline's clock, or from the clock of an RTSP sender. All in ns.

One axis for every stream of a rig: every pipeline runs on GStreamer's monotonic system clock, and `Axis` puts that
clock onto this machine's monotonic clock (on Linux both are CLOCK_MONOTONIC; it is measured, not believed).

driver: a buffer's running time + the pipeline's base time: when the driver handed the frame out.
arrival: the same sum where the stream comes over a network; then it is when the frame's first packet came, smoothed by
    the jitter buffer. What encoder and network took before that is not in it.
rtp_sender: the sender's own wall clock, which RTSP tells for each frame once its first report (RTCP sender report) has
    come. Two ways onto the axis:
    - "free" (default): by arrival. The sender's clock is mapped with `drift.ClockMapping` onto the floor of the
      arrivals. Nothing needs to be synchronised, jitter and drift go away, but the shortest delay from exposure to
      arrival stays in, as in `arrival`: streams of one rig stay comparable, whichever kind they are. The rig's
      `thermal_delay_ns` takes up the difference between two cameras.
    - "synced": by wall clock. Both machines follow one time (NTP, PTP), so that the sender's time minus this machine's
      wall-to-monotonic offset is the true capture time, without any delay. Mix it with streams of another kind only
      where their delay is known. A time that lies ahead of the arrival or more than `PLAUSIBLE_NS` behind it is not
      believed: that frame keeps its arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """Capture times of one stream's frames, in order; one instance each time the stream is opened.

    Where there are sender times (RTSP), `error_ns` is what the mapping states; for `arrival` it is one period, for
    `driver` the error of the axis. A delay that all frames share is never part of it.
    """

    def __init__(self, axis: Axis, stamped: Clock, *, period_ns: int, synced: bool) -> None:
        self._axis = axis
        self._stamped = stamped
        self._period_ns = period_ns
        self._mapping = None if synced else ClockMapping(Clock.RTP_SENDER, period_ns=period_ns)
        self._told = False  # has a sender time come yet?
        self._last_ns: int | None = None

    def capture(self, clock_ns: int | None, sender_ntp_ns: int | None) -> MappedTime:
        """`clock_ns`: a frame's running + base time (None: it has none, now counts); `sender_ntp_ns`: since 1900."""
        if clock_ns is None:
            time = MappedTime(now_ns(), self._period_ns, Clock.ARRIVAL)
        else:
            time = self._stamp(self._axis.monotonic_ns(clock_ns))
        self._told = self._told or sender_ntp_ns is not None
        if self._told:
            time = self._sent(sender_ntp_ns, time)
        self._last_ns = time.capture_ns
        return time

    def _stamp(self, at_ns: int) -> MappedTime:
        error_ns = self._axis.error_ns if self._stamped is Clock.DRIVER else self._period_ns
        return MappedTime(at_ns, error_ns, self._stamped)

    def _sent(self, ntp_ns: int | None, arrival: MappedTime) -> MappedTime:
        unix_ns = None if ntp_ns is None else ntp_ns - UNIX_FROM_NTP_NS
        if self._mapping:
            return self._mapping.map(unix_ns, arrival.capture_ns)
        if unix_ns is None:
            return arrival
        capture_ns = unix_ns - wall_from_monotonic_ns(0)
        if not -AHEAD_NS <= arrival.capture_ns - capture_ns <= PLAUSIBLE_NS:
            return arrival
        if self._last_ns is not None and capture_ns <= self._last_ns:
            # the step back from arrival to sender time is spread over the next frames: time never runs backwards
            rising_ns = self._last_ns + 1
            return MappedTime(rising_ns, rising_ns - capture_ns + SYNCED_ERROR_NS, Clock.RTP_SENDER)
        return MappedTime(capture_ns, SYNCED_ERROR_NS, Clock.RTP_SENDER)


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
