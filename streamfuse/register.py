"""Registrar: attaches to frames the map that puts thermal onto the output grid; rebuilds it when the depth changes.

Touches no pixels (they are warped where they are fused) and knows nothing of time; the geometry is in `warp`.
"""

from __future__ import annotations

import threading

import numpy as np

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import AlignedPair, Frame, FramePair, LoneFrame, Size, WarpMap
from streamfuse.rig import Rig
from streamfuse.warp import build_warp, output_grid, parallax_px_per_inverse_m

__all__ = ["Registrar", "output_grid", "parallax_px_per_inverse_m"]

BASELINE_ERROR = 0.05
"""How well a baseline is assumed known: a map moved by s pixels from the calibrated depth may be wrong by 5 % of s."""


class Registrar:
    """Attaches the current warp map to frames.

    Confidence of an alignment = min(1, 1 / expected error), the expected error in RGB pixels being the rig's
    `residual_px` plus, when the depth is not the rig's working depth, 5 % of the parallax between the two. So 1 means
    "within a pixel, where the calibration was measured"; a rig that does not state its residual gives 0 = unknown, and
    so does a depth at which the two images do not meet.
    It says nothing of objects off the depth plane: `parallax_px_per_inverse_m` predicts those.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        size: Size | None = None,
        thermal_size: Size | None = None,
        rgb_size: Size | None = None,
        depth_m: float | None = None,
        fit: str = "crop",
        scale: bool = False,
    ) -> None:
        """Build the first map (tens of milliseconds).

        `size`, `fit`: the output grid; `thermal_size`, `rgb_size`: what the streams deliver, None = what the rig says;
        `scale` allows a rig measured at a whole multiple or fraction of those. Raises UserError when they do not fit.
        """
        streams = (thermal_size or rig.thermal_size, rgb_size or rig.rgb_size)
        self._calibration = rig.content_hash
        self._rig = _rig_at(rig, *streams, scale=scale)
        self._grid = output_grid(self._rig.rgb_size, size, fit)
        self._current = self._build(self._checked(depth_m) if depth_m is not None else rig.working_depth_m, revision=0)
        self._check_overlap()
        self._lock = threading.Lock()
        self._wanted: float | None = None
        self._builder: threading.Thread | None = None

    @property
    def warp(self) -> WarpMap:
        return self._current[0]

    @property
    def confidence(self) -> float:
        return self._current[1]

    def register(self, frames: FramePair | LoneFrame) -> AlignedPair:
        """The frames with the current map. Raises StreamfuseError for a frame that is not of the map's size."""
        warp, confidence = self._current
        _check_size(frames.thermal, warp.thermal_size)
        _check_size(frames.rgb, warp.grid.rgb_size)
        stamps = frames.stamps or frames.reference.stamps
        return AlignedPair(frames=frames, warp=warp, confidence=confidence, stamps=stamps)

    def set_depth(self, depth_m: float) -> None:
        """Ask for the map of another depth; it is built in the background and swapped in when ready (revision + 1).

        When depths arrive faster than maps can be built, only the newest is built. Raises UserError for a depth that
        is not positive, and for a planar rig, which holds for the one plane it was measured on.
        """
        depth_m = self._checked(depth_m)
        with self._lock:
            self._wanted = depth_m
            if self._builder is None:
                self._builder = threading.Thread(target=self._rebuild, name="registrar-map", daemon=True)
                self._builder.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every depth asked for is in use; False when that takes longer than `timeout_s`."""
        with self._lock:
            builder = self._builder
        if builder is not None:
            builder.join(timeout_s)
        return builder is None or not builder.is_alive()

    def _rebuild(self) -> None:
        try:
            while (depth_m := self._take_wanted()) is not None:
                self._current = self._build(depth_m, self.warp.revision + 1)
        except BaseException:
            with self._lock:
                self._builder = None
            raise

    def _take_wanted(self) -> float | None:
        """The newest depth asked for; None ends the builder in the same breath, so that no request falls between."""
        with self._lock:
            depth_m, self._wanted = self._wanted, None
            if depth_m is None:
                self._builder = None
            return depth_m

    def _build(self, depth_m: float | None, revision: int) -> tuple[WarpMap, float]:
        warp = build_warp(self._rig, self._grid, depth_m, calibration=self._calibration, revision=revision)
        return warp, _confidence(self._rig, depth_m) if warp.valid.any() else 0.0

    def _check_overlap(self) -> None:
        if not self.warp.valid.any():
            raise UserError(
                f"rig {self._rig.name}: no pixel of the {_x(self._grid.size)} output lies on the thermal image; check "
                "rgb_from_thermal (metres, X_rgb = rotation x X_thermal + translation), the depth and the output's crop"
            )

    def _checked(self, depth_m: float) -> float:
        if self._rig.planar:
            raise UserError(
                f"depth {depth_m} m was asked of rig {self._rig.name}, which is planar: it holds for the one plane it "
                "was measured on; calibrate both lenses and their pose to choose a depth"
            )
        if not depth_m > 0:
            raise UserError(f"depth {depth_m} m: must be greater than 0 (.inf for a scene far away)")
        return float(depth_m)


def _rig_at(rig: Rig, thermal_size: Size, rgb_size: Size, *, scale: bool) -> Rig:
    if (thermal_size, rgb_size) == (rig.thermal_size, rig.rgb_size):
        return rig
    if scale:
        return rig.scaled(thermal_size, rgb_size)
    raise UserError(
        f"rig {rig.name} was measured on thermal {_x(rig.thermal_size)} and RGB {_x(rig.rgb_size)}, the streams are "
        f"thermal {_x(thermal_size)} and RGB {_x(rgb_size)}; use the rig file of this resolution, calibrate at it, or, "
        "when the cameras only bin or resample by a whole factor, allow scaling"
    )


def _confidence(rig: Rig, depth_m: float | None) -> float:
    if rig.residual_px is None:
        return 0.0
    error_px = rig.residual_px
    parallax = parallax_px_per_inverse_m(rig, output_grid(rig.rgb_size))
    if parallax and depth_m and rig.working_depth_m:
        moved_px = np.hypot(*parallax) * abs(1 / depth_m - 1 / rig.working_depth_m)
        error_px += BASELINE_ERROR * float(moved_px)
    return min(1.0, 1.0 / error_px) if error_px > 0 else 1.0


def _check_size(frame: Frame | None, expected: Size) -> None:
    if frame is not None and frame.size != expected:
        raise StreamfuseError(
            f"{frame.modality.value} frame {frame.sequence} is {_x(frame.size)}, the rig's map is for {_x(expected)}: "
            "the stream changed its resolution; restart with a rig measured at the new one"
        )


def _x(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
