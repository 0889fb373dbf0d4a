"""Recordings in, rig file and picture out: what `streamfuse calibrate align` does around the alignment itself."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from streamfuse.calibrate.align import Alignment, Watch, align
from streamfuse.calibrate.report.overlays import Pair, overlay
from streamfuse.errors import UserError
from streamfuse.frames import Frame, Pixels
from streamfuse.lens import Matrix3
from streamfuse.rig import Calibration, Rig
from streamfuse.sources.recording import RecordedSource, open_recording
from streamfuse.terminal import make_folder, note, passing_bar
from streamfuse.triptych import write_image

MOST_PAIRS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Pairs spread evenly over two recordings, and what their user should know."""

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def align_files(
    thermal: Path, visible: Path, out: Path, *, most: int = MOST_PAIRS, accept_unsure: bool = False, console: Console
) -> dict[str, Any]:
    """Align two images, folders or videos, write `out` and a picture beside it; what was found as a dictionary.

    Where the answer is not sure, the dictionary has an `error`, the picture is written, the rig file is not (unless
    `accept_unsure`). Raises UserError for bad input.
    """
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name the rig file, e.g. {out / 'rig.yaml'}")
    chosen = read_pairs(thermal, visible, most)
    make_folder(out.parent)
    with progress(console, f"aligning {len(chosen.pairs)} pairs") as on_step:
        found = align([(pair.thermal, pair.visible) for pair in chosen.pairs], on_step)
    rig = rig_of(found, out.stem)
    seen = out.with_suffix(".png")
    write_image(seen, _side_by_side(chosen.pairs[0], rig))
    told = _told(found, chosen, rig, seen)
    _print(console, found, told)
    if found.sure or accept_unsure:
        rig.save(out)
        told["rig"] = str(out)
        written = f"rig file {out} (one homography: holds for far scenes or one depth); picture {seen}"
        console.print(written, markup=False)
        return told
    told["error"] = (
        f"not sure: the probability that this alignment is right is {found.probability:.2f}, {SURE_TEXT}; no rig file "
        f"was written. Look at {seen}; give more pairs with edges in both spectra (buildings, trees against the sky, "
        "people close to walls), or the right folders" + _swapped(chosen) + "; --accept-unsure writes it anyway"
    )
    return told


SURE_TEXT = "sure begins at 0.99"


def read_pairs(thermal: Path, visible: Path, most: int) -> Chosen:
    """At most `most` pairs nearest in time, spread evenly. Raises UserError where there is none."""
    recording = open_recording(thermal, visible, pace="every")
    matched = _matched(recording.thermal, recording.rgb)
    if not matched:
        raise UserError(f"{thermal} and {visible}: no two images belong to the same instant; check names and times")
    count = min(most, len(matched))
    wanted = [matched[round((place + 0.5) * len(matched) / count - 0.5)] for place in range(count)]
    first = _taken(recording.thermal, {one for one, _ in wanted})
    second = _taken(recording.rgb, {other for _, other in wanted})
    pairs = [
        Pair(recording.rgb.names[other], first[one], second[other])
        for one, other in wanted
        if one in first and other in second
    ]
    if not pairs:
        raise UserError(f"{thermal} and {visible}: none of the pairs can be decoded")
    return Chosen(tuple(pairs), recording.warnings)


def rig_of(found: Alignment, name: str) -> Rig:
    """The planar, provisional rig of an alignment; its residual is the error expected of the corners."""
    rows = cast(Matrix3, tuple(tuple(float(value) for value in row) for row in found.matrix))
    reasons = ("aligned without a target: one homography, right for far scenes or for one depth",)
    if not found.sure:
        reasons += (f"probability of being right only {found.probability:.2f}",)
    return Rig(
        name=name,
        thermal_size=found.thermal_size,
        rgb_size=found.rgb_size,
        rgb_from_thermal_homography=rows,
        residual_px=round(found.error_px, 2),
        provisional=True,
        calibration=Calibration(target="none: first alignment from scenes", views=found.pairs, refused=reasons),
        made_on=date.today(),
    )


@contextmanager
def progress(console: Console, doing: str) -> Generator[Watch]:
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with passing_bar(console, *columns) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _matched(thermal: RecordedSource, rgb: RecordedSource) -> list[tuple[int, int]]:
    """Indices of frames nearest in time, within half a period of the faster stream."""
    times = np.array(rgb.times_ns)
    bound = 0.5e9 / max(thermal.info.rate_hz or 30.0, rgb.info.rate_hz or 30.0)
    matched: list[tuple[int, int]] = []
    for index, time in enumerate(thermal.times_ns):
        other = int(np.abs(times - time).argmin())
        if abs(int(times[other]) - time) <= bound:
            matched.append((index, other))
    return matched


def _taken(source: RecordedSource, wanted: set[int]) -> dict[int, Pixels]:
    """The frames at these indices; those that cannot be decoded are left out."""
    taken: dict[int, Pixels] = {}
    with source:
        for index, frame in enumerate(source):
            if index in wanted and isinstance(frame, Frame):
                taken[index] = frame.pixels
            if index >= max(wanted):
                break
    return taken


def _side_by_side(pair: Pair, rig: Rig) -> Pixels:
    """Left: thermal stretched over the visible image; right: as aligned. Above squares in turn, below edges."""
    try:
        shown = overlay(pair, rig)
    except UserError:  # the answer puts all of the thermal image beside the visible one
        return pair.visible
    above = np.hstack([shown.checker_before, shown.checker_after])
    return np.vstack([above, np.hstack([shown.edges_before, shown.edges_after])])


def _told(found: Alignment, chosen: Chosen, rig: Rig, seen: Path) -> dict[str, Any]:
    return {
        "sure": found.sure,
        "probability": round(found.probability, 4),
        "rgb_from_thermal_homography": rig.rgb_from_thermal_homography,
        "scale": round(found.scale, 4),
        "rotation_deg": round(found.rotation_deg, 3),
        "shift_px": [round(value, 2) for value in found.shift_px],
        "error_px": round(found.error_px, 2),
        "agreeing": round(found.evidence.agreeing, 3),
        "halves_apart_px": round(min(found.evidence.apart_px, 9999.0), 2),
        "margin": round(found.evidence.margin, 3),
        "pairs": found.pairs,
        "picture": str(seen),
        "warnings": list(chosen.warnings),
    }


def _print(console: Console, found: Alignment, told: dict[str, Any]) -> None:
    x, y = told["shift_px"]
    verdict = "sure" if found.sure else "[yellow]not sure[/]"
    console.print(
        f"{verdict} (probability {found.probability:.3f}): one thermal pixel is {found.scale:.3f} RGB pixels, rotated "
        f"{found.rotation_deg:.2f} degrees, middle shifted by {x:.1f}, {y:.1f} px; expected error {found.error_px:.1f} "
        f"px; {found.evidence.agreeing:.0%} of {found.evidence.patches} patches agree"
    )
    for warning in told["warnings"]:
        note(console, warning)


def _swapped(chosen: Chosen) -> str:
    return " (are they swapped? see the note)" if any("swapped" in warning for warning in chosen.warnings) else ""
