"""Whether networks draw a line along the image's border: python tests/models/border_figures.py BENCHMARK [MODEL...]

BENCHMARK holds MSRS, RoadScene and TNO, each with ir and vis. At each of a picture's four sides: how much the second
row differs from the mean of the first and the fourth (median along the side), beyond what either source has there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamfuse.models import build
from streamfuse.training.pairs import Grey, load_test
from streamfuse.training.settings import FolderConfig
from streamfuse.training.validate import fused_image

SETS = ("MSRS", "RoadScene", "TNO")
SIDES = range(4)


def main(benchmark: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    pairs = [pair for name in SETS for pair in load_test(benchmark, FolderConfig(folder=name))]
    table = Table("sides with a line of", "more than 2 levels", "more than 4", "of", "largest")
    for name in names:
        network = build(name)
        lines = np.array([line for pair in track(pairs, name) for line in own_lines(network, *pair.images())])
        table.add_row(name, str((lines > 2).sum()), str((lines > 4).sum()), str(len(lines)), f"{lines.max():.1f}")
    Console().print(table)


def own_lines(network: torch.nn.Module, thermal: Grey, visible: Grey) -> list[float]:
    """Of each of the four sides: the fused image's line beyond the stronger one of the sources, levels."""
    images = fused_image(network, thermal, visible, "cpu"), thermal, visible
    lines = [[line(np.rot90(image, side)) for image in images] for side in SIDES]
    return [fused - max(sources) for fused, *sources in lines]


def line(image: Grey) -> float:
    """Levels by which the second row stands out of H W: not the first, since Qabf pays for the second."""
    first, second, _, fourth = image[:4].astype(np.float32)
    return abs(float(np.median(second - (first + fourth) / 2)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["streamfuse-s", "streamfuse-q", "laplacian"])
