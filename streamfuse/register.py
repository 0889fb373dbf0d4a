"""Registrar: where each output pixel lies in the thermal image, from the rig and the depth of the scene.

Touches no pixels (they are warped where they are fused) and knows nothing of time.

Convention: pixel centres at integers, x right, y down; depth is Z in the RGB camera, in metres: the map is exact for
a plane parallel to the RGB image at that depth, and off by `parallax_px_per_inverse_m` x |1/Z - 1/depth| elsewhere.
"""

from __future__ import annotations

import threading

import numpy as np

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import AlignedPair, Frame, FramePair, LoneFrame, OutputGrid, Size, WarpMap
from streamfuse.lens import Bools, Floats
from streamfuse.rig import Rig

FITS = ("crop", "stretch")
BASELINE_ERROR = 0.05
"""How well a baseline is assumed known: a map moved by s pixels from the calibrated depth may be wrong by 5 % of s."""
BORDER_SLACK_PX = 1e-3
"""Coordinates this close outside the thermal border are put onto it, so that rounding cannot cost a row of pixels."""
CHUNK_PIXELS = 16_384  # the arrays of one chunk fit a core's second-level cache


def output_grid(rgb_size: Size, size: Size | None = None, fit: str = "crop") -> OutputGrid:
    """The output image on the RGB image: None = the RGB image as it is.

    "crop" takes the largest centred crop (whole pixels) of the asked aspect ratio and scales it; "stretch" scales the
    whole image, whatever that does to its aspect ratio. Raises UserError for sizes below 1x1 and an unknown fit.
    """
    if fit not in FITS:
        raise UserError(f"output fit {fit!r} is unknown; allowed: {', '.join(FITS)}")
    if min(*rgb_size, *(size or (1, 1))) < 1:
        raise UserError(f"output size {size} of an RGB image of {rgb_size}: width and height must be at least 1 pixel")
    if size is None or fit == "stretch":
        return OutputGrid(size=size or rgb_size, rgb_size=rgb_size, crop=(0, 0, *rgb_size))
    width, height = rgb_size
    crop_width = min(width, max(1, round(height * size[0] / size[1])))
    crop_height = min(height, max(1, round(width * size[1] / size[0])))
    crop = ((width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height)
    return OutputGrid(size=size, rgb_size=rgb_size, crop=crop)


def parallax_px_per_inverse_m(rig: Rig, grid: OutputGrid) -> tuple[float, float] | None:
    """Shift (x, y) of the thermal image on the output grid, per 1/m by which the scene is nearer than the map's depth.

    f x baseline at the optical axis (Hartley and Zisserman, section 9.5); None for a planar rig, which does not know.
    """
    if rig.rgb is None or rig.rgb_from_thermal is None:
        return None
    to_x, to_y, _ = rig.rgb_from_thermal.translation
    scale_x, scale_y = grid.size[0] / grid.crop[2], grid.size[1] / grid.crop[3]
    return -rig.rgb.fx * to_x * scale_x, -rig.rgb.fy * to_y * scale_y


def thermal_from_rgb(rig: Rig, pixels: Floats, depth_m: float | None) -> tuple[Floats, Bools]:
    """RGB pixels (... 2) to thermal pixels (... 2), and where that is valid: both lenses within their fold, in front.

    Full rig: the pixel's ray meets the plane Z = `depth_m` of the RGB camera; that point is seen by the thermal one.
    With ray r: X_rgb = Z r and X_thermal = R^T (X_rgb - t), divided by Z so that an infinite depth works too.
    """
    if rig.thermal is None or rig.rgb is None or rig.rgb_from_thermal is None or depth_m is None:
        return _through_homography(rig, pixels)
    rays, seen = rig.rgb.rays(pixels)
    pose = rig.rgb_from_thermal
    rotated_rays = _homogeneous(rays) - pose.translation_vector / depth_m
    thermal_pixels, projected = rig.thermal.project(rotated_rays @ pose.rotation_matrix)
    return thermal_pixels, seen & projected


def build_warp(rig: Rig, grid: OutputGrid, depth_m: float | None, *, calibration: str, revision: int) -> WarpMap:
    """The map and its exact mask for one depth."""
    width, height = grid.size
    coordinates = np.empty((height, width, 2), dtype=np.float32)
    valid = np.empty((height, width), dtype=np.bool_)
    rows_at_once = max(1, CHUNK_PIXELS // width)
    for top in range(0, height, rows_at_once):
        bottom = min(top + rows_at_once, height)
        thermal_pixels, usable = thermal_from_rgb(rig, _rgb_pixels(grid, top, bottom), depth_m)
        coordinates[top:bottom], valid[top:bottom] = _on_image(thermal_pixels, usable, rig.thermal_size)
    coordinates.flags.writeable = valid.flags.writeable = False
    return WarpMap(coordinates, valid, rig.thermal_size, grid, calibration, depth_m, revision)


class Registrar:
    """Attaches the current warp map to frames.

    Confidence of an alignment = min(1, 1 / expected error), the expected error in RGB pixels being the rig's
    `residual_px` plus, when the depth is not the rig's working depth, 5 % of the parallax between the two. So 1 means
    "within a pixel, where the calibration was measured"; a rig that does not state its residual gives 0 = unknown.
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
        return warp, _confidence(self._rig, depth_m)

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


def _through_homography(rig: Rig, pixels: Floats) -> tuple[Floats, Bools]:
    homography = rig.homography
    if homography is None:
        raise StreamfuseError(f"rig {rig.name} needs a depth to map RGB pixels onto the thermal image")
    weighted = _homogeneous(pixels) @ np.transpose(np.linalg.inv(homography))
    before_horizon = weighted[..., 2] > 0
    weight = np.where(before_horizon, weighted[..., 2], 1.0)
    return weighted[..., :2] / weight[..., None], before_horizon


def _homogeneous(points: Floats) -> Floats:
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def _rgb_pixels(grid: OutputGrid, top: int, bottom: int) -> Floats:
    """RGB pixel of every output pixel in some rows: (bottom - top, width, 2)."""
    (scale_x, _, left), (_, scale_y, above), _ = grid.rgb_from_output.tolist()
    pixels = np.empty((bottom - top, grid.size[0], 2), dtype=np.float64)
    pixels[..., 0] = scale_x * np.arange(grid.size[0]) + left
    pixels[..., 1] = (scale_y * np.arange(top, bottom) + above)[:, None]
    return pixels


def _on_image(pixels: Floats, usable: Bools, size: Size) -> tuple[Floats, Bools]:
    """Coordinates as they are stored, and which lie on the image.

    Border coordinates lose their rounding error; the far outside is cut off at one image size, and pixels without any
    thermal counterpart lie there, so that no sampler meets infinities.
    """
    last = np.array(size, dtype=np.float64) - 1
    onto = np.clip(pixels, 0, last)
    pixels = np.where(np.abs(pixels - onto) <= BORDER_SLACK_PX, onto, pixels)
    pixels = np.where(usable[..., None], np.clip(pixels, -last - 1, 2 * last + 1), -last - 1)
    inside = ((pixels >= 0) & (pixels <= last)).all(axis=-1)
    return pixels, usable & inside


def _check_size(frame: Frame | None, expected: Size) -> None:
    if frame is not None and frame.size != expected:
        raise StreamfuseError(
            f"{frame.modality.value} frame {frame.sequence} is {_x(frame.size)}, the rig's map is for {_x(expected)}: "
            "the stream changed its resolution; restart with a rig measured at the new one"
        )


def _x(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
