"""Registrar: attaches to frames the map that puts thermal onto the output grid; rebuilds it when depth or drift change.

Touches no pixels (they are warped where they are fused) and knows nothing of time; the geometry is in `warp` and
`depths`. A new map is made in the background and swapped in between two frames, so that no frame waits for one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from streamfuse.depths import Box, DepthMaps, Geometry, check_region
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import AlignedPair, Alignment, Frame, FramePair, LoneFrame, OutputGrid, Size, WarpMap, wxh
from streamfuse.rig import Rig
from streamfuse.warp import build_warp, output_grid, parallax_px_per_inverse_m

__all__ = ["Registrar", "output_grid", "parallax_px_per_inverse_m"]

PROVISIONAL = 0.5
"""Most that the alignment of a provisional rig is trusted."""
MOST_REGIONS = 16
BASELINE_ERROR = 0.05
"""How well a baseline is assumed known: a map moved by s pixels from the calibrated depth may be wrong by 5 % of s."""


class Registrar:
    """Attaches the current warp map to frames.

    Confidence of an alignment = min(1, 1 / expected error), the expected error in RGB pixels being the rig's
    `residual_px` plus, when the depth is not the rig's working depth, 5 % of the parallax between the two. So 1 means
    "within a pixel, where the calibration was measured"; a rig that does not state its residual gives 0 = unknown, and
    so does a depth at which the two images do not meet. Drift that was measured and is not corrected adds to the
    error; a provisional rig is trusted by half at most.
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
        self._maps = DepthMaps(self._rig, self._grid, self._calibration)
        self._asked = Geometry(self._checked(depth_m) if depth_m is not None else self._rig.working_depth_m)
        self._regions: dict[str, tuple[Box, float]] = {}
        warp = build_warp(self._rig, self._grid, self._asked.depth_m, calibration=self._calibration, revision=0)
        self._current = warp, self._confidence(warp)
        self._check_overlap()
        self._lock = threading.Lock()
        self._built = self._asked
        self._builder: threading.Thread | None = None
        self.alignment = Alignment()
        self.before_swap: Callable[[WarpMap], None] = lambda _: None
        """Called in the background with every new map before frames get it."""

    @property
    def warp(self) -> WarpMap:
        return self._current[0]

    @property
    def depth_m(self) -> float | None:
        """The depth asked for last, outside all regions; None for a planar rig."""
        return self._asked.depth_m

    @property
    def regions(self) -> dict[str, tuple[Box, float]]:
        """Box and depth of every region asked for, by name; where two overlap, the later one counts."""
        with self._lock:
            return dict(self._regions)

    @property
    def confidence(self) -> float:
        return self._current[1]

    def register(self, frames: FramePair | LoneFrame) -> AlignedPair:
        """The frames with the current map. Raises StreamfuseError for a frame that is not of the map's size."""
        (warp, confidence), alignment = self._current, self.alignment
        _check_size(frames.thermal, warp.thermal_size)
        _check_size(frames.rgb, warp.grid.rgb_size)
        stamps = frames.stamps or frames.reference.stamps
        if confidence and alignment.state != "off":
            confidence = 1 / (1 / confidence + _uncorrected_px(alignment, warp.grid))
        return AlignedPair(frames=frames, warp=warp, confidence=confidence, alignment=alignment, stamps=stamps)

    def set_depth(self, depth_m: float, region: Box | None = None, *, name: str = "") -> None:
        """Ask for the map of another depth; it is made in the background and swapped in when ready (revision + 1).

        With a `region` (x, y, width, height in output pixels: a tracker's box) only there, with a smooth border; the
        `name` tells several apart (16 at most) and replaces the region that had it. When requests come faster than
        maps are made, only the newest is made. Raises UserError for a depth that is not positive, a region without
        area or outside the output, and for a planar rig, which holds for the one plane it was measured on.
        """
        depth_m = self._checked(depth_m)
        with self._lock:
            if region is not None:
                box = check_region(region, self._grid)
                if len(self._regions.keys() | {name}) > MOST_REGIONS:
                    raise UserError(f"region {name!r}: at most {MOST_REGIONS} regions; forget_region takes one away")
                self._regions.pop(name, None)
                self._regions[name] = box, depth_m
            else:
                self._asked = replace(self._asked, depth_m=depth_m)
            self._ask(replace(self._asked, regions=tuple(self._regions.values())))

    def forget_region(self, name: str = "") -> None:
        """The region's depth is that of the rest again; nothing happens where there is none of that name."""
        with self._lock:
            self._regions.pop(name, None)
            self._ask(replace(self._asked, regions=tuple(self._regions.values())))

    def correct(
        self,
        moved_px: tuple[float, float],
        turned: tuple[float, float] = (0.0, 0.0),
        pivot: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Ask for a map that undoes this: how far (x, y), in output pixels, the thermal image lies off, and by what
        (roll, zoom) it is turned about the output pixel `pivot`."""
        with self._lock:
            self._ask(replace(self._asked, moved_px=moved_px, turned=turned, pivot=pivot))

    def measuring_map(self, grid: OutputGrid) -> WarpMap:
        """The map of the present depth on another grid, without regions and correction."""
        return DepthMaps(self._rig, grid, self._calibration).warp(Geometry(self._asked.depth_m), 0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every depth asked for is in use; False when that takes longer than `timeout_s`."""
        with self._lock:
            builder = self._builder
        if builder is not None:
            builder.join(timeout_s)
        return builder is None or not builder.is_alive()

    def _ask(self, geometry: Geometry) -> None:
        """Have it built unless it is there; called with the lock held."""
        self._asked = geometry
        if self._builder is None and geometry != self._built:
            self._builder = threading.Thread(target=self._rebuild, name="registrar-map", daemon=True)
            self._builder.start()

    def _rebuild(self) -> None:
        try:
            while (geometry := self._next()) is not None:
                warp = self._maps.warp(geometry, self.warp.revision + 1)
                self.before_swap(warp)
                self._current = warp, self._confidence(warp)
        except BaseException:
            with self._lock:
                self._builder = None
            raise

    def _next(self) -> Geometry | None:
        """The newest one asked for; None ends the builder in the same breath, so that no request falls between."""
        with self._lock:
            if self._asked == self._built:
                self._builder = None
                return None
            self._built = self._asked
            return self._asked

    def _confidence(self, warp: WarpMap) -> float:
        return _confidence(self._rig, warp.depth_m) if warp.valid.any() else 0.0

    def _check_overlap(self) -> None:
        if not self.warp.valid.any():
            raise UserError(
                f"rig {self._rig.name}: no pixel of the {wxh(self._grid.size)} output lies on the thermal image; check "
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
        f"rig {rig.name} was measured on thermal {wxh(rig.thermal_size)} and RGB {wxh(rig.rgb_size)}, the streams are "
        f"thermal {wxh(thermal_size)} and RGB {wxh(rgb_size)}; use the rig file of this resolution, calibrate at it, "
        "or, when the cameras only bin or resample by a whole factor, allow scaling"
    )


def _confidence(rig: Rig, depth_m: float | None) -> float:
    if rig.residual_px is None:
        return 0.0
    error_px = rig.residual_px
    parallax = parallax_px_per_inverse_m(rig, output_grid(rig.rgb_size))
    if parallax and depth_m and rig.working_depth_m:
        moved_px = np.hypot(*parallax) * abs(1 / depth_m - 1 / rig.working_depth_m)
        error_px += BASELINE_ERROR * float(moved_px)
    most = PROVISIONAL if rig.provisional else 1.0
    return min(most, 1.0 / error_px) if error_px > 0 else most


def _uncorrected_px(alignment: Alignment, grid: OutputGrid) -> float:
    """Drift beyond doubt that is not corrected, in RGB pixels; of a turn, half of what it does to a corner."""
    known = _beyond_doubt(alignment.drift_px, alignment.applied_px, alignment.spread_px)
    if (turn := alignment.turn) is not None:
        known += _beyond_doubt(turn.drift, turn.applied, turn.spread) * float(np.hypot(*grid.size)) / 4
    return known * grid.crop[2] / grid.size[0]


def _beyond_doubt(drift: tuple[float, float], applied: tuple[float, float], spread: float) -> float:
    return max(0.0, float(np.hypot(*np.subtract(drift, applied))) - 3 * spread)


def _check_size(frame: Frame | None, expected: Size) -> None:
    if frame is not None and frame.size != expected:
        raise StreamfuseError(
            f"{frame.modality.value} frame {frame.sequence} is {wxh(frame.size)}, the rig's map is for "
            f"{wxh(expected)}: the stream changed its resolution; restart with a rig measured at the new one"
        )
