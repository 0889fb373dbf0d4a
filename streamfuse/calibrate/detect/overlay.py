"""Pictures of what was found, to be looked at: points coloured by quality, the first one ringed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.detect.preparations import Bytes, toned
from streamfuse.calibrate.detect.scalar import scalar_of
from streamfuse.calibrate.views import Sighting

SHOWN_WIDTH = 900


def overlay(image: NDArray[Any], sighting: Sighting | None) -> Bytes:
    """H W 3 (blue first, as OpenCV writes): the image made visible; green = good, red = poor, a grey line in order."""
    values, _ = scalar_of(image)
    scale = max(1, round(SHOWN_WIDTH / values.shape[1]))
    grey = toned(values, min(values.shape) / 10) if image.dtype == np.uint16 else values.astype(np.uint8)
    large = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    shown = cast(Bytes, cv2.cvtColor(large, cv2.COLOR_GRAY2BGR))
    if sighting is None:
        cv2.putText(shown, "not found", (12, 34), cv2.FONT_HERSHEY_SIMPLEX, 1, (60, 60, 255), 2, cv2.LINE_AA)
        return shown
    places = np.round(((sighting.pixels + 0.5) * scale - 0.5) * 16).astype(np.int32)
    cv2.polylines(shown, [places.reshape(-1, 1, 2)], False, (200, 160, 60), 1, cv2.LINE_AA, shift=4)
    for number, (place, quality) in enumerate(zip(places, sighting.quality, strict=True)):
        colour = (40, int(220 * quality), int(255 * (1 - quality)))
        centre = int(place[0]), int(place[1])
        cv2.circle(shown, centre, 5 * 16, colour, 1, cv2.LINE_AA, shift=4)
        cv2.circle(shown, centre, 16, colour, -1, cv2.LINE_AA, shift=4)
        if number == 0:
            cv2.circle(shown, centre, 11 * 16, (0, 220, 255), 2, cv2.LINE_AA, shift=4)
    return shown


def write_overlay(path: Path, image: NDArray[Any], sighting: Sighting | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), overlay(image, sighting))
