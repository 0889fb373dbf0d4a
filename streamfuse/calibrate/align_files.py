"""Recordings in, rig file and picture out: what `streamfuse calibrate align` does around the alignment itself."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from streamfuse.calibrate.align import Alignment, Watch, align
from streamfuse.calibrate.align_at import REMEDY, Box, InBox
from streamfuse.calibrate.align_sure import SURE
from streamfuse.calibrate.report.overlays import Pair, overlay
from streamfuse.errors import UserError
from streamfuse.frames import Frame, Pixels
from streamfuse.lens import Matrix3
from streamfuse.rig import Calibration, Rig
from streamfuse.sources.recording import RecordedSource, open_recording
from streamfuse.terminal import make_folder, note, passing_bar
from streamfuse.triptych import write_image

MOST_PAIRS = 8
BOX_COLOUR = (0, 230, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Pairs spread evenly over two recordings, and what their user should know."""

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def align_files(
    thermal: Path,
    visible: Path,
    out: Path,
    *,
    most: int = MOST_PAIRS,
    accept_unsure: bool = False,
    at: Box | None = None,
    console: Console,
) -> dict[str, Any]:
    """Align two images, folders or videos, write `out` and a picture beside it; what was found as a dictionary.

    `at`: the depth that is meant, as a box in the visible image of the recording's first pair. Where the answer or the
    box is not sure, the dictionary has an `error`, the picture is written, the rig file is not (unless
    `accept_unsure`). Raises UserError for bad input.
    """
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name the rig file, e.g. {out / 'rig.yaml'}")
    chosen = read_pairs(thermal, visible, most, with_first=at is not None)
    make_folder(out.parent)
    with progress(console, f"aligning {len(chosen.pairs)} pairs") as on_step:
        found = align([(pair.thermal, pair.visible) for pair in chosen.pairs], on_step, at)
    rig = rig_of(found, out.stem, chosen.pairs[0].name)
    seen = out.with_suffix(".png")
    write_image(seen, _side_by_side(chosen.pairs[0], rig, at))
    told = _told(found, chosen, rig, seen)
    _print(console, found, told)
    if found.sure or accept_unsure:
        rig.save(out)
        told["rig"] = str(out)
        console.print(f"rig file {out} (one homography: {_holds_for(found)}); picture {seen}", markup=False)
        return told
    told["error"] = _refusal(found, chosen, seen)
    return told


def read_pairs(thermal: Path, visible: Path, most: int, *, with_first: bool = False) -> Chosen:
    """At most `most` pairs nearest in time, spread evenly (`with_first`: from the first one on). Raises UserError where
    there is none, or not the first one."""
    recording = open_recording(thermal, visible, pace="every")
    matched = _matched(recording.thermal, recording.rgb)
    if not matched:
        raise UserError(f"{thermal} and {visible}: no two images belong to the same instant; check names and times")
    count = min(most, len(matched))
    middle = 0.0 if with_first else 0.5
    wanted = [matched[round((place + middle) * len(matched) / count - middle)] for place in range(count)]
    first = _taken(recording.thermal, {one for one, _ in wanted})
    second = _taken(recording.rgb, {other for _, other in wanted})
    pairs = [
        Pair(recording.rgb.names[other], first[one], second[other])
        for one, other in wanted
        if one in first and other in second
    ]
    if not pairs:
        raise UserError(f"{thermal} and {visible}: none of the pairs can be decoded")
    if with_first and pairs[0].name != recording.rgb.names[wanted[0][1]]:
        raise UserError(
            f"{thermal} and {visible}: the first pair, which --at is about, cannot be decoded; leave it out"
        )
    return Chosen(tuple(pairs), recording.warnings)


def rig_of(found: Alignment, name: str, image: str = "") -> Rig:
    """The planar, provisional rig of an alignment; its residual is the error expected of the corners. `image`: the
    name of the one that the box of `found.at` is of."""
    rows = cast(Matrix3, tuple(tuple(float(value) for value in row) for row in found.matrix))
    reasons = (f"aligned without a target: one homography, {_holds_for(found)}",)
    if found.probability < SURE:
        reasons += (f"probability of being right only {found.probability:.2f}",)
    if found.at and not found.at.believed:
        reasons += (f"not right at the depth of {found.at.box}, which was asked for: {found.at.doubt}",)
    return Rig(
        name=name,
        thermal_size=found.thermal_size,
        rgb_size=found.rgb_size,
        rgb_from_thermal_homography=rows,
        residual_px=round(found.error_px, 2),
        provisional=True,
        calibration=Calibration(target="none: first alignment from scenes", views=found.pairs, refused=reasons),
        made_on=date.today(),
        notes=_of_box(found.at, image) if found.at else "",
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


def _side_by_side(pair: Pair, rig: Rig, at: Box | None) -> Pixels:
    """Left: thermal stretched over the visible image; right: as aligned. Above squares in turn, below edges."""
    try:
        shown = overlay(pair, rig)
    except UserError:  # the answer puts all of the thermal image beside the visible one
        return _boxed(pair.visible, at, pair.visible.shape[1])
    panes = shown.checker_before, shown.checker_after, shown.edges_before, shown.edges_after
    drawn = [_boxed(pane, at, pair.visible.shape[1]) for pane in panes]
    return np.vstack([np.hstack(drawn[:2]), np.hstack(drawn[2:])])


def _boxed(pane: Pixels, at: Box | None, width: int) -> Pixels:
    """The pane with the box around it that `at` is on an image of this width."""
    if at is None:
        return pane
    factor = pane.shape[1] / width
    left, top = int(at.x * factor), int(at.y * factor)
    right, bottom = int((at.x + at.width) * factor) - 1, int((at.y + at.height) * factor) - 1
    drawn = np.array(pane, dtype=np.uint8)
    cv2.rectangle(drawn, (left, top), (right, bottom), BOX_COLOUR, 2)
    return drawn


def _told(found: Alignment, chosen: Chosen, rig: Rig, seen: Path) -> dict[str, Any]:
    at = found.at and {
        "box": [found.at.box.x, found.at.box.y, found.at.box.width, found.at.box.height],
        "image": chosen.pairs[0].name,
        "believed": found.at.believed,
        "followed": found.at.followed,
        "shift_px": [round(value, 2) for value in found.at.shift_px],
        "agreeing": round(found.at.agreeing, 3),
        "patches": found.at.patches,
        "doubt": found.at.doubt,
    }
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
        "at": at,
        "picture": str(seen),
        "warnings": list(chosen.warnings),
    }


def _print(console: Console, found: Alignment, told: dict[str, Any]) -> None:
    x, y = told["shift_px"]
    verdict = "sure" if found.probability >= SURE else "[yellow]not sure[/]"
    console.print(
        f"{verdict} (probability {found.probability:.3f}): one thermal pixel is {found.scale:.3f} RGB pixels, rotated "
        f"{found.rotation_deg:.2f} degrees, middle shifted by {x:.1f}, {y:.1f} px; expected error {found.error_px:.1f} "
        f"px; {found.evidence.agreeing:.0%} of {found.evidence.patches} patches agree"
    )
    if found.at:
        console.print(_of_box(found.at, told["at"]["image"]), markup=False)
    for warning in told["warnings"]:
        note(console, warning)


def _swapped(chosen: Chosen) -> str:
    return " (are they swapped? see the note)" if any("swapped" in warning for warning in chosen.warnings) else ""


def _holds_for(found: Alignment) -> str:
    if found.at and found.at.believed:
        return f"right at the depth of what {found.at.box} shows"
    return "right for far scenes or for one depth"


def _of_box(at: InBox, image: str) -> str:
    """What the box came to, as a sentence."""
    if at.doubt:
        return f"box {at.box} of {image}: not sure, {at.doubt}; the alignment is as it is without the box"
    x, y = at.shift_px
    agreeing = f"{at.agreeing:.0%} of its {at.patches} patches agree"
    if not at.followed:
        return f"box {at.box} of {image}: right there as it is, to within {math.hypot(x, y):.1f} px; {agreeing}"
    return f"box {at.box} of {image}: shifted by {x:.1f}, {y:.1f} px to be right there; {agreeing}"


def _refusal(found: Alignment, chosen: Chosen, seen: Path) -> str:
    if found.probability < SURE:
        return (
            f"not sure: the probability that this alignment is right is {found.probability:.2f}, sure begins at "
            f"{SURE}; no rig file was written. Look at {seen}; give more pairs with edges in both spectra (buildings, "
            "trees against the sky, people close to walls), or the right folders"
            + _swapped(chosen)
            + "; --accept-unsure writes it anyway"
        )
    assert found.at is not None
    return (
        f"--at {found.at.box}: not sure of its depth: {found.at.doubt}; no rig file was written. Look at the box in "
        f"{seen}; {REMEDY}; --accept-unsure writes the alignment as it is without the box"
    )
