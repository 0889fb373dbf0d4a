"""Where one camera sits beside the other, in words that a person holding the rig can check."""

from __future__ import annotations

from math import atan2, degrees, hypot

from streamfuse.lens import Pose

LEAST_M = 0.0005
LEAST_DEG = 0.05


def seat_in_words(pose: Pose) -> str:
    """Of the thermal camera seen from the RGB camera, for somebody who stands behind both and looks as they do.

    `pose` is rgb_from_thermal. Its translation is the thermal camera's place in RGB coordinates: x right, y down, z
    forward; so an import with the transform the wrong way round puts the camera on the wrong side.
    """
    x, y, z = pose.translation
    sides = (("right", "left", x), ("below", "above", y), ("in front", "behind", z))
    places = [
        f"{abs(move) * 100:.1f} cm {f'to the {word}' if word in ('right', 'left') else word}"
        for positive, negative, move in sides
        if abs(move) >= LEAST_M and (word := positive if move > 0 else negative)
    ]
    seat = ", ".join(places) or "at the same place (to half a millimetre)"
    return f"seen from the RGB camera (looking forward), the thermal camera sits {seat}; {_looks(pose)}"


def _looks(pose: Pose) -> str:
    rotation = pose.rotation_matrix
    x, y, z = (float(value) for value in rotation[:, 2])  # the thermal camera's axis in RGB coordinates
    angles = (
        ("to the right", "to the left", degrees(atan2(x, z))),
        ("down", "up", degrees(atan2(y, hypot(x, z)))),
        ("rolled clockwise", "rolled anticlockwise", degrees(atan2(float(rotation[1, 0]), float(rotation[0, 0])))),
    )
    turns = [
        f"{abs(angle):.1f} degrees {positive if angle > 0 else negative}"
        for positive, negative, angle in angles
        if abs(angle) >= LEAST_DEG
    ]
    return f"it looks {', '.join(turns)}" if turns else "both look the same way"
