"""A delay from the single edges of a blinking lamp: each camera says between which instants the lamp switched.

Pure: two series of brightness with their stamps and a coarse delay in, a finer one out, or none where the series are no
blinking. Knows nothing of images.

A camera that exposes for a part of its period sees most edges only as "after this frame, before that one", some as a
frame of partial brightness, which tells the instant. The chance of each pair of edges is how far the two intervals
overlap under a delay and drift, softened by the jitter of the stamps, with a small share for pairs that are none; mean
and spread over a grid of both unknowns (uniform prior) are the answer and its error.

Cameras of equal rates sample every edge at the same phase difference, so that intervals alone come in two kinds only
and what is learned grows with the root of the number of edges; correlation cannot see that and tells too small errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.delay import FLAT, SIGMAS, Delay, Floats, Signal

LEAST_EDGES = 12
LEAST_AGREEING = 0.8  # of the pairs of edges
LEAST_STEADY = 0.7  # of the frames: fully dark or bright; else it is no lamp
LEVEL = 0.12  # of the step from dark to bright: what is nearer to either counts as it
UNSURE = 0.2  # of an exposure: how well a partial brightness tells the instant
STRAY = 0.02  # chance of pairs that are none
LEAST_SOFT_S = 0.2e-3
LEAST_WIDTH_S = 0.2e-3
REACH = 0.75  # frame periods around the coarse delay
LEAST_DRIFT = 100e-6  # around the coarse drift
DELAYS, DRIFTS = 101, 41  # places of the grid
PASSES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Switchings of the lamp: between `first_s` and `last_s`, by the camera's stamps; on (`rising`) or off."""

    first_s: Floats
    last_s: Floats
    rising: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """One switching seen by both: the delay that centres one interval on the other, when, and the intervals' widths."""

    delay_s: Floats
    at_s: Floats  # from the middle of the record
    width_s: Floats  # 2 x pairs

    def chance(self, delay_s: Floats, drift: Floats, soft_s: float) -> Floats:
        """Delays x drifts x pairs: how much the intervals overlap (0 to 1), their ends softened by `soft_s`."""
        off = delay_s[:, None, None] + drift[:, None] * self.at_s - self.delay_s
        wide, narrow = self.width_s.sum(axis=0) / 2, np.abs(np.diff(self.width_s, axis=0))[0] / 2
        scale = soft_s * np.sqrt(3) / np.pi  # of a logistic distribution with that standard deviation

        def ramp(x: Floats) -> Floats:
            return scale * np.logaddexp(0, x / scale)

        overlap = ramp(off + wide) - ramp(off + narrow) - ramp(off - narrow) + ramp(off - wide)
        return overlap / (wide - narrow)


def refine(coarse: Delay, late: Signal, other: Signal, *, opposite: bool = False) -> Delay | None:
    """`coarse` made finer by the edges; None where it was refused, or where there are no edges that agree."""
    if coarse.refused:
        return None
    middle_s = (max(late.times_s[0], other.times_s[0]) + min(late.times_s[-1], other.times_s[-1])) / 2
    reach_s = REACH * max(late.period_s, other.period_s)
    pairs = _paired(edges(late), edges(other, opposite=opposite), coarse, float(middle_s), reach_s)
    if pairs is None:
        return None
    soft_s = float(np.hypot(np.hypot(_jitter_s(late), _jitter_s(other)), LEAST_SOFT_S))
    return _fitted(pairs, soft_s, coarse, reach_s)


def edges(signal: Signal, *, opposite: bool = False) -> Edges:
    """Where the first channel goes from dark to bright or back, one frame between at most; not where frames were lost.

    The exposure is not asked for: it is the share of all switchings that fall into one, in frame periods.
    """
    level = _levels(signal.values[:, 0] * (-1.0 if opposite else 1.0))
    state = np.where(level < LEVEL, 0, np.where(level > 1 - LEVEL, 1, -1))  # -1: in between
    if (state < 0).mean() > 1 - LEAST_STEADY:
        state = np.full_like(state, -1)
    times, period_s = signal.times_s, signal.period_s
    sharp = np.flatnonzero((state[:-1] + state[1:] == 1) & (state[:-1] * state[1:] == 0))
    sharp = sharp[times[sharp + 1] - times[sharp] < 1.5 * period_s]
    soft = np.flatnonzero((state[:-2] + state[2:] == 1) & (state[:-2] * state[2:] == 0) & (state[1:-1] < 0))
    soft = soft[times[soft + 2] - times[soft] < 2.5 * period_s]
    seen_s = period_s * len(soft) / max(len(soft) + len(sharp), 1)
    exposure_s = seen_s / (1 - 2 * LEVEL)
    share = level[soft + 1]
    at = times[soft + 1] + (0.5 - np.where(state[soft] == 0, share, 1 - share)) * exposure_s
    half = max(LEAST_WIDTH_S, UNSURE * exposure_s) / 2
    first = np.concatenate([times[sharp] + seen_s / 2, at - half])
    last = np.concatenate([np.maximum(times[sharp + 1] - seen_s / 2, first[: len(sharp)] + LEAST_WIDTH_S), at + half])
    order = np.argsort(first)
    return Edges(first[order], last[order], np.concatenate([state[sharp] == 0, state[soft] == 0])[order])


def _levels(values: Floats) -> Floats:
    """0 where dark, 1 where bright: medians of what is nearer to the one and to the other."""
    low, high = float(np.percentile(values, 5)), float(np.percentile(values, 95))
    for _ in range(5):
        bright = values > (low + high) / 2
        if bright.all() or not bright.any():
            return np.full_like(values, 0.5)
        low, high = float(np.median(values[~bright])), float(np.median(values[bright]))
    return (values - low) / max(high - low, FLAT)


def _jitter_s(signal: Signal) -> float:
    """Standard deviation of one stamp, from the median unevenness of their distances: losses do not count."""
    steps = np.diff(signal.times_s)
    return float(1.4826 * np.median(np.abs(steps - signal.period_s)) / np.sqrt(2))


def _paired(one: Edges, two: Edges, coarse: Delay, middle_s: float, reach_s: float) -> _Pairs | None:
    """Each edge of one with the nearest of the other that goes the same way; None where those are too few."""
    found: list[Floats] = []
    for rising in (False, True):
        late, early = one.rising == rising, two.rising == rising
        if not early.any():
            continue
        centre, others = (one.first_s + one.last_s)[late] / 2, (two.first_s + two.last_s)[early] / 2
        at = centre - middle_s
        expected = coarse.delay_ms / 1e3 + coarse.drift_ppm / 1e6 * at
        nearest = np.abs(centre[:, None] - expected[:, None] - others).argmin(axis=1)
        delay = centre - others[nearest]
        widths = (one.last_s - one.first_s)[late], (two.last_s - two.first_s)[early][nearest]
        near = np.abs(delay - expected) < reach_s + (widths[0] + widths[1]) / 2
        found.append(np.stack([delay, at, *widths])[:, near])
    rows = np.concatenate(found, axis=1) if found else np.zeros((4, 0))
    return _Pairs(rows[0], rows[1], rows[2:]) if rows.shape[1] >= LEAST_EDGES else None


def _fitted(pairs: _Pairs, soft_s: float, coarse: Delay, reach_s: float) -> Delay | None:
    """Mean and spread of the probability of delay and drift, on a grid that is drawn closer around it."""
    at, drift = coarse.delay_ms / 1e3, coarse.drift_ppm / 1e6
    wide, wide_drift = reach_s, max(2 * coarse.drift_error_ppm / 1e6, LEAST_DRIFT)
    spread = spread_drift = 0.0
    for _ in range(PASSES):
        delays = at + np.linspace(-wide, wide, DELAYS)
        drifts = drift + np.linspace(-wide_drift, wide_drift, DRIFTS)
        logs = np.log(pairs.chance(delays, drifts, soft_s) + STRAY).sum(axis=2)
        weight = np.exp(logs - logs.max())
        weight /= weight.sum()
        at, spread = _moments(delays, weight.sum(axis=1))
        drift, spread_drift = _moments(drifts, weight.sum(axis=0))
        wide = max(6 * spread, 3 * float(delays[1] - delays[0]))
        wide_drift = max(6 * spread_drift, 3 * float(drifts[1] - drifts[0]))
    agreeing = float((pairs.chance(np.array([at]), np.array([drift]), soft_s) > STRAY).mean())
    if agreeing < LEAST_AGREEING or abs(at - coarse.delay_ms / 1e3) > 0.9 * reach_s:
        return None
    return replace(
        coarse,
        delay_ms=at * 1e3,
        error_ms=SIGMAS * spread * 1e3,
        drift_ppm=drift * 1e6,
        drift_error_ppm=SIGMAS * spread_drift * 1e6,
    )


def _moments(places: Floats, weight: Floats) -> tuple[float, float]:
    mean = float((places * weight).sum())
    return mean, float(np.sqrt(((places - mean) ** 2 * weight).sum()))
