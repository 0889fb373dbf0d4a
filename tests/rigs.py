"""Rigs whose numbers tests know."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from streamfuse.rig import Lens, Pose, Rig

NO_TURN = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def rotation(*vector: float) -> Any:
    matrix, _ = cv2.Rodrigues(np.array(vector, dtype=np.float64))
    return tuple(tuple(row) for row in matrix.tolist())


def full_rig(**changes: Any) -> Rig:
    thermal = Lens(size=(160, 128), fx=176, fy=177, cx=80.6, cy=63.2, distortion=(-0.21, 0.06, 0.0006, -0.0004, 0))
    rgb = Lens(size=(320, 180), fx=271, fy=271.6, cx=161.3, cy=88.9, distortion=(-0.08, 0.03, -0.0003, 0.0005, 0))
    pose = Pose(rotation=rotation(0.01, -0.02, 0.015), translation=(0.06, -0.012, 0.004))
    parts = {"thermal": thermal, "rgb": rgb, "rgb_from_thermal": pose, "working_depth_m": 12.0, "residual_px": 0.5}
    return Rig(name="test", **{**parts, **changes})


def planar_rig(matrix: Any, thermal_size: Any = (160, 128), rgb_size: Any = (320, 256)) -> Rig:
    return Rig(name="flat", thermal_size=thermal_size, rgb_size=rgb_size, rgb_from_thermal_homography=matrix)
