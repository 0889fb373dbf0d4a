"""Where each output pixel lies in the thermal image: pure geometry, from a rig, an output grid and a depth.

Touches no pixels and knows nothing of time.

Convention: pixel centres at integers, x right, y down; depth is Z in the RGB camera, in metres: the map is exact for
a plane parallel to the RGB image at that depth, and off by `parallax_px_per_inverse_m` x |1/Z - 1/depth| elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamfuse.distortion import Bools, Floats
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import OutputGrid, Size, WarpMap
from streamfuse.rig import Rig

FITS = ("crop", "stretch")
BORDER_SLACK_PX = 2e-4
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

    That is focal length x baseline, exact at the optical axis; None for a planar rig, which does not know.
    """
    if rig.rgb is None or rig.rgb_from_thermal is None:
        return None
    to_x, to_y, _ = rig.rgb_from_thermal.translation
    scale_x, scale_y = grid.size[0] / grid.crop[2], grid.size[1] / grid.crop[3]
    return -rig.rgb.fx * to_x * scale_x, -rig.rgb.fy * to_y * scale_y


def thermal_from_rgb(rig: Rig, pixels: Floats, depth_m: float | Floats | None) -> tuple[Floats, Bools]:
    """RGB pixels (... 2) to thermal pixels (... 2), and where that is valid: both lenses within their fold, in front.

    Full rig: the pixel's ray meets the plane Z = `depth_m` of the RGB camera; that point is seen by the thermal one.
    With ray r: X_rgb = Z r and X_thermal = R^T (X_rgb - t), divided by Z so that an infinite depth works too. Every
    pixel may have a depth of its own (...).
    """
    if rig.thermal is None or rig.rgb is None or rig.rgb_from_thermal is None or depth_m is None:
        return _through_homography(rig, pixels)
    rays, seen = rig.rgb.rays(pixels)
    pose = rig.rgb_from_thermal
    rotated_rays = _homogeneous(rays) - pose.translation_vector / np.asarray(depth_m)[..., None]
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
        thermal_pixels, usable = thermal_from_rgb(rig, rgb_pixels(grid, top, bottom), depth_m)
        coordinates[top:bottom], valid[top:bottom] = on_image(thermal_pixels, usable, rig.thermal_size)
    return WarpMap(coordinates, valid, rig.thermal_size, grid, calibration, depth_m, revision)


def rgb_pixels(grid: OutputGrid, top: int, bottom: int) -> Floats:
    """RGB pixel of every output pixel in some rows: (bottom - top, width, 2)."""
    (scale_x, _, left), (_, scale_y, above), _ = grid.rgb_from_output.tolist()
    pixels = np.empty((bottom - top, grid.size[0], 2), dtype=np.float64)
    pixels[..., 0] = scale_x * np.arange(grid.size[0]) + left
    pixels[..., 1] = (scale_y * np.arange(top, bottom) + above)[:, None]
    return pixels


def thermal_px_per_output_px(warp: WarpMap) -> float:
    """From one output pixel to the next, in thermal pixels: the median where thermal is seen; 1 where it nowhere is."""
    across = np.abs(np.diff(warp.thermal_from_output[..., 0].astype(np.float64), axis=1))[warp.valid[:, 1:]]
    return float(np.median(across)) if across.size else 1.0


def _through_homography(rig: Rig, pixels: Floats) -> tuple[Floats, Bools]:
    """A rig's horizon never crosses its thermal image, so that only pixels on the horizon itself need care."""
    homography = rig.homography
    if homography is None:
        raise StreamfuseError(f"rig {rig.name} needs a depth to map RGB pixels onto the thermal image")
    weighted = _homogeneous(pixels) @ np.transpose(np.linalg.inv(homography))
    off_horizon = weighted[..., 2] != 0
    weight = np.where(off_horizon, weighted[..., 2], 1.0)
    return weighted[..., :2] / weight[..., None], off_horizon


def _homogeneous(points: Floats) -> Floats:
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def on_image(pixels: Floats, usable: Bools, size: Size) -> tuple[NDArray[np.float32], Bools]:
    """Coordinates as they are stored, and which of those lie on the image.

    Border coordinates lose their rounding error; the far outside is cut off at one image size, and pixels without any
    thermal counterpart lie there, so that no sampler meets infinities.
    """
    far, last = np.array(size, dtype=np.float32), np.array(size, dtype=np.float32) - 1
    stored = np.where(usable[..., None], np.clip(pixels, -far, 2 * far), -far).astype(np.float32)
    onto = np.clip(stored, 0, last)
    stored = np.where(np.abs(stored - onto) <= BORDER_SLACK_PX, onto, stored)
    return stored, (stored == onto).all(axis=-1)
