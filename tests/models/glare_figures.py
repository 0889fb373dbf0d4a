"""What `streamfuse.models.glare` is worth: python tests/models/glare_figures.py BENCHMARK [MODEL...]

BENCHMARK holds MSRS, RoadScene and TNO, each with ir and vis. One to three lamps are painted over what is warm in every
visible image (as the augmentation `glare` does, the same in every run), and the contrast of the hot regions that is
left in the fused one is told relative to the thermal one's (`hot` of docs/evaluation.md), with and without darkening.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamfuse.evaluation.looks import hot_contrast
from streamfuse.models import build, glare
from streamfuse.training.augment import glaring
from streamfuse.training.pairs import Grey, load_test
from streamfuse.training.settings import FolderConfig
from streamfuse.training.validate import fused_image

SETS = ("MSRS", "RoadScene", "TNO")
DARKENED = glare.DARKENED


def main(benchmark: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    models = {name: build(name) for name in names}
    table = Table("hot, lamps painted", "darkened by", *SETS)
    columns = [means(benchmark, name, models) for name in SETS]
    for case in columns[0]:
        table.add_row(case[0], f"{case[1]:g}", *(f"{column[case]:.2f}" for column in columns))
    Console().print(table)


def means(benchmark: Path, name: str, models: dict[str, torch.nn.Module]) -> dict[tuple[str, float], float]:
    """Mean `hot` of one set, by model and share of the visible image that is taken away at most."""
    told: dict[tuple[str, float], list[float]] = {}
    for index, pair in enumerate(track(load_test(benchmark, FolderConfig(folder=name)), name)):
        thermal, visible = pair.images()
        painted = lit(thermal, visible, np.random.default_rng((7, index)))
        for model, network in models.items():
            for most in (0.0, DARKENED):
                glare.DARKENED = most
                fused = fused_image(network, thermal, painted, "cpu")
                told.setdefault((model, most), []).append(hot_contrast(fused, thermal)[0])
    return {case: float(np.nanmean(values)) for case, values in told.items()}


def lit(thermal: Grey, visible: Grey, chance: np.random.Generator) -> Grey:
    shares = [(image / np.float32(255)).astype(np.float32) for image in (visible, thermal)]
    return np.round(glaring(shares[0], shares[1], chance) * 255).astype(np.uint8)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["streamfuse-s", "streamfuse-q", "laplacian"])
