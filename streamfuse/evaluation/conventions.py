"""Figures in the field's other convention: MI in bits, figures of both sources summed or averaged throughout."""

from __future__ import annotations

import math
from collections.abc import Mapping

from streamfuse.evaluation.information import Unit
from streamfuse.evaluation.structure import Over

OVER: dict[str, Over] = {"VIF": "sum", "SSIM": "sum", "SSIM255": "mean", "MSSSIM": "mean"}
"""How published tables, and so all defaults here, make one figure of both sources' figures."""


def converted(row: Mapping[str, float], mi_unit: Unit = "nats", over: Over | None = None) -> dict[str, float]:
    """A row in the conventions of published tables, MI in nats, as asked for; `over` None: as tables have it."""
    return {name: value * _factor(name, mi_unit, over) for name, value in row.items()}


def _factor(name: str, mi_unit: Unit, over: Over | None) -> float:
    if name == "MI":
        return 1 / math.log(2) if mi_unit == "bits" else 1.0
    if over is None or OVER.get(name, over) == over:
        return 1.0
    return 2.0 if over == "sum" else 0.5
