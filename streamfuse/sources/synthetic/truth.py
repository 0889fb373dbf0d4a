"""What is true of a synthetic scene: when each frame was taken, where everything is in both images.

Tests and benchmarks ask it; nothing on the data's way does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from streamfuse.frames import Modality
from streamfuse.sources.synthetic.scene import Floats, Scene
from streamfuse.sources.synthetic.view import Bools, View

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """When one camera exposes and what its own clock says then; times in ns since the scene began.

    The camera's clock runs `drift_ppm` fast and triggers at its nominal rate, so that frame k is exposed at
    phase + k * period / (1 + drift) and stamped phase + k * period + offset (+ jitter).
    """

    rate_hz: float
    phase_ns: int = 0
    offset_ns: int = 0
    drift_ppm: float = 0.0
    jitter_ns: int = 0
    shutter_every_s: float | None = None
    shutter_duration_s: float = 0.0
    seed: int = 0

    def exposed_ns(self, frame: int) -> int:
        """True scene time of exposure `frame`."""
        return self.phase_ns + round(self._ticks_ns(frame) / (1 + Fraction(self.drift_ppm) / 1_000_000))

    def stamp_ns(self, frame: int) -> int:
        """The stamp that the camera puts on it."""
        return self.phase_ns + self.offset_ns + round(self._ticks_ns(frame)) + self._jitter(frame)

    def shown(self, frame: int) -> int:
        """The exposure that frame shows: its own, or the last one before the shutter closed."""
        if not self.shutter_every_s:
            return frame
        closed_ns = self.closings(frame) * round(self.shutter_every_s * SECOND_NS)
        since_ns = self.exposed_ns(frame) - closed_ns
        if not closed_ns or since_ns >= round(self.shutter_duration_s * SECOND_NS):
            return frame
        return max(self.frames_before(closed_ns) - 1, 0)

    def closings(self, frame: int) -> int:
        """How often the shutter has closed up to then."""
        if not self.shutter_every_s:
            return 0
        return max(0, self.exposed_ns(frame)) // round(self.shutter_every_s * SECOND_NS)

    def frames_before(self, end_ns: int) -> int:
        """How many frames are exposed before a scene time."""
        number = max(0, math.floor((end_ns - self.phase_ns) * Fraction(self.rate_hz) / SECOND_NS) - 2)
        while self.exposed_ns(number) < end_ns:
            number += 1
        return number

    def _ticks_ns(self, frame: int) -> Fraction:
        return frame * SECOND_NS / Fraction(self.rate_hz).limit_denominator(100_000)

    def _jitter(self, frame: int) -> int:
        if not self.jitter_ns:
            return 0
        spread = np.random.default_rng([self.seed, 4, frame]).standard_normal()
        return round(self.jitter_ns * float(np.clip(spread, -3, 3)))


@dataclass(frozen=True, slots=True)
class Box:
    """Where an actor is in an image: its outline's bounds, cut at the image's edge, in pixels (centres at integers)."""

    identity: int
    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class SceneTruth:
    """Exact answers about one synthetic pair. Scene times are ns since the scene began; plane points are metres."""

    scene: Scene
    views: dict[Modality, View]
    timings: dict[Modality, Timing]

    def time_ns(self, modality: Modality, frame: int) -> int:
        """True scene time at which that frame was taken."""
        return self.timings[modality].exposed_ns(frame)

    def shown_time_ns(self, modality: Modality, frame: int) -> int:
        """True scene time of what that frame shows: older than `time_ns` while the shutter is closed."""
        timing = self.timings[modality]
        return timing.exposed_ns(timing.shown(frame))

    def pixel(self, modality: Modality, points: Floats) -> Floats:
        """Pixels (N 2) of plane points (N 2); NaN where the camera cannot see them at all."""
        pixels, valid = self.views[modality].pixels(np.asarray(points, dtype=np.float64))
        return np.where(valid[..., None], pixels, np.nan)

    def thermal_from_rgb(self) -> tuple[Floats, Bools]:
        """Thermal pixel (H W 2) of every RGB pixel, and where it falls inside the thermal image (H W).

        The plane stands still, so this holds at every time, for the backdrop and for all that moves on it.
        """
        rgb, thermal = self.views[Modality.RGB], self.views[Modality.THERMAL]
        plane, seen = rgb.plane(rgb.grid())
        pixels, valid = thermal.pixels(plane)
        inside = ((pixels >= 0) & (pixels <= np.array(thermal.lens.size) - 1)).all(axis=-1)
        return pixels, seen & valid & inside

    def boxes(self, modality: Modality, time_ns: int) -> list[Box]:
        """Every actor at least partly inside the image at that scene time, from back to front."""
        view, actors = self.views[modality], self.scene.actors
        outlines = view.outlines([actor.parts(time_ns / SECOND_NS) for actor in actors])
        bounds = [_bounds(np.concatenate(shapes), view) for shapes in outlines]
        return [Box(actor.identity, actor.kind, *b) for actor, b in zip(actors, bounds, strict=True) if b]

    @property
    def markers_m(self) -> Floats:
        """Plane positions of the measuring discs (N 2); empty unless the scene was asked for them."""
        return self.scene.markers_m


def _bounds(points: Floats, view: View) -> tuple[float, float, float, float] | None:
    """x, y, width, height of what lies inside the image, or None."""
    low = np.maximum(points.min(axis=0), -0.5)
    high = np.minimum(points.max(axis=0), np.array(view.lens.size) - 0.5)
    if (low >= high).any():
        return None
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
