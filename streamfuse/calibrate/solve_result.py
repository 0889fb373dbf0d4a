"""From the numbers that solving found to the rig file and the Solution: what is written, judged and kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from streamfuse.calibrate import accept
from streamfuse.calibrate.solve_bundle import Seen, State
from streamfuse.calibrate.solve_checks import tilt_spread
from streamfuse.calibrate.solve_joint import Joint
from streamfuse.calibrate.solve_lens import as_lens
from streamfuse.calibrate.solve_robust import Fit
from streamfuse.calibrate.solve_solution import Estimate, Residuals, Solution
from streamfuse.calibrate.solve_uncertain import rotation_vector
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Floats
from streamfuse.frames import Size
from streamfuse.lens import Lens, Pose
from streamfuse.rig import Calibration, Rig

FAR_M = 1e6
NO_SCALE = "Lengths count in spacings of the target, for its size is not known."


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """All that solving found, before it is judged."""

    joint: Joint
    seen: tuple[Seen, ...]
    sizes: tuple[Size, Size]
    estimate: Estimate
    held_out: Residuals
    names: tuple[str, ...]
    target: Target

    @property
    def both(self) -> list[int]:
        """Views that count in both cameras."""
        fitted = self.joint.fitted
        return sorted(set(fitted.views_used(self.seen, 0)) & set(fitted.views_used(self.seen, 1)))

    def residuals(self, camera: int) -> Residuals:
        """Of one camera: in the pair, or of the lens alone where the views do not share one rig."""
        rows = self.seen[camera]
        alone = self.joint.of_cameras()
        fitted, at = (alone[camera], 0) if alone else (self.joint.fitted, camera)
        return Residuals(rows.view, rows.point, rows.pixels, fitted.errors[at], fitted.used[at])


def as_solution(
    solved: Solved,
    name: str,
    working_depth_m: float | None,
    rejected: tuple[tuple[str, str], ...],
    models: dict[str, float] | None,
) -> Solution:
    """The solution with its rig file, judged by `accept`."""
    state = solved.joint.fitted.state
    depth = working_depth_m or _typical_depth(state, solved.both, solved.target)
    thermal, rgb = (as_lens(*one) for one in zip(state.models, state.lenses, solved.sizes, strict=True))
    shown = solved.residuals(0), solved.residuals(1)
    pose = _pose(state)
    bare = {
        "thermal": accept.bare_corners(shown[0].pixels[shown[0].used], _whole(solved.sizes[0])),
        "rgb": accept.bare_corners(shown[1].pixels[shown[1].used], _overlap(thermal, rgb, pose, depth)),
    }
    miss = solved.joint.typical_miss_px(solved.seen) if solved.joint.loose else None
    tilt = tilt_spread(state.rotations[solved.both])
    held_out = solved.held_out
    reasons = accept.reasons(
        accept.Measured(shown[0].rms_px, held_out.rms_px, len(solved.both), tilt, bare, loose_px=miss)
    )
    rig = Rig(
        name=name,
        thermal=thermal,
        rgb=rgb,
        rgb_from_thermal=pose,
        working_depth_m=depth,
        residual_px=_rounded(held_out.rms_px),
        provisional=bool(reasons),
        calibration=_record(solved, shown, reasons),
        made_on=date.today(),
        notes="" if solved.target.scale_known else NO_SCALE,
    )
    return Solution(
        rig,
        solved.target.name,
        solved.names,
        *shown,
        held_out,
        _poses(solved.joint.fitted, solved.seen, len(solved.names)),
        solved.estimate,
        rejected,
        models,
        reasons,
    )


def _record(solved: Solved, shown: tuple[Residuals, Residuals], reasons: tuple[str, ...]) -> Calibration:
    return Calibration(
        target=solved.target.name,
        views=len(solved.both),
        thermal_rms_px=_rounded(shown[0].rms_px),
        rgb_rms_px=_rounded(shown[1].rms_px),
        held_out_px=_rounded(solved.held_out.rms_px),
        held_out_p95_px=_rounded(solved.held_out.percentile_px(95)),
        refused=reasons,
    )


def _pose(state: State) -> Pose:
    first, second, third = (
        (float(row[0]), float(row[1]), float(row[2])) for row in (*state.rig_rotation[:2], state.rig_rotation[2])
    )
    x, y, z = (float(value) for value in state.rig_shift)
    return Pose(rotation=(first, second, third), translation=(x, y, z))


def _poses(fitted: Fit, seen: tuple[Seen, ...], count: int) -> Floats:
    poses = np.full((count, 6), np.nan)
    for view in sorted({view for camera in (0, 1) for view in fitted.views_used(seen, camera)}):
        poses[view, :3] = rotation_vector(fitted.state.rotations[view])
        poses[view, 3:] = fitted.state.shifts[view]
    return poses


def _typical_depth(state: State, views: list[int], target: Target) -> float:
    """Median distance of the target's middle along the RGB camera's axis, to two digits."""
    middle = target.points_m.mean(axis=0)
    points: Floats = state.rotations[views] @ middle + state.shifts[views]
    carried: Floats = points @ np.transpose(state.rig_rotation) + state.rig_shift
    return float(f"{np.median(carried[:, 2]):.2g}")


def _overlap(thermal: Lens, rgb: Lens, pose: Pose, depth: float) -> tuple[float, float, float, float]:
    """The part of the RGB image (left, top, right, bottom) that thermal pixels reach at a depth."""
    width, height = thermal.size
    grid = np.array([[x, y] for x in np.linspace(0, width - 1, 9) for y in np.linspace(0, height - 1, 9)])
    rays, found = thermal.rays(grid)
    points: Floats = np.column_stack([rays, np.ones(len(rays))]) * min(depth, FAR_M)
    carried: Floats = points @ np.transpose(pose.rotation_matrix) + pose.translation_vector
    pixels, valid = rgb.project(carried)
    there = pixels[found & valid]
    left, top, right, bottom = _whole(rgb.size)
    low, high = there.min(axis=0), there.max(axis=0)
    return max(float(low[0]), left), max(float(low[1]), top), min(float(high[0]), right), min(float(high[1]), bottom)


def _whole(size: Size) -> tuple[float, float, float, float]:
    return -0.5, -0.5, size[0] - 0.5, size[1] - 0.5


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
