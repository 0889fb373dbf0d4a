"""What the parity tests measure with: similarity of images, and real pairs where the data is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamfuse.frames import AlignedPair, Clock, Frame, FramePair, Modality
from streamfuse.stretch import StretchRegistrar

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "benchmark"
SSIM = 0.995
"""What an engine of lower precision must reach against the exact one."""

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="shared data not here: benchmark")


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two images of grey levels, 11 x 11 Gaussian of 1.5 pixels, as published in 2004."""

    def local(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)

    a, b = a.astype(float), b.astype(float)
    mean_a, mean_b = local(a), local(b)
    spread_a, spread_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    joint = local(a * b) - mean_a * mean_b
    brightness = (2 * mean_a * mean_b + 6.5025) / (mean_a**2 + mean_b**2 + 6.5025)
    return float((brightness * (2 * joint + 58.5225) / (spread_a + spread_b + 58.5225)).mean())


def benchmark_pairs(name: str, size: tuple[int, int], most: int) -> Iterator[AlignedPair]:
    """Registered pairs of one public test set, made this size: as different scenes as it has."""
    files = sorted((DATA / name / "ir").iterdir())
    for index, file in enumerate(files[:: max(1, len(files) // most)][:most]):
        thermal = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        rgb = cv2.imread(str(next((DATA / name / "vis").glob(f"{file.stem}.*"))))
        assert thermal is not None
        assert rgb is not None
        frames = [
            Frame(
                modality=modality,
                pixels=cv2.resize(pixels, size, interpolation=cv2.INTER_AREA),
                capture_ns=index * 40_000_000,
                capture_error_ns=0,
                recording_ns=None,
                sequence=index,
                clock=Clock.RECORDING,
            )
            for modality, pixels in ((Modality.THERMAL, thermal), (Modality.RGB, rgb[..., ::-1]))
        ]
        yield StretchRegistrar(size, size).register(FramePair(thermal=frames[0], rgb=frames[1], skew_ns=0))
