"""The roofline drawn: operations per second over operations per byte, the machine's roofs and every engine's point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamfuse.errors import UserError
from streamfuse.roofline.ceilings import Ceilings

INTENSITIES = (0.1, 10_000.0)


def draw(path: Path, ceilings: Sequence[Ceilings], rows: Sequence[dict[str, Any]]) -> None:
    """Write the plot to `path`. Raises UserError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the plot needs matplotlib: pip install 'streamfuse[evaluate]'") from error
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes: Any = figure.add_subplot(xscale="log", yscale="log")
    for ceiling in ceilings:
        for name, peak in ceiling.peaks.items():
            ridge = peak / ceiling.bandwidth
            heights = [INTENSITIES[0] * ceiling.bandwidth, peak, peak]
            axes.plot((INTENSITIES[0], ridge, INTENSITIES[1]), heights, label=f"{ceiling.device} {name}")
    for row in rows:
        speed = row["operations"] / row["ms"] * 1e3
        axes.plot(row["intensity"], speed, "o", color="black", markersize=4)
        axes.annotate(f"{row['model']} {row['engine']}", (row["intensity"], speed), fontsize=7)
    axes.set_xlabel("operations per byte that must move")
    axes.set_ylabel("operations per second")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    figure.savefig(path, dpi=120)
