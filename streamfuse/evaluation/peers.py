"""What others reach on the public pairs of MSRS (11), RoadScene (36) and TNO (8): peers.csv.

Measured on a CPU from the weights their authors published, on the public part of each test set, with the conventions
that are this package's defaults (MI in nats, SSIM with range 2 and summed, VIF summed, MS-SSIM averaged): grey by
BT.601, output clipped and rounded, no stretch per image. Only the two rows with a star are from scripts that stretch
every image to the full range, which lifts EN, SD and SF. Classical rows are measured alike. The four trivial rows
(average, pixel maximum, either source alone) are what the tests of this package repeat to the printed digit.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from streamfuse.evaluation.conventions import converted
from streamfuse.evaluation.information import Unit
from streamfuse.evaluation.structure import Over

TABLE = Path(__file__).with_name("peers.csv")
SETS = ("MSRS", "RoadScene", "TNO")


@dataclass(frozen=True, slots=True)
class Peers:
    """The rows of one set: method -> column -> mean over `pairs` images."""

    set_name: str
    pairs: int
    rows: dict[str, dict[str, float]]


def peers(set_name: str, mi_unit: Unit = "nats", over: Over | None = None) -> Peers:
    """The peers on one of `SETS`, in the conventions of `scores`. Raises KeyError for another set."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["set"] == set_name]
    if not lines:
        raise KeyError(set_name)
    rows = {
        line["method"]: converted({name: float(line[name]) for name in list(line)[3:]}, mi_unit, over) for line in lines
    }
    return Peers(set_name, int(lines[0]["pairs"]), rows)
