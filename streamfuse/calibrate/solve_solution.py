"""Solution: what solving leaves behind besides the rig file, so that a report can show it; read and written as JSON.

Knows nothing of how it was found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from streamfuse.calibrate.views import Floats, Indices
from streamfuse.errors import UserError
from streamfuse.rig import Rig

Bools = NDArray[np.bool_]
VERSION = 1
QUANTILE_95 = 1.959964


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """One row for each target point that one camera saw (N rows).

    `view` (N): which of `Solution.views`; `point` (N): which point of the target; `pixels` (N 2): where it was found;
    `errors` (N 2): found minus predicted, pixels; `used` (N): False where it was rejected and did not count.
    """

    view: Indices
    point: Indices
    pixels: Floats
    errors: Floats
    used: Bools

    @property
    def rms_px(self) -> float:
        """Root mean square length of the errors of the used rows; NaN where there is none."""
        kept = self.errors[self.used]
        return float(np.sqrt((kept**2).sum(axis=1).mean())) if len(kept) else float("nan")

    def percentile_px(self, share: float) -> float:
        """Length under which `share` percent of the used errors stay; NaN where there is none."""
        kept = self.errors[self.used]
        return float(np.percentile(np.hypot(kept[:, 0], kept[:, 1]), share)) if len(kept) else float("nan")

    def rms_of_view(self, view: int) -> float:
        """As `rms_px`, of one view."""
        return Residuals(*(column[self.view == view] for column in self._columns)).rms_px

    @property
    def _columns(self) -> tuple[Any, ...]:
        return self.view, self.point, self.pixels, self.errors, self.used


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The shared parameters and how well they are known.

    `names` (P): "thermal.fx", "rgb.k1", "rgb_from_thermal.rx" (rotation vector, radians), "rgb_from_thermal.tx"
    (metres); `values` (P); `covariance` (P P). `widened`: what factor the covariance of each block ("thermal", "rgb",
    "rgb_from_thermal") was multiplied by because the residuals of a view hang together (1: they do not).
    """

    names: tuple[str, ...]
    values: Floats
    covariance: Floats
    widened: dict[str, float]

    @property
    def half_width_95(self) -> Floats:
        """(P) Half the 95 % interval of every parameter on its own."""
        return QUANTILE_95 * np.sqrt(np.diag(self.covariance))

    def block(self, names: tuple[str, ...]) -> tuple[Floats, Floats]:
        """Values and covariance of some parameters, in the order asked for."""
        at = [self.names.index(name) for name in names]
        return self.values[at], self.covariance[np.ix_(at, at)]


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A solved pair of cameras.

    `views`: names of all views given. `poses` (V 6): rotation vector and translation (metres) that take the target
    into the thermal camera, NaN where the view was not used. `held_out`: for every fourth view, thermal points
    carried into RGB by a rig solved without it (`pixels`, `errors` are RGB pixels). `rejected`: (view, why).
    `models`: what was tried for each camera, as "thermal fisheye" -> held-out error in pixels. `reasons`: why the rig
    is provisional, empty where it is not.
    """

    rig: Rig
    target: str
    views: tuple[str, ...]
    thermal: Residuals
    rgb: Residuals
    held_out: Residuals
    poses: Floats
    estimate: Estimate
    rejected: tuple[tuple[str, str], ...] = ()
    models: dict[str, float] | None = None
    reasons: tuple[str, ...] = ()

    def save(self, path: str | Path) -> None:
        """Write it as JSON. Raises UserError where that cannot be written."""
        document = {
            "streamfuse_solution": VERSION,
            "rig": self.rig.model_dump(mode="json", exclude_none=True),
            "target": self.target,
            "views": list(self.views),
            "residuals": {name: _columns(getattr(self, name)) for name in ("thermal", "rgb", "held_out")},
            "poses": [[None if np.isnan(value) else value for value in row] for row in self.poses.tolist()],
            "estimate": {
                "names": list(self.estimate.names),
                "values": self.estimate.values.tolist(),
                "covariance": self.estimate.covariance.tolist(),
                "widened": self.estimate.widened,
            },
            "rejected": [list(one) for one in self.rejected],
            "models": self.models,
            "reasons": list(self.reasons),
        }
        try:
            Path(path).write_text(json.dumps(document) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}; name another folder or free it") from error

    @classmethod
    def load(cls, path: str | Path) -> Solution:
        """Read what `save` wrote. Raises UserError: unreadable, not a solution, or of another version."""
        try:
            document = cast("dict[str, Any]", json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error}); give the file that `calibrate rig` wrote") from error
        version = document.get("streamfuse_solution") if isinstance(document, dict) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if version != VERSION:
            raise UserError(f"{path}: found solution version {version}, this streamfuse reads {VERSION}; solve again")
        try:
            return _solution(document)
        except (KeyError, TypeError, ValueError, IndexError, ValidationError) as error:
            raise UserError(f"{path}: damaged solution file ({error}); solve again") from error


def _solution(document: dict[str, Any]) -> Solution:
    residuals, estimate = document["residuals"], document["estimate"]
    poses = np.array([[np.nan if value is None else value for value in row] for row in document["poses"]])
    return Solution(
        Rig.model_validate(document["rig"]),
        document["target"],
        tuple(document["views"]),
        _residuals(residuals["thermal"]),
        _residuals(residuals["rgb"]),
        _residuals(residuals["held_out"]),
        poses.reshape(-1, 6).astype(np.float64),
        Estimate(
            tuple(estimate["names"]),
            np.array(estimate["values"], dtype=np.float64),
            np.array(estimate["covariance"], dtype=np.float64),
            dict(estimate["widened"]),
        ),
        tuple((name, why) for name, why in document["rejected"]),
        document["models"],
        tuple(document["reasons"]),
    )


def _columns(residuals: Residuals) -> dict[str, Any]:
    return {
        "view": residuals.view.tolist(),
        "point": residuals.point.tolist(),
        "pixels": np.round(residuals.pixels, 4).tolist(),
        "errors": np.round(residuals.errors, 5).tolist(),
        "used": residuals.used.tolist(),
    }


def _residuals(columns: dict[str, Any]) -> Residuals:
    return Residuals(
        np.array(columns["view"], dtype=np.intp),
        np.array(columns["point"], dtype=np.intp),
        np.array(columns["pixels"], dtype=np.float64).reshape(-1, 2),
        np.array(columns["errors"], dtype=np.float64).reshape(-1, 2),
        np.array(columns["used"], dtype=np.bool_),
    )
