"""From what was seen of a target to both lenses and the rig between them."""

from __future__ import annotations

from streamfuse.calibrate.solve_solution import Estimate, Residuals, Solution

__all__ = ["Estimate", "Residuals", "Solution"]
