"""Ways to make a faint target visible, in the order in which they are tried: tone, then size, both polarities later.

Each one says how it was made and how its pixels lie in the image as recorded; knows nothing of targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.detect.scalar import Scalars

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
WINDOWS = (1 / 20, 1 / 40, 1 / 80, 1 / 10)
FURTHER_WINDOWS = (1 / 40,)
"""Standard deviations of the windows of local tone mapping, as shares of the image's shorter side: at the first size
that is tried, and at the others."""
SMALL, MEDIUM, LARGE = 400, 700, 1400
"""Shorter sides below which images are enlarged first, from which they are not enlarged at all (that helps with squares
below 5 pixels only, and costs most of the time where no target is), and above which half the size is searched first."""
HUGE, OF_HUGE = 2000, (1000, 1500)
"""Shorter side above which only these sizes are searched: whole, 12 megapixels took twice the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """`image`: H W uint8; `scale`: its pixels per pixel of the image as recorded; `how`: in words."""

    image: Bytes
    scale: float
    how: str

    def recorded(self, pixels: Floats) -> Floats:
        """Pixels of this image (N 2) as pixels of the image as recorded; centres lie at integers in both."""
        return (pixels + 0.5) / self.scale - 0.5


def preparations(values: Scalars) -> Iterator[Prepared]:
    """Every preparation of a scalar image, lazily: most images need the first or second only."""
    first, *_ = scales = _scales(min(values.shape))
    for scale in scales:
        sized = resized(values, scale)
        at = "" if scale == 1 else f", {scale:.3g} times the size"
        yield Prepared(stretched(sized), scale, "percentile stretch" + at)
        for window in WINDOWS if scale == first else FURTHER_WINDOWS:
            sigma = window * min(sized.shape)
            yield Prepared(toned(sized, sigma), scale, f"local tone over {sigma:.0f} px" + at)
        if scale == first:
            yield Prepared(_equalised(stretched(sized)), scale, "adaptive histogram" + at)


def _scales(shorter: int) -> tuple[float, ...]:
    if shorter < SMALL / 2:
        return 3.0, 2.0, 4.0
    if shorter < SMALL:
        return 2.0, 1.0, 3.0
    if shorter < MEDIUM:
        return 1.0, 2.0
    if shorter > HUGE:
        return tuple(side / shorter for side in OF_HUGE)
    return (0.5, 1.0) if shorter > LARGE else (1.0,)


def resized(values: Scalars, scale: float) -> Scalars:
    if scale == 1:
        return values
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cast(Scalars, cv2.resize(values, None, fx=scale, fy=scale, interpolation=how))


def stretched(values: Scalars) -> Bytes:
    """The 1st and 99th percentile become black and white."""
    low, high = np.percentile(values[::2, ::2], (1, 99))
    return _to_bytes((values - low) / max(float(high - low), 1e-6))


def toned(values: Scalars, sigma: float) -> Bytes:
    """Local mean and contrast divided out, both over a Gaussian window of `sigma` pixels."""
    level, contrast = _local(values, sigma)
    floor = 0.05 * float(np.median(contrast)) + 1e-6
    return _to_bytes((values - level) / (contrast + floor) / 4 + 0.5)


def levelled(values: Scalars, sigma: float) -> Scalars:
    """Local mean taken out, so that a hot spot does not pull at corners; contrast stays."""
    return values - _blurred(values, sigma)


def _local(values: Scalars, sigma: float) -> tuple[Scalars, Scalars]:
    level = _blurred(values, sigma)
    return level, np.sqrt(_blurred((values - level) ** 2, sigma))


def _blurred(values: Scalars, sigma: float) -> Scalars:
    """Gaussian blur; wide ones on a smaller image, which looks the same and costs a fraction."""
    step = 4 if sigma > 12 else 1
    if step == 1:
        return cast(Scalars, cv2.GaussianBlur(values, (0, 0), sigma))
    height, width = values.shape
    small = cv2.resize(values, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return cast(Scalars, cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _equalised(image: Bytes) -> Bytes:
    return cast(Bytes, cv2.createCLAHE(clipLimit=4.0, tileGridSize=(8, 8)).apply(image))


def _to_bytes(unit: NDArray[np.floating]) -> Bytes:
    return (np.clip(unit, 0, 1) * 255).astype(np.uint8)
