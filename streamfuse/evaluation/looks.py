"""Looks: what the field's scores do not see: hot targets, flat regions, skies, rims. NumPy and OpenCV, one image.

All grey levels are 0..255. The targets beside them are what a fused image should reach for an observer's sake.

hot        local contrast of the fused image on thermal-hot regions, as a share of the thermal image's (>= 0.8)
inverted   share of those regions that the fused image shows darker than their surroundings (0)
flat       gradient energy where both sources are flat, relative to the livelier source there (<= 1.1)
sky        how much of the light of a bright flat visible sky is left before a colder thermal one (>= 0.5)
overshoot  99th percentile of how far the fused image leaves the local range of both sources, levels (<= 3)
rim        the same without what the surroundings share: a veil or a gain is no rim, a halo is one
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.evaluation.grey import Grey

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]

HOT_SHARE = 0.01
RING = 15
LEAST_CONTRAST = 5.0
"""Grey levels by which a thermal region must stand out from its ring to count."""
FLAT_WINDOW = 9
FLAT_SLOPE = 2.0
"""Root mean square gradient, levels per pixel, up to which a window counts as flat."""
SKY_LEVEL, SKY_LIGHT, SKY_SHARE = 180, 80, 0.02
"""A sky: as bright as this in the visible image, brighter than thermal by so many levels, over so much of the image."""
ROUNDING = 1 / 12
"""Gradient energy that rounding to whole levels alone makes: added to both sides, so that black is no zero."""
RANGE_WINDOW = 7
VEIL_WINDOW = 31


def looks(fused: Grey, thermal: Grey, visible: Grey) -> dict[str, float]:
    """The six figures of one triple of H W uint8; nan where an image offers no such region."""
    hot, inverted = hot_contrast(fused, thermal)
    overshoot, rim = overshoots(fused, thermal, visible)
    flat, sky = flat_energy(fused, thermal, visible), sky_light(fused, thermal, visible)
    return {"hot": hot, "inverted": inverted, "flat": flat, "sky": sky, "overshoot": overshoot, "rim": rim}


def hot_contrast(fused: Grey, thermal: Grey) -> tuple[float, float]:
    """Contrast of the hot regions relative to thermal's, and the share of regions that turn dark.

    A region is a connected part of the hottest 1 % after a 3 x 3 opening; its contrast is its mean minus the mean of
    the 15 px around it that are not hot themselves. Regions weigh by their area; those under 5 levels are left out.
    """
    contrasts = [
        (area, there, here)
        for area, there, here in _region_contrasts(fused, thermal, hot_mask(thermal))
        if there >= LEAST_CONTRAST
    ]
    if not contrasts:
        return float("nan"), float("nan")
    areas, in_thermal, in_fused = (np.array(column) for column in zip(*contrasts, strict=True))
    return float(areas @ in_fused / (areas @ in_thermal)), float(np.mean(in_fused < 0))


def hot_mask(thermal: Grey) -> Mask:
    """1 on the hottest 1 % of pixels, before the opening.

    Of the level that this share cuts through all pixels count or none: none where they are more than as many again
    (a flat background around a small target), unless it is the hottest level.
    """
    level = np.quantile(thermal, 1 - HOT_SHARE, method="lower")
    whole, above = thermal >= level, thermal > level
    return (above if whole.mean() > 2 * HOT_SHARE and above.any() else whole).astype(np.uint8)


def flat_energy(fused: Grey, thermal: Grey, visible: Grey) -> float:
    """Mean squared gradient of the fused image over that of the livelier source, where both sources are flat.

    Flat: root mean square gradient of at most 2 levels per pixel in the 9 x 9 window, in both sources.
    """
    livelier = _livelier(thermal, visible)
    here = livelier <= FLAT_SLOPE**2
    if not here.any():
        return float("nan")
    return float((_energy(fused)[here].mean() + ROUNDING) / (livelier[here].mean() + ROUNDING))


def sky_light(fused: Grey, thermal: Grey, visible: Grey) -> float:
    """By how much the sky of the fused image is brighter than that of thermal, as a share of what visible's is.

    All H W uint8. Sky: both sources are flat as in `flat_energy`, visible has at least 180 levels and 80 more than
    thermal; nan where that is less than 2 % of the image.
    """
    light = visible.astype(np.float32) - thermal
    flat = _livelier(thermal, visible) <= FLAT_SLOPE**2
    here = flat & (visible >= SKY_LEVEL) & (light >= SKY_LIGHT)
    if here.mean() < SKY_SHARE:
        return float("nan")
    return float((fused[here].astype(np.float32) - thermal[here]).mean() / light[here].mean())


def overshoots(fused: Grey, thermal: Grey, visible: Grey) -> tuple[float, float]:
    """`overshoot` and `rim`, in grey levels.

    Excess: how far a pixel lies above the largest, or below the smallest, value of both sources in the 7 x 7 window
    around it. `overshoot` is the 99th percentile of its size. `rim` takes off the mean excess of the 31 x 31 window
    first, down to 0 and no further: a region that is brighter as a whole keeps none of it, a narrow halo nearly all.
    """
    window = np.ones((RANGE_WINDOW, RANGE_WINDOW), np.uint8)
    lowest = cv2.erode(np.minimum(thermal, visible), window).astype(np.float32)
    highest = cv2.dilate(np.maximum(thermal, visible), window).astype(np.float32)
    values = fused.astype(np.float32)
    excess = cast(Plane, values - np.clip(values, lowest, highest))
    veil = np.abs(_mean(excess, VEIL_WINDOW))
    size = np.abs(excess)
    return float(np.percentile(size, 99)), float(np.percentile(np.maximum(size - veil, 0), 99))


def _region_contrasts(fused: Grey, thermal: Grey, hot: Mask) -> list[tuple[float, float, float]]:
    """Area, contrast in thermal and contrast in fused of every hot region that has surroundings."""
    opened = cv2.morphologyEx(hot, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(opened)
    grow = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
    found: list[tuple[float, float, float]] = []
    for label in range(1, count):
        left, top, width, height, area = (int(number) for number in boxes[label])
        crop = slice(max(0, top - RING), top + height + RING), slice(max(0, left - RING), left + width + RING)
        inside = labels[crop] == label
        ring = (cv2.dilate(inside.astype(np.uint8), grow) > 0) & (hot[crop] == 0)
        if ring.any():
            there, here = (float(image[crop][inside].mean() - image[crop][ring].mean()) for image in (thermal, fused))
            found.append((area, there, here))
    return found


def _livelier(thermal: Grey, visible: Grey) -> Plane:
    """`_energy` of the source that has more of it, at every pixel."""
    return np.maximum(_energy(thermal), _energy(visible))


def _energy(image: Grey) -> Plane:
    """Mean squared gradient in the window around every pixel, central differences."""
    down, across = np.gradient(image.astype(np.float32))
    return _mean(cast(Plane, down**2 + across**2), FLAT_WINDOW)


def _mean(image: Plane, window: int) -> Plane:
    return cast(Plane, cv2.blur(image, (window, window), borderType=cv2.BORDER_REFLECT_101))
