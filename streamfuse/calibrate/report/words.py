"""A rig in words: what it is worth, where its cameras stand and look, how well each number is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamfuse.calibrate.exchange.seat import seat_in_words
from streamfuse.calibrate.parallax import rounded
from streamfuse.calibrate.solve_solution import QUANTILE_95, Estimate, Solution
from streamfuse.frames import wxh
from streamfuse.lens import Lens
from streamfuse.rig import Rig
from streamfuse.warp import output_grid, thermal_from_rgb

SAMPLES = (40, 30)
SIZE_UNKNOWN = "of unknown size"
"""How a target is named whose size was not given."""
NO_SCALE = "The size of the target was not given: what is called a metre here is one spacing of the target."
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word`: pass | provisional | unchecked | unknown; what that means; why, where it is not a pass."""

    word: str
    sentence: str
    reasons: tuple[str, ...] = ()


def verdict(rig: Rig, solution: Solution | None = None) -> Verdict:
    """What the rig file (and its solution) say about themselves; nothing is measured again."""
    record = rig.calibration
    reasons = record.refused if record and record.refused else (solution.reasons if solution else ())
    if rig.provisional or reasons:
        told = reasons or ("the rig file does not say why",)
        return Verdict("provisional", "Solved, and usable with care: it misses what a rig must reach.", told)
    if rig.residual_px is None:
        return Verdict("unknown", "The rig file states no residual: nobody knows how well it fits.")
    measured = record is not None and record.thermal_rms_px is not None and record.held_out_px is not None
    if not measured:
        return Verdict(
            "unchecked",
            f"The rig file states a residual of {rig.residual_px:.2f} px, but not how it was measured on a target.",
        )
    return Verdict("pass", f"Measured on a target and accepted; it leaves {rig.residual_px:.2f} px.")


def facts(rig: Rig) -> list[Row]:
    """Name and value of everything the rig file says about itself."""
    record = rig.calibration
    rows = [("name", rig.name), ("content hash", rig.content_hash)]
    rows += [("made on", f"{rig.made_on:%Y-%m-%d}")] if rig.made_on else []
    if record:
        rows += [("target", record.target), ("views", "" if record.views is None else str(record.views))]
        rows += [
            ("thermal RMS", _pixels(record.thermal_rms_px, "thermal px")),
            ("RGB RMS", _pixels(record.rgb_rms_px, "RGB px")),
            ("held out, thermal onto RGB", _held_out(record.held_out_px, record.held_out_p95_px)),
            ("thermal camera", record.thermal_serial),
            ("RGB camera", record.rgb_serial),
        ]
    delay_error = record.delay_error_ms if record else None
    rows += [
        ("residual", _pixels(rig.residual_px, "RGB px at the working depth")),
        ("thermal delay", f"{rig.thermal_delay_ms:g} ms" + (f" ± {delay_error:.2g} ms" if delay_error else "")),
        ("notes", rig.notes),
    ]
    return [row for row in rows if row[1]]


def geometry(rig: Rig) -> list[str]:
    """Where the cameras stand, where they look and what they share, in sentences."""
    sizes = f"Thermal {wxh(rig.thermal_size)}, RGB {wxh(rig.rgb_size)} pixels."
    if rig.thermal is None or rig.rgb is None or rig.rgb_from_thermal is None or rig.working_depth_m is None:
        plane = f" at {rig.working_depth_m:g} m" if rig.working_depth_m else ""
        return [sizes, f"A planar rig: one matrix takes thermal to RGB pixels, right for one plane{plane}."]
    apart = float(np.linalg.norm(rig.rgb_from_thermal.translation_vector))
    depth = f"{rig.working_depth_m:g} m" if math.isfinite(rig.working_depth_m) else "infinity"
    return [
        sizes,
        *([NO_SCALE] if rig.calibration and rig.calibration.target.endswith(SIZE_UNKNOWN) else []),
        f"Thermal lens: {_seen_by(rig.thermal)}. RGB lens: {_seen_by(rig.rgb)}.",
        _sentence(f"{seat_in_words(rig.rgb_from_thermal)}; {100 * apart:.1f} cm apart"),
        f"Set to {depth}: {_shared(rig)}",
    ]


def parameter_rows(estimate: Estimate) -> list[Row]:
    """Name, value ± half its 95 % interval, unit."""
    rows = [("parameter", "value ± 95 %", "unit")]
    for name, value, half in zip(estimate.names, estimate.values, estimate.half_width_95, strict=True):
        factor, unit = _unit(name)
        rows.append((name, plus_minus(float(value) * factor, float(half) * factor), unit))
    return rows


def baseline_line(estimate: Estimate) -> list[str]:
    """How well the distance between the cameras is known, and what that means for a map moved to another depth."""
    names = ("rgb_from_thermal.tx", "rgb_from_thermal.ty", "rgb_from_thermal.tz")
    if not set(names) <= set(estimate.names):
        return []
    shift, covariance = estimate.block(names)
    apart = float(np.linalg.norm(shift))
    along = shift / max(apart, 1e-12)
    half = QUANTILE_95 * math.sqrt(max(0.0, float(along @ covariance @ along)))
    return [
        f"The cameras are {plus_minus(apart * 1000, half * 1000)} mm apart (95 %): a map moved to another depth may be "
        f"off by {rounded(100 * half / max(apart, 1e-12), 2)} % of the shift."
    ]


def plus_minus(value: float, half: float) -> str:
    """Both to two digits of the half width; "fixed" where there is none."""
    if not half > 0 or not math.isfinite(half):
        return f"{value:.6g} (fixed)"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def _unit(name: str) -> tuple[float, str]:
    camera, _, which = name.partition(".")
    if camera == "rgb_from_thermal":
        return (1000.0, "mm") if which.startswith("t") else (180 / math.pi, "degrees")
    return 1.0, "px" if which in ("fx", "fy", "cx", "cy") else ""


def _seen_by(lens: Lens) -> str:
    """Angles of view through the middle of the image."""
    width, height = lens.size
    ends = np.array([[-0.5, lens.cy], [width - 0.5, lens.cy], [lens.cx, -0.5], [lens.cx, height - 0.5]])
    rays, found = lens.rays(ends)
    if not found.all():
        return f"{lens.model}, wider than its distortion can be trusted"
    angles = np.degrees(np.arctan(rays))
    across, down = angles[1, 0] - angles[0, 0], angles[3, 1] - angles[2, 1]
    return f"{across:.1f}° wide, {down:.1f}° high ({lens.model})"


def _shared(rig: Rig) -> str:
    grid = output_grid(rig.rgb_size, SAMPLES, "stretch")
    across, down = np.meshgrid(np.arange(SAMPLES[0]), np.arange(SAMPLES[1]))
    matrix = grid.rgb_from_output
    pixels = np.stack([across * matrix[0, 0] + matrix[0, 2], down * matrix[1, 1] + matrix[1, 2]], axis=-1)
    thermal, usable = thermal_from_rgb(rig, pixels, rig.working_depth_m)
    inside = usable & ((thermal >= 0) & (thermal <= np.array(rig.thermal_size) - 1)).all(axis=-1)
    share = f"the thermal image covers {100 * inside.mean():.0f} % of the RGB image"
    middle = np.argwhere(inside)
    if not len(middle):
        return f"{share}."
    row, column = middle[len(middle) // 2]
    beside = pixels[row, column] + [[0, 0], [1, 0]]
    step = np.diff(thermal_from_rgb(rig, beside, rig.working_depth_m)[0], axis=0)
    return f"{share}; one thermal pixel is as wide as {1 / float(np.linalg.norm(step)):.1f} RGB pixels there."


def _held_out(rms: float | None, p95: float | None) -> str:
    return _pixels(rms, "RGB px RMS") + (f", 95 % under {p95:.2f}" if p95 is not None else "")


def _pixels(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3f} {unit}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
