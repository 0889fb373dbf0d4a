"""What stands in a report, before it is a page: gathered from a rig, its solution and some pairs, as far as given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from streamfuse.calibrate.parallax import parallax_of, rounded
from streamfuse.calibrate.report.depths import Row, parallax_drawing, parallax_lines, parallax_table
from streamfuse.calibrate.report.drawing import Drawing
from streamfuse.calibrate.report.overlays import Overlay, Pair, overlay
from streamfuse.calibrate.report.residuals import residual_drawings
from streamfuse.calibrate.report.words import Verdict, baseline_line, facts, geometry, parameter_rows, verdict
from streamfuse.calibrate.solve_solution import Solution
from streamfuse.errors import UserError
from streamfuse.frames import Size
from streamfuse.rig import Rig

PLANAR = (
    "The parallax is unknown. A planar rig is right for one plane; its file does not say how far apart the cameras "
    "stand, so the error of nearer and farther objects cannot be predicted. Calibrate both lenses and their pose to "
    "know it."
)


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a page or a picture shows; what was not given is empty."""

    rig: Rig
    verdict: Verdict
    facts: list[Row]
    geometry: list[str]
    parallax: Drawing | None
    parallax_lines: list[str]
    parallax_rows: list[Row]
    overlays: list[Overlay]
    overlay_words: str
    residuals: list[Drawing]
    parameters: list[Row]
    parameter_words: str
    remarks: list[str]
    made_by: str


def gather(
    rig_path: Path,
    solution_path: Path | None = None,
    pairs: Sequence[Pair] = (),
    *,
    depth_m: float | None = None,
    size: Size | None = None,
) -> Contents:
    """Read the files and work everything out.

    `depth_m`: of the overlays, None = the rig's working depth; `size`: an output size for which the parallax is told
    too. Raises UserError: a file that cannot be read, a solution of another rig, pairs of another size.
    """
    rig = Rig.load(rig_path)
    solution = Solution.load(solution_path) if solution_path else None
    if solution:
        _check_belongs(rig, solution, rig_path, solution_path)
    planar = rig.planar
    return Contents(
        rig=rig,
        verdict=verdict(rig, solution),
        facts=[("file", rig_path.name), *facts(rig)],
        geometry=geometry(rig),
        parallax=None if planar else parallax_drawing(parallax_of(rig)),
        parallax_lines=[PLANAR] if planar else _parallax_lines(rig, solution),
        parallax_rows=[] if planar else parallax_table(rig, size),
        overlays=[overlay(pair, rig, depth_m) for pair in pairs],
        overlay_words=_overlay_words(rig, depth_m),
        residuals=residual_drawings(solution) if solution else [],
        parameters=parameter_rows(solution.estimate) if solution and solution.estimate.names else [],
        parameter_words=_parameter_words(solution) if solution else "",
        remarks=_remarks(solution) if solution else [],
        made_by=f"streamfuse {version('streamfuse')}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
    )


def _parallax_lines(rig: Rig, solution: Solution | None) -> list[str]:
    return [*parallax_lines(rig), *(baseline_line(solution.estimate) if solution else [])]


def _check_belongs(rig: Rig, solution: Solution, rig_path: Path, solution_path: Path | None) -> None:
    """The working depth and the delay may be set later by hand; lenses and pose are what was solved."""
    solved = solution.rig
    sizes = (rig.thermal_size, rig.rgb_size) == (solved.thermal_size, solved.rgb_size)
    if not sizes or not np.allclose(_numbers(rig), _numbers(solved), rtol=1e-6, atol=1e-9):
        raise UserError(
            f"{solution_path} is the solution of rig {solved.name} ({solved.content_hash}), {rig_path} is "
            f"{rig.name} ({rig.content_hash}) with other lenses or another pose; give the solution that was written "
            "beside this rig file, or none"
        )


def _numbers(rig: Rig) -> list[float]:
    if rig.thermal is None or rig.rgb is None or rig.rgb_from_thermal is None:
        return [] if rig.homography is None else rig.homography.ravel().tolist()
    lenses = [
        value
        for lens in (rig.thermal, rig.rgb)
        for value in (lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion, *(0.0,) * (8 - len(lens.distortion)))
    ]
    return [*lenses, *rig.rgb_from_thermal.rotation_matrix.ravel().tolist(), *rig.rgb_from_thermal.translation]


def _overlay_words(rig: Rig, depth_m: float | None) -> str:
    depth = depth_m or rig.working_depth_m
    at = "" if depth is None else f" at {depth:g} m" if math.isfinite(depth) else " at infinity"
    return (
        f"Before: the thermal image stretched over the visible one. After: through the rig's map{at}; what stands at "
        "another depth is displaced by the parallax above. Lines should run on from square to square."
    )


def _parameter_words(solution: Solution) -> str:
    widened = [
        f"{block} {rounded(factor, 2)} times" for block, factor in solution.estimate.widened.items() if factor > 1.05
    ]
    hang_together = f" Variances were widened because errors of a view hang together: {', '.join(widened)}."
    return "Each with its own 95 % interval, the others left free." + (hang_together if widened else "")


def _remarks(solution: Solution) -> list[str]:
    rejected = [f"View {name} was left out: {why}." for name, why in solution.rejected]
    tried = [f"{model}: {error:.3f} px held out" for model, error in (solution.models or {}).items()]
    return [*rejected, *([f"Lens models tried: {'; '.join(tried)}."] if tried else [])]
