"""How much later one of two signals shows the same thing: by correlation over time, to a fraction of a frame.

Pure: two series with their own stamps (uneven, with gaps) in, an estimate with its error out, or the reason why there
is none. Knows nothing of images, cameras or files.

Both series are brought onto one fine, even grid by local linear regression, band-passed and correlated in short
windows. The windows' correlations are summed along straight lines delay(t) = delay + drift x (t - middle), and the
highest sum wins: two clocks that run apart are followed, where one correlation over everything would smear. Leaving out
each window in turn (jackknife: M. Quenouille, 1956; J. Tukey, 1958) says how far the answer may be off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.delay_line import MOST_DRIFT, follow
from streamfuse.errors import UserError

Floats = NDArray[np.float64]

STEPS = 8  # of the grid in one frame period
SMOOTH = 0.8  # frame periods: standard deviation of what brings samples onto the grid
SLOW_S = 0.6  # what changes more slowly than this is taken out
NEIGHBOURS = 10  # samples that count for one place of the grid
HOLE = 2.5  # frame periods without a sample: nothing is known there
WINDOW_S = 2.0
LEAST_WINDOWS = 5
LOBE = 1.5  # frame periods: what is nearer to a peak belongs to it
LEAST_PEAK = 0.25  # correlation; between unrelated signals of 20 s it stays below 0.2
MOST_RATIO = 0.85  # second peak : first peak
SIGMAS = 2.0  # of the error that is told
FLAT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """`values` (N channels) at `times_s` (N, rising), as the camera stamped them."""

    times_s: Floats
    values: Floats

    @property
    def period_s(self) -> float:
        return float(np.median(np.diff(self.times_s)))


@dataclass(frozen=True, slots=True)
class Delay:
    """The first signal's stamp minus the second's, for one instant, in the middle of the record.

    `error_ms` and `drift_error_ppm`: two standard errors. `drift_ppm`: how much the delay grows, in microseconds a
    second. `peak`: correlation (0 to 1); `ratio`: the next best peak over it. `refused`: why it is not to be used;
    `others_ms`: delays that fit as well.
    """

    delay_ms: float
    error_ms: float
    drift_ppm: float
    drift_error_ppm: float
    peak: float
    ratio: float
    seconds: float
    others_ms: tuple[float, ...] = ()
    refused: str = ""

    @property
    def drifts(self) -> bool:
        return abs(self.drift_ppm) > 1.5 * self.drift_error_ppm


def estimate_delay(late: Signal, other: Signal, *, within_s: float = 0.5, opposite: bool = False) -> Delay:
    """The delay of `late` against `other`, looked for up to `within_s` either way.

    Both have the same channels; `opposite`: what is bright in one is dark in the other. Raises UserError where the
    record is too short to say anything; whatever else stands against an answer is in `refused`.
    """
    step_s = max(late.period_s, other.period_s) / STEPS
    grid = _grid(late, other, step_s, within_s)
    reach = int(np.ceil(within_s / step_s))
    smooth_s = SMOOTH * max(late.period_s, other.period_s)  # the same for both, so that neither is held back
    one, other_one = _prepared(late, grid, smooth_s), _prepared(other, grid, smooth_s)
    curves, middles_s = _curves(one, -other_one if opposite else other_one, reach, step_s)
    total = len(grid) * step_s
    if not len(curves):
        return Delay(
            0, 0, 0, 0, 0, 1, total, refused="one of the signals is flat: nothing that both cameras see changes"
        )
    line = follow(curves, middles_s, step_s)
    peak, ratio, others = _peaks(line.sums, line.at, STEPS * LOBE)
    found = Delay(
        delay_ms=(line.at - reach) * step_s * 1e3,
        error_ms=SIGMAS * line.at_error * step_s * 1e3,
        drift_ppm=line.drift * 1e6,
        drift_error_ppm=SIGMAS * line.drift_error * 1e6,
        peak=min(peak, 1.0),
        ratio=ratio,
        seconds=total,
        others_ms=tuple((place - reach) * step_s * 1e3 for place in others),
    )
    return replace(found, refused=_refusal(found, max(late.period_s, other.period_s) * 1e3, within_s * 1e3))


def _peaks(sums: Floats, at: float, lobe: float) -> tuple[float, float, tuple[float, ...]]:
    """Height of the peak at `at`, the next best peak over it, and where peaks are nearly as high."""
    top = float(np.interp(at, np.arange(len(sums)), sums))
    places = 1 + np.flatnonzero((sums[1:-1] >= sums[:-2]) & (sums[1:-1] > sums[2:]))
    places = places[np.abs(places - at) > lobe]
    heights = sums[places]
    ratio = max(0.0, float(heights.max()) / max(top, FLAT)) if len(places) else 0.0
    alike = places[heights > MOST_RATIO * top]
    return top, ratio, tuple(float(place) for place in alike)


def _refusal(found: Delay, period_ms: float, within_ms: float) -> str:
    if found.peak < LEAST_PEAK:
        return (
            f"the two cameras do not show the same thing over time (correlation {found.peak:.2f}, needed "
            f"{LEAST_PEAK}): let something move or blink that both see"
        )
    if found.others_ms:
        others = ", ".join(f"{other:.0f}" for other in found.others_ms[:4])
        away = min(abs(other - found.delay_ms) for other in found.others_ms)
        return (
            f"ambiguous: {found.delay_ms:.0f} ms fits, and so do {others} ms (second peak {found.ratio:.2f} of the "
            f"first, allowed {MOST_RATIO}): what both see repeats every {away:.0f} ms; blink or move irregularly, or "
            f"look for less than half of that (--within {away * 0.45:.0f})"
        )
    if abs(found.drift_ppm) > MOST_DRIFT * 1e6 * (1 - 1e-9):  # as unrelated signals nearly always do
        return (
            f"it fits best with clocks that run apart by {MOST_DRIFT * 1e6:.0f} ppm or more, which those of cameras "
            "hardly do: they saw different things, or for too short a time, or the times of a recording are wrong; let "
            "something move or blink that both see, and record longer"
        )
    if within_ms - abs(found.delay_ms) < period_ms / 2:
        return f"the best delay ({found.delay_ms:.0f} ms) lies at the limit of the search: look farther (--within)"
    if not found.error_ms < period_ms / 2:
        return f"known to {found.error_ms:.0f} ms only, half a frame is {period_ms / 2:.0f} ms: record longer"
    return ""


def _grid(late: Signal, other: Signal, step_s: float, within_s: float) -> Floats:
    start = max(late.times_s[0], other.times_s[0])
    end = min(late.times_s[-1], other.times_s[-1])
    least_s = LEAST_WINDOWS * WINDOW_S + 2 * within_s
    if not end - start >= least_s:
        raise UserError(
            f"both cameras were seen together for {max(0.0, end - start):.1f} s; at least {least_s:.0f} s are needed: "
            "record longer, or look for a smaller delay (--within)"
        )
    return np.arange(start, end, step_s)


def _prepared(signal: Signal, grid: Floats, smooth_s: float) -> Floats:
    """Grid x channels: on the grid, without its slow part; zero where there was no sample for a while."""
    smooth, known = _on_grid(signal, grid, smooth_s)
    step_s = float(grid[1] - grid[0])
    weight = _blur(known.astype(np.float64)[:, None], SLOW_S / step_s)
    slow = _blur(np.where(known[:, None], smooth, 0.0), SLOW_S / step_s) / np.maximum(weight, 1e-6)
    return np.where(known[:, None], smooth - slow, 0.0)


def _on_grid(signal: Signal, grid: Floats, sigma_s: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Local linear regression of the samples around each place, and where a sample is near enough."""
    times, count = signal.times_s, min(NEIGHBOURS, len(signal.times_s))
    first = np.clip(np.searchsorted(times, grid) - count // 2, 0, len(times) - count)
    near = first[:, None] + np.arange(count)
    off = times[near] - grid[:, None]
    weight = np.exp(-0.5 * (off / sigma_s) ** 2) + 1e-12
    s0, s1, s2 = weight.sum(1), (weight * off).sum(1), (weight * off * off).sum(1)
    share = weight * (s2[:, None] - s1[:, None] * off) / np.maximum(s0 * s2 - s1 * s1, 1e-30)[:, None]
    known = np.abs(off).min(axis=1) < HOLE / 2 * signal.period_s
    return np.einsum("gk,gkc->gc", share, signal.values[near]), known


def _blur(values: Floats, sigma: float) -> Floats:
    """Gaussian along the first axis; the ends see zeros."""
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    size = 1 << int(np.ceil(np.log2(len(values) + len(kernel))))
    product = np.fft.rfft(values, size, axis=0) * np.fft.rfft(kernel / kernel.sum(), size)[:, None]
    return np.fft.irfft(product, size, axis=0)[reach : reach + len(values)]


def _curves(late: Floats, other: Floats, reach: int, step_s: float) -> tuple[Floats, Floats]:
    """Correlation over lag of each window (windows x lags), scaled to have a correlation for mean; and their times.

    Each window's own energy counts: where much happens, much is said.
    """
    late, other = late / max(float(late.std()), FLAT), other / max(float(other.std()), FLAT)
    length = round(WINDOW_S / step_s)
    starts = range(reach, len(late) - reach - length + 1, length)
    scale = float(np.sqrt((late * late).mean() * (other * other).mean()))
    if scale < 0.5:  # a constant, divided by its own rounding
        return np.zeros((0, 2 * reach + 1)), np.zeros(0)
    curves = [
        sum(np.correlate(late[start - reach : start + length + reach, c], other[start : start + length, c], "valid")
            for c in range(late.shape[1])) / (length * late.shape[1] * scale)
        for start in starts
    ]  # fmt: skip
    middle = len(late) / 2
    return np.array(curves), np.array([(start + length / 2 - middle) * step_s for start in starts])
