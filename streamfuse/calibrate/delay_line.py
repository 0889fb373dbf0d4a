"""The straight line through many windows' correlation curves along which they add up most: a delay that drifts.

Pure. `curves` is windows x lags; everything here counts in lags (grid steps), times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_DRIFT = 1000e-6
LAG_REACH, DRIFT_REACH = 4, 2
"""How far around the highest sum the surface is taken for a parabola."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """lag(t) = at + drift x t / step; errors are one standard error. `sums`: mean of the curves along that drift."""

    at: float
    at_error: float
    drift: float
    drift_error: float
    sums: Floats


def follow(curves: Floats, times_s: Floats, step_s: float) -> Line:
    """The line with the highest sum, its refinement between grid places, and its error by leaving windows out."""
    reach_s = max(float(np.abs(times_s).max(initial=0)), step_s)
    count = max(DRIFT_REACH, int(np.ceil(MOST_DRIFT * reach_s / step_s)))
    drift_step = MOST_DRIFT / count
    drifts = np.arange(-count, count + 1) * drift_step
    lags = np.arange(curves.shape[1], dtype=np.float64)
    along = np.stack([_along(curves, drift * times_s / step_s) for drift in drifts.tolist()], axis=1)
    surface = along.mean(axis=0)
    top_drift, top_lag = divmod(int(surface.argmax()), surface.shape[1])
    low = int(np.clip(top_drift - DRIFT_REACH, 0, max(0, len(drifts) - 2 * DRIFT_REACH - 1)))
    left = int(np.clip(top_lag - LAG_REACH, 0, max(0, len(lags) - 2 * LAG_REACH - 1)))
    local = along[:, low : low + 2 * DRIFT_REACH + 1, left : left + 2 * LAG_REACH + 1]
    row, at = _summit(local.mean(axis=0))
    without = (local.sum(axis=0) - local) / max(len(local) - 1, 1)
    tops = np.array([_summit(one) for one in without])
    spread = np.sqrt((len(tops) - 1) * tops.var(axis=0))
    drift = float(drifts[low] + row * drift_step)
    drift_error = float(spread[0]) * drift_step
    if abs(drift) > MOST_DRIFT * (1 - 1e-9):  # the edge of the search, where leaving windows out changes nothing
        drift_error = max(drift_error, MOST_DRIFT)
    sums = _along(curves, drift * times_s / step_s).mean(axis=0)
    return Line(left + at, float(spread[1]), drift, drift_error, sums)


def _along(curves: Floats, offs: Floats) -> Floats:
    """Every curve, read `offs` lags farther on."""
    lags = np.arange(curves.shape[1], dtype=np.float64)
    moved: list[Floats] = [np.interp(lags + off, lags, curve) for curve, off in zip(curves, offs.tolist(), strict=True)]
    return np.stack(moved)


def _summit(surface: Floats) -> tuple[float, float]:
    """Row and column of the top of the parabola through a small surface; its highest place where that has none."""
    rows, columns = np.mgrid[: surface.shape[0], : surface.shape[1]].astype(np.float64)
    r, c = rows.ravel() - rows.mean(), columns.ravel() - columns.mean()
    design = np.stack([np.ones_like(r), r, c, r * r, r * c, c * c], axis=1)
    _, br, bc, rr, rc, cc = np.linalg.lstsq(design, surface.ravel(), rcond=None)[0]
    determinant = 4 * rr * cc - rc * rc
    top = np.unravel_index(int(surface.argmax()), surface.shape)
    if not (cc < 0 and determinant > 0):
        if not cc < 0:
            return float(top[0]), float(top[1])
        row = float(top[0]) - float(rows.mean())
        column = -(bc + rc * row) / (2 * cc)
    else:
        row, column = (rc * bc - 2 * cc * br) / determinant, (rc * br - 2 * rr * bc) / determinant
    row = float(np.clip(row + rows.mean(), 0, surface.shape[0] - 1))
    column = float(np.clip(column + columns.mean(), 0, surface.shape[1] - 1))
    return row, column
