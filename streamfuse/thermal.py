"""Sensor counts -> [0, 1]: a monotonic curve per frame that moves slowly, so that brightness does not flicker.

The same function serves runtime and training. It knows nothing of geometry, colour or cameras: a frame's counts and
its capture time come in, a `ToneCurve` that a consumer can invert goes out.

The curve is kept as its inverse, the counts at which equally spaced output values are reached, and it is that inverse
which is smoothed over time: an average of two rising curves rises, keeps every limit that both keep, and a step of
the sensor's offset makes the curve slide to its new place rather than blur into two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError

METHODS = ("auto", "linear", "percentile", "plateau")
KNOTS = 257
SAMPLES = 20_000  # a histogram of so many pixels is within 0.01 of the whole image's, everywhere
BINS = 4096
LINEAR_SHARE = 0.4
"""Part of the output range that a plateau curve spreads evenly over all counts.

It keeps the curve invertible, and what is much hotter than a large warm surface much brighter than it.
"""
BULK = (0.1, 0.9)
"""Quantiles between which the bulk of a scene lies, whatever small hot or cold things are in it."""

Counts = NDArray[Any]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ToneCurve:
    """Counts -> [0, 1] as straight lines between knots; constant outside them.

    `counts`: K strictly rising knots (they may lie outside what the sensor can say); `values`: K non-decreasing
    values in [0, 1], K <= 257; `held`: the frame repeated its predecessor (a shutter freeze), the curve stood still;
    `levels`: how many counts the sensor can say (256 or 65536).
    """

    counts: Floats
    values: Floats
    held: bool = False
    levels: int = 65536

    @cached_property
    def lut(self) -> Floats:
        """The curve at every count the sensor can say: (levels,)."""
        first = max(0, math.floor(float(self.counts[0])))
        last = min(self.levels, math.ceil(float(self.counts[-1])) + 1)
        table = np.full(self.levels, self.values[-1], dtype=np.float32)
        table[:first] = self.values[0]
        if first < last:
            table[first:last] = np.interp(np.arange(first, last), self.counts, self.values)
        return table

    def apply(self, counts: Counts) -> Floats:
        """Counts of any shape -> float32 in [0, 1]."""
        return self.lut.take(counts, mode="clip")

    def invert(self, values: Counts) -> Floats:
        """Values in [0, 1] of any shape -> counts."""
        return np.interp(values, self.values, self.counts).astype(np.float32)


class ToneMapper:
    """Follows a thermal stream and gives the curve of each of its frames.

    `method`: "linear" = the whole range (uint8: 0..255, uint16: smallest to largest count of the scene);
    "percentile" = a straight line between two percentiles; "plateau" = histogram equalisation in which no count gets
    more than `plateau` times the contrast of a straight line over the bulk of the scene; "auto" = linear for uint8,
    where the camera has done its own tone mapping, else plateau.

    `percentiles`: low and high, of "percentile". `time_constant_s`: how fast the curve follows the scene, 0 = at
    once (stills). `max_gain`: most grey levels (of 255) that one count may be worth, so that the noise of a blank
    wall stays noise. Raises UserError for values outside their range.
    """

    def __init__(
        self,
        method: str = "auto",
        *,
        plateau: float = 2.0,
        percentiles: tuple[float, float] = (0.5, 99.5),
        time_constant_s: float = 1.0,
        max_gain: float = 4.0,
    ) -> None:
        _check(method in METHODS, f"tone method {method!r} is unknown; allowed: {', '.join(METHODS)}")
        _check(plateau >= 1, f"tone plateau {plateau}: must be at least 1")
        _check(
            0 <= percentiles[0] < percentiles[1] <= 100, f"tone percentiles {percentiles}: need 0 <= low < high <= 100"
        )
        _check(time_constant_s >= 0, f"tone time_constant_s {time_constant_s}: must not be negative")
        _check(0 < max_gain <= 64, f"tone max_gain {max_gain}: must be above 0 and at most 64")
        self.method = method
        self.plateau = plateau
        self.percentiles = percentiles
        self.time_constant_s = time_constant_s
        self.max_gain = max_gain
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next frame is the first."""
        self._curve: ToneCurve | None = None
        self._last: Counts | None = None
        self._last_ns = 0

    def update(self, pixels: Counts, capture_ns: int) -> ToneCurve:
        """The curve of this frame (H W uint8 or uint16), captured at `capture_ns`.

        The first frame sets the curve; a frame equal to its predecessor holds it; any other moves it by
        1 - exp(-dt / time_constant_s) of the way to its own curve. Time that stands still or runs back moves nothing.
        """
        elapsed_s, self._last_ns = max(0, capture_ns - self._last_ns) / 1e9, capture_ns
        samples = _subsample(pixels)
        if self._curve is not None and self._repeats(pixels):
            return replace(self._curve, held=True)
        self._last = pixels.copy()
        target = self._target(pixels, samples)
        if self._curve is None or self._curve.levels != target.levels:
            self._curve = target
        else:
            self._curve = self._moved(self._curve, target, elapsed_s)
        return self._curve

    def _repeats(self, pixels: Counts) -> bool:
        last = self._last
        if last is None or last.shape != pixels.shape or last.dtype != pixels.dtype:
            return False
        middle = len(pixels) // 2  # a moving stream is told by one row, a frozen one by all
        return np.array_equal(last[middle], pixels[middle]) and np.array_equal(last, pixels)

    def _moved(self, curve: ToneCurve, target: ToneCurve, elapsed_s: float) -> ToneCurve:
        share = 1.0 if self.time_constant_s == 0 else -math.expm1(-elapsed_s / self.time_constant_s)
        counts = (curve.counts + share * (target.counts - curve.counts)).astype(np.float32)
        return replace(target, counts=counts)

    def _target(self, pixels: Counts, samples: Counts) -> ToneCurve:
        """The curve this frame would have on its own."""
        levels = 256 if pixels.dtype == np.uint8 else 65536
        method = self.method
        if method == "auto":
            method = "linear" if levels == 256 else "plateau"
        if method == "plateau":
            counts = _plateau_knots(samples, self.plateau, self.max_gain)
        elif method == "percentile":
            low, high = np.percentile(samples, self.percentiles)
            counts = np.array(_widened(low, high, self.max_gain))
        elif levels == 256:
            counts = np.array([0.0, 255.0])
        else:
            counts = np.array(_widened(float(pixels.min()), float(pixels.max()), self.max_gain))
        values = np.linspace(0, 1, len(counts), dtype=np.float32)
        return ToneCurve(counts.astype(np.float32), values, levels=levels)


def _check(good: bool, message: str) -> None:
    if not good:
        raise UserError(message)


def _subsample(pixels: Counts) -> Counts:
    """At most about SAMPLES pixels on a regular grid, as one row of int32."""
    step = max(1, math.ceil(math.sqrt(pixels.size / SAMPLES)))
    return pixels[step // 2 :: step, step // 2 :: step].astype(np.int32).ravel()


def _widened(low: float, high: float, max_gain: float) -> tuple[float, float]:
    """The range, stretched about its middle until one count is worth at most `max_gain` of 255 grey levels."""
    missing = max(0.0, 255 / max_gain - (high - low))
    return low - missing / 2, high + missing / 2


def _plateau_knots(samples: Counts, plateau: float, max_gain: float) -> Doubles:
    """The counts at which a plateau-equalised curve reaches KNOTS equally spaced values in [0, 1]."""
    low, high = _widened(float(samples.min()) - 0.5, float(samples.max()) + 0.5, max_gain)
    width = max(1.0, (high - low) / BINS)
    bins = math.ceil((high - low) / width)
    edges: Doubles = low + width * np.arange(bins + 1, dtype=np.float64)
    weights = np.bincount(((samples - low) / width).astype(np.int32), minlength=bins)[:bins] / len(samples)
    bulk_low, bulk_high = np.interp(BULK, np.cumsum(weights), edges[1:])
    limit = width * min(max_gain / 255, plateau / max(1.0, bulk_high - bulk_low))
    shares = (1 - LINEAR_SHARE) * limited_shares(weights, limit) + LINEAR_SHARE / bins
    reached: Doubles = np.concatenate([np.zeros(1), np.cumsum(shares)])
    wanted: Doubles = np.linspace(0, float(reached[-1]), KNOTS, dtype=np.float64)
    return np.interp(wanted, reached, edges)


def limited_shares(weights: Doubles, limit: float) -> Doubles:
    """Shares that sum to 1, follow `weights` (which sum to 1) and exceed `limit` nowhere.

    Weights are cut at a plateau and the rest grows in proportion; the plateau is where the cut bins, once everything
    has grown, have exactly `limit`: plateau / sum(min(weights, plateau)) = limit. With the m largest cut that is
    plateau = limit * rest_m / (1 - limit * m), and the right m gives the smallest. Where even equal shares for every
    occupied bin stay under the limit, what is left over goes to the empty bins. Needs limit * len(weights) >= 1.
    """
    occupied = weights > 0
    taken = limit * np.count_nonzero(occupied)
    if taken <= 1:
        return np.where(occupied, limit, (1 - taken) / max(1, np.count_nonzero(~occupied)))
    falling = np.sort(weights[occupied])[::-1]
    rest = 1 - np.concatenate([[0.0], np.cumsum(falling)[:-1]])
    cut = np.arange(len(falling))
    possible = limit * cut < 1
    plateau = np.min(limit * rest[possible] / (1 - limit * cut[possible]))
    shares = np.minimum(weights, plateau)
    return shares / shares.sum()
