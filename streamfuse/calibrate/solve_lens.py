"""The lens models that solving tries, as parameter vectors with derivatives.

A lens is a vector fx, fy, cx, cy and the coefficients of its model, in OpenCV's order. Points to pixels is OpenCV's;
back to rays it is `streamfuse.lens`, which knows where a model ends.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np

from streamfuse.calibrate.views import Floats
from streamfuse.frames import Size
from streamfuse.lens import Lens

COEFFICIENTS = {
    "pinhole": ("k1", "k2", "p1", "p2", "k3"),
    "fisheye": ("k1", "k2", "k3", "k4"),
    "rational": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "radtan": ("k1", "k2", "p1", "p2"),
}
"""Models by the names of their coefficients."""
AUTO = ("pinhole", "fisheye", "rational")
"""Those that "auto" tries, in the order in which they are preferred at equal error; radtan is a smaller pinhole, for
Kalibr."""
NOWHERE = np.zeros(3)
MARGIN = 0.5  # of a pixel: the image's outer edge


def parameter_names(model: str) -> tuple[str, ...]:
    """Names of the vector's entries."""
    return ("fx", "fy", "cx", "cy", *COEFFICIENTS[model])


def project(model: str, lens: Floats, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Points (N 3) to pixels (N 2), their derivatives by the point (N 2 3) and by the lens (N 2 P)."""
    fx, fy, cx, cy = lens[:4]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    shaped = np.ascontiguousarray(points).reshape(-1, 1, 3)
    if model == "fisheye":
        pixels, slopes = cast(Any, cv2.fisheye.projectPoints)(shaped, NOWHERE, NOWHERE, matrix, lens[4:])
        by_point, by_lens = slopes[:, 11:14], slopes[:, :8]
    else:
        pixels, slopes = cast(Any, cv2.projectPoints)(shaped, NOWHERE, NOWHERE, matrix, lens[4:])
        by_point, by_lens = slopes[:, 3:6], slopes[:, 6 : 6 + len(lens)]
    count = len(points)
    return pixels.reshape(count, 2), by_point.reshape(count, 2, 3), by_lens.reshape(count, 2, -1)


def as_lens(model: str, lens: Floats, size: Size) -> Lens:
    """The vector as the lens of a rig file."""
    fx, fy, cx, cy, *coefficients = (float(value) for value in lens)
    kind = "fisheye" if model == "fisheye" else "opencv"
    return Lens(size=size, model=kind, fx=fx, fy=fy, cx=cx, cy=cy, distortion=tuple(coefficients))


def covers_image(lens: Lens, pixels: Floats) -> bool:
    """Whether the model maps every one of `pixels` (N 2) back to a ray; a lens that folds over them is no lens."""
    return bool(lens.rays(pixels)[1].all())


def corners_of(size: Size) -> Floats:
    """The image's outer corners (4 2)."""
    right, bottom = size[0] - MARGIN, size[1] - MARGIN
    return np.array([[-MARGIN, -MARGIN], [right, -MARGIN], [-MARGIN, bottom], [right, bottom]])
