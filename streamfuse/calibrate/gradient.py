"""The one picture in which both spectra look alike: how steep they are, whatever their contrast and polarity."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def log_gradient(image: Image) -> Image:
    """log(1 + gradient / its median) of an image (H W, any unit), H W float32.

    It does not mind contrast, and which side of an edge is the bright one. (`correct.log_gradient`, beside the
    pipeline, scales by the mean.)
    """
    soft = cv2.GaussianBlur(image, (0, 0), 1.0)
    size = cv2.magnitude(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
    return cast(Image, np.log1p(size / max(float(np.median(size)), 1e-6)))
