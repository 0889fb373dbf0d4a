"""One drawn scene as two cameras of different spectra see it: the same edges, unrelated brightness."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = (240, 180)


def scene(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Thermal (H W uint8) and visible (H W 3 uint8), registered: areas whose brightness is drawn for each spectrum."""
    draw = np.random.default_rng(seed)
    thermal, visible = (np.full((size[1], size[0], 3), 110, np.float32) for _ in range(2))
    for _ in range(60):
        middle, reach = draw.uniform((0, 0), size), draw.uniform(8, 45, 2)
        corners = (middle + draw.uniform(-1, 1, (4, 2)) * reach).astype(np.int32)
        for image in (thermal, visible):
            cv2.fillPoly(image, [cv2.convexHull(corners)], draw.uniform(20, 235, 3).tolist())
    noisy = [cv2.GaussianBlur(image, (0, 0), 0.7) + draw.normal(0, 3, image.shape) for image in (thermal, visible)]
    return noisy[0][..., 0].clip(0, 255).astype(np.uint8), noisy[1].clip(0, 255).astype(np.uint8)


def moved(thermal: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The thermal image of a camera for which `matrix` is rgb_from_thermal."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(thermal, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)


def similar(scale: float, degrees: float, shift: tuple[float, float], size: tuple[int, int], onto=SIZE) -> np.ndarray:
    """rgb_from_thermal (3x3): middle of a thermal image of `size` onto the middle of the RGB image, plus `shift`."""
    turn = np.radians(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = (np.array(size) - 1) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = (np.array(onto) - 1) / 2 + shift - linear @ middle
    return matrix
