"""What looking for a target costs, right or wrong: CPU seconds per image, and what came of it.

    python tests/calibrate/detect_figures.py TARGET FOLDER... [--every 8]

A table row per folder: images, found whole, found in part, boards of another size by name, parts without a place, CPU
seconds (median, worst) on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from streamfuse.calibrate.detect import Look, look_for
from streamfuse.calibrate.detect.pairs import read_image
from streamfuse.calibrate.target import Target, parse_target


def timed(file: Path, target: Target) -> tuple[Look, float]:
    image = read_image(file)
    start = time.process_time()
    look = look_for(image, target)
    return look, time.process_time() - start


def row(folder: Path, target: Target, every: int) -> str:
    files = [one for one in sorted(folder.iterdir()) if one.suffix in (".png", ".jpg")][::every]
    looks, seconds = zip(*(timed(file, target) for file in files), strict=True)
    whole = sum(look.sighting is not None and not look.part for look in looks)
    part = sum(look.sighting is not None and bool(look.part) for look in looks)
    named = Counter("{}x{}".format(*look.other_size) for look in looks if look.other_size)
    unplaced = Counter("{}x{}".format(*look.part) for look in looks if look.part and look.sighting is None)
    cost = f"{np.median(seconds):.2f} | {max(seconds):.2f}"
    name = f"{folder.parent.name}/{folder.name}"
    return f"| {name} | {len(files)} | {whole} | {part} | {dict(named)} | {dict(unplaced)} | {cost} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take one image in this many")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    for folder in asked.folders:
        print(row(folder, parse_target(asked.target), asked.every), flush=True)


if __name__ == "__main__":
    main()
