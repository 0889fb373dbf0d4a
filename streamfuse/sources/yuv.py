"""YUV 4:2:0 to RGB with the camera's own matrix and range; pure, into memory that is given.

Sources: ITU-R BT.601, BT.709, BT.2020 (matrix coefficients Kr, Kb; limited range: luma 16..235, chroma 16..240).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
KR_KB = {
    "BT601": (0.299, 0.114),
    "BT709": (0.2126, 0.0722),
    "BT2020": (0.2627, 0.0593),
    "SMPTE240M": (0.212, 0.087),
    "FCC": (0.30, 0.11),
}


@dataclass(frozen=True, slots=True)
class Coding:
    """Which YUV it is; an unknown matrix counts as BT.601."""

    matrix: str = "BT601"
    full_range: bool = False

    @property
    def is_opencv(self) -> bool:
        """Is it the one kind that OpenCV converts in one pass?"""
        return not self.full_range and KR_KB.get(self.matrix, KR_KB["BT601"]) == KR_KB["BT601"]


BT601 = Coding()


def rgb_from_i420(y: Bytes, u: Bytes, v: Bytes, coding: Coding, rgb: Bytes) -> Bytes:
    """Fill `rgb` (H W 3 uint8, red first) from planes y (H W), u and v (half of it each way)."""
    size = y.shape[1], y.shape[0]
    wide = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (u, v)]
    return cast(Bytes, cv2.transform(cv2.merge((y, *wide), rgb), rgb_from_yuv(coding), rgb))


@functools.cache
def rgb_from_yuv(coding: Coding) -> NDArray[np.float32]:
    """3x4 affine: RGB = rgb_from_yuv @ (Y, U, V, 1), all as stored in bytes."""
    kr, kb = KR_KB.get(coding.matrix, KR_KB["BT601"])
    kg = 1 - kr - kb
    black, luma, chroma = (0, 1.0, 1.0) if coding.full_range else (16, 255 / 219, 255 / 224)
    red_v, blue_u = 2 * (1 - kr) * chroma, 2 * (1 - kb) * chroma
    green_u, green_v = -blue_u * kb / kg, -red_v * kr / kg
    linear = np.array([[luma, 0, red_v], [luma, green_u, green_v], [luma, blue_u, 0]])
    offset = -linear @ np.array([black, 128, 128])
    return np.hstack((linear, offset[:, None])).astype(np.float32)
