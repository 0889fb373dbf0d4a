"""How often the truth of a synthetic rig lies in the 95 % region that its solution states.

`python tests/calibrate/solve_figures.py --seeds 30` prints a line for each seed and the counts. Every seed draws two
pinhole lenses with distortion, a rig, and 20 views (half of them running over the image's edge) with noise of 0.25 px
(thermal) and 0.15 px (RGB) on each coordinate; nothing is drawn again or left out. A region is that of several
parameters together (Mahalanobis distance): focal lengths and principal point of each lens, the six numbers of the rig.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
from synthetic_rigs import CHECKERS, random_scene

from streamfuse.calibrate.solve import Estimate, Solution, solve
from streamfuse.calibrate.solve_uncertain import rotation_vector
from streamfuse.rig import Rig

BLOCKS = ("thermal lens", "RGB lens", "rig")
CHI_SQUARE_95 = {4: 9.488, 6: 12.592}
FOCALS = ("fx", "fy", "cx", "cy")
RIG = tuple(f"rgb_from_thermal.{name}" for name in ("rx", "ry", "rz", "tx", "ty", "tz"))


def distances(solution: Solution, truth: Rig) -> np.ndarray:
    """How far the truth lies from the solution: squared Mahalanobis distance over its 95 % limit; inside below 1."""
    pose = truth.rgb_from_thermal
    rig = np.concatenate([rotation_vector(pose.rotation_matrix), pose.translation_vector])
    lenses = [
        _distance(solution.estimate, tuple(f"{camera}.{name}" for name in FOCALS), _focals(getattr(truth, camera)))
        for camera in ("thermal", "rgb")
    ]
    return np.array([*lenses, _distance(solution.estimate, RIG, rig)])


def solved(seed: int) -> np.ndarray:
    """`distances` of the rig of one seed."""
    scene = random_scene(seed, partial=True)
    return distances(solve(scene.views, CHECKERS, ("pinhole", "pinhole")), scene.rig)


def _focals(lens) -> np.ndarray:
    return np.array([lens.fx, lens.fy, lens.cx, lens.cy])


def _distance(estimate: Estimate, names: tuple[str, ...], truth: np.ndarray) -> float:
    values, covariance = estimate.block(names)
    off = values - truth
    return float(off @ np.linalg.solve(covariance, off)) / CHI_SQUARE_95[len(names)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    count = parser.parse_args().seeds
    cv2.setNumThreads(1)
    hits = np.zeros(len(BLOCKS), int)
    for seed in range(count):
        away = solved(seed)
        hits += away < 1
        told = ", ".join(f"{block} {one:.2f}" for block, one in zip(BLOCKS, away, strict=True))
        print(f"seed {seed}: {told}", flush=True)
    inside = ", ".join(f"{block} {one}" for block, one in zip(BLOCKS, hits, strict=True))
    print(f"inside their 95 % regions, of {count}: {inside}; {time.process_time():.0f} s of CPU")


if __name__ == "__main__":
    main()
