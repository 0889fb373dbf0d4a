"""All figures of one fused image, or of many: the referee. Conventions: docs/evaluation.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamfuse.evaluation.contrast import average_gradient, spatial_frequency, standard_deviation
from streamfuse.evaluation.conventions import converted
from streamfuse.evaluation.correlation import scd
from streamfuse.evaluation.edges import qabf
from streamfuse.evaluation.fidelity import vif_of_each
from streamfuse.evaluation.grey import Grey, as_grey
from streamfuse.evaluation.information import Unit, entropy, mutual_information
from streamfuse.evaluation.looks import looks
from streamfuse.evaluation.structure import Over, ms_ssim, ssim_of_each

FIELD = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM", "SSIM255", "MSSSIM")
"""The columns that published tables have; more is better in each."""
LOOKS = ("hot", "inverted", "flat", "sky", "overshoot", "rim")
COLUMNS = (*FIELD, "VIFmin", *LOOKS)


def scores(
    fused: NDArray[Any],
    thermal: NDArray[Any],
    visible: NDArray[Any],
    *,
    device: str = "cpu",
    mi_unit: Unit = "nats",
    over: Over | None = None,
) -> dict[str, float]:
    """Every figure of `COLUMNS` for one triple of H W (or H W 3) images, uint8 or float on 0..255.

    Judged in grey and whole levels, as a file would hold them. nan where an image has no such figure (`looks`).
    `over`: VIF, SSIM and MS-SSIM of both sources all summed or all averaged; None: as published tables have each.
    Raises ValueError for sizes that differ and for images under 41 x 41.
    """
    triple = as_grey(fused), as_grey(thermal), as_grey(visible)
    if len({image.shape for image in triple}) > 1:
        raise ValueError(f"fused, thermal and visible differ in size: {', '.join(str(one.shape) for one in triple)}")
    return {**converted(field_scores(*triple, device=device), mi_unit, over), **looks(*triple)}


def field_scores(fused: Grey, thermal: Grey, visible: Grey, *, device: str) -> dict[str, float]:
    """`FIELD` and VIFmin in float64 on `device`, in the conventions of published tables."""
    images = fused, thermal, visible
    with torch.inference_mode():
        f, t, v = (as_tensor(image, device) for image in images)
        fidelity = vif_of_each(f, t, v)
        wide, true = ssim_of_each(f, t, v, (2.0, 255.0))
        figures = (
            entropy(f),
            standard_deviation(f),
            spatial_frequency(f),
            average_gradient(f),
            mutual_information(f, t, v),
            scd(f, t, v),
            fidelity.sum(1),
            qabf(f, t, v),
            wide.sum(1),
            true.mean(1),
            ms_ssim(f, t, v),
            fidelity.amin(1),
        )
        values = torch.cat([figure.double() for figure in figures]).cpu().numpy()
    return {name: float(value) for name, value in zip((*FIELD, "VIFmin"), values, strict=True)}


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every column over its images; images without the figure do not count, nan where none has it."""
    told = {column: [row[column] for row in rows if not np.isnan(row[column])] for column in rows[0]}
    return {column: float(np.mean(values)) if values else float("nan") for column, values in told.items()}


def as_tensor(image: Grey, device: str) -> Tensor:
    """H W uint8 -> 1 1 H W float64 on 0..255."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).double()[None, None]
