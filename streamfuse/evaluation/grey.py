"""Images as they are judged: one channel, whole grey levels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def as_grey(image: NDArray[Any]) -> Grey:
    """H W or H W 3 (red first), uint8 or float on 0..255 -> H W uint8: as a file would hold it, in BT.601 grey.

    Values outside are clipped and fractions rounded. Raises ValueError for other shapes and types.
    """
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"images are judged as uint8 or as float on 0..255, found {image.dtype}")
    levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if levels.ndim == 3 and levels.shape[2] == 3:
        return cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY).astype(np.uint8)
    if levels.ndim != 2:
        raise ValueError(f"images are judged as H W or H W 3, found shape {image.shape}")
    return levels
