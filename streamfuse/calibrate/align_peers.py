"""What OpenCV offers for the same task, each method as its documentation suggests it: the rows beside ours.

Every method gets both images in grey, stretched to 8 bits, at the visible image's size; none says how sure it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.align_fields import Floats, picture
from streamfuse.calibrate.align_search import stretch

Grey = NDArray[np.uint8]


def ecc(thermal: Grey, visible: Grey) -> Floats | None:
    """Affine, from the identity (G. D. Evangelidis, E. Z. Psarakis, 2008)."""
    start = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)
    try:
        _, warp = cv2.findTransformECC(visible, thermal, start, cv2.MOTION_AFFINE, stop, cast(Any, None), 5)
    except cv2.error:  # it did not converge
        return None
    return np.linalg.inv(np.vstack([np.asarray(warp, dtype=np.float64), [0, 0, 1]]))


def phase_correlation(thermal: Grey, visible: Grey) -> Floats | None:
    """Shift only."""
    window = cv2.createHanningWindow((visible.shape[1], visible.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(thermal.astype(np.float32), visible.astype(np.float32), window)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def sift(thermal: Grey, visible: Grey) -> Floats | None:
    return _matched(cv2.SIFT.create(4000), cv2.NORM_L2, thermal, visible)


def orb(thermal: Grey, visible: Grey) -> Floats | None:
    return _matched(cv2.ORB.create(4000), cv2.NORM_HAMMING, thermal, visible)


PEERS: dict[str, Callable[[Grey, Grey], Floats | None]] = {
    "ECC affine": ecc,
    "phase correlation": phase_correlation,
    "SIFT + RANSAC": sift,
    "ORB + RANSAC": orb,
}


def peer(name: str, thermal: NDArray[Any], visible: NDArray[Any]) -> Floats | None:
    """rgb_from_thermal as OpenCV's method sees it; None where it finds none."""
    size = visible.shape[1], visible.shape[0]
    both = [(picture(image).grey * 255).astype(np.uint8) for image in (thermal, visible)]
    thermal_size = thermal.shape[1], thermal.shape[0]
    found = PEERS[name](np.asarray(cv2.resize(both[0], size), dtype=np.uint8), both[1])
    return None if found is None else found @ stretch(thermal_size, size)


def _matched(features: Any, norm: int, thermal: Grey, visible: Grey) -> Floats | None:
    """Ratio test, then a homography by RANSAC at 3 px."""
    (points, words), (onto, other) = (features.detectAndCompute(image, None) for image in (thermal, visible))
    if words is None or other is None or len(other) < 2:
        return None
    matches = [pair for pair in cv2.BFMatcher(norm).knnMatch(words, other, k=2) if len(pair) == 2]
    good = [first for first, second in matches if first.distance < 0.8 * second.distance]
    if len(good) < 4:
        return None
    source = np.array([points[match.queryIdx].pt for match in good])
    target = np.array([onto[match.trainIdx].pt for match in good])
    matrix, _ = cv2.findHomography(source, target, cv2.RANSAC, 3.0)
    return cast("Floats | None", matrix)
