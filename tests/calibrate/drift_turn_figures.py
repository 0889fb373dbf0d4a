"""Which estimator of roll and zoom is fit for a run: `python tests/calibrate/drift_turn_figures.py THERMAL VISIBLE`.

Registered pairs of one sequence, thermal rolled by 0.3 degrees or enlarged by 0.5 %: what each estimator sees of that,
how much its answer scatters from pair to pair, and its CPU time besides planes and shift. All start from the shift of
the whole. In output pixels at a corner of the image.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from streamfuse.calibrate.align_files import read_pairs
from streamfuse.calibrate.drift_trial import ROLL, ZOOM, displaced
from streamfuse.calibrate.report.overlays import Pair
from streamfuse.correct import Estimator, working_grid
from streamfuse.correct_match import Planes, Region, find
from streamfuse.correct_turn import find_turn
from streamfuse.depths import Geometry
from streamfuse.frames import Size
from streamfuse.register import Registrar
from streamfuse.rig import Rig

Read = Callable[[Planes, Region, tuple[float, float]], "complex | None"]


@dataclass(frozen=True, slots=True)
class Ecc:
    """cv2.findTransformECC on the planes, at so many columns and iterations, Gauss filter of 5."""

    columns: int
    motion: int
    rounds: int

    def __call__(self, planes: Planes, region: Region, shift: tuple[float, float]) -> complex | None:
        scale = min(1.0, self.columns / planes.visible.shape[1])
        visible, thermal = (
            cv2.resize(plane[region], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for plane in (planes.visible, planes.thermal)
        )
        start = np.array([[1, 0, scale * shift[0]], [0, 1, scale * shift[1]]], np.float32)
        ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, self.rounds, 1e-4)
        empty = np.full(visible.shape, 255, np.uint8)
        try:
            _, found = cv2.findTransformECC(visible, thermal, start, self.motion, ends, empty, 5)
        except cv2.error:
            return None
        (a, b, _), (c, d, _) = np.asarray(found, dtype=np.float64).tolist()
        return complex((a + d) / 2 - 1, (c - b) / 2)


READERS: dict[str, Read] = {
    "ECC Euclidean, 160 columns, 10 rounds": Ecc(160, cv2.MOTION_EUCLIDEAN, 10),
    "ECC affine, 160 columns, 30 rounds": Ecc(160, cv2.MOTION_AFFINE, 30),
    "ECC affine, 320 columns, 10 rounds": Ecc(320, cv2.MOTION_AFFINE, 10),
    "ECC affine, 320 columns, 50 rounds": Ecc(320, cv2.MOTION_AFFINE, 50),
    "tiles": find_turn,
}
TURNS = ((0.0, 0.0), (ROLL, 0.0), (0.0, ZOOM))


def measured(pairs: Sequence[Pair]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Per estimator: pixels at a corner, zoom + i roll, (3: still, rolled, enlarged; pairs), and ms for one."""
    sizes = [(image.shape[1], image.shape[0]) for image in (pairs[0].thermal, pairs[0].visible)]
    registrar = Registrar(Rig.identity(*sizes))
    estimator = Estimator(registrar.measuring_map(working_grid(registrar.warp.grid)), sizes[1][0])
    centre = (sizes[0][0] - 1) / 2, (sizes[0][1] - 1) / 2
    told = {name: np.full((len(TURNS), len(pairs)), np.nan, dtype=np.complex128) for name in READERS}
    took = dict.fromkeys(READERS, 0.0)
    for (k, turned), (column, pair) in product(enumerate(TURNS), enumerate(pairs)):
        thermal = displaced(pair.thermal, Geometry(turned=turned), 1.0, centre)
        planes = estimator.planes(thermal, pair.visible)
        shift = find(planes.thermal, planes.visible, estimator.region).shift
        for name, read in READERS.items():
            started = time.process_time()
            factor = read(planes, estimator.region, shift)
            took[name] += 1e3 * (time.process_time() - started) / (len(TURNS) * len(pairs))
            if factor is not None:
                told[name][k, column] = factor * corner_px(sizes[1])
    return told, took


def corner_px(size: Size) -> float:
    return float(np.hypot(*size)) / 2 * 640 / size[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("thermal", type=Path)
    parser.add_argument("visible", type=Path)
    parser.add_argument("--most", type=int, default=20)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = read_pairs(asked.thermal, asked.visible, asked.most).pairs
    radius = corner_px((pairs[0].visible.shape[1], pairs[0].visible.shape[0]))
    print(f"injected: roll {ROLL * radius:.2f} px, zoom {ZOOM * radius:.2f} px, output 640 wide, {len(pairs)} pairs")
    told, took = measured(pairs)
    for name, found in told.items():
        still, rolled, zoomed = found
        roll, zoom = np.nanmedian((rolled - still).imag), np.nanmedian((zoomed - still).real)
        print(
            f"{name:38s} sees roll {roll:5.2f} zoom {zoom:5.2f}; scatter of roll {np.nanstd(rolled.imag):5.2f}"
            f" of zoom {np.nanstd(zoomed.real):5.2f}; none {np.isnan(found).mean():.2f}; {took[name]:5.1f} ms"
        )


if __name__ == "__main__":
    main()
