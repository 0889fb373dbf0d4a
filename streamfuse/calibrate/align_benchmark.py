"""`streamfuse calibrate align-benchmark`: how exact, how often sure, how often sure and wrong, beside OpenCV's methods.

Every case is solved once and kept in `cases.jsonl`; a run that was interrupted goes on from there. Delete the file
after a change of the method. Errors: mean distance of the four thermal corners from where the truth puts them, and mean
over the part that both images see; in RGB pixels (of the image 640 px wide where it is wider), for twins in pixels of
the registered twin. Registered pairs are not exact themselves, so that for warps and twins a second error is told: from
the method's own answer on the registered pair (both share pixels, so that is a lower bound). Which of the two is right,
the patches say: what share of them agrees with the answer, and what share with the published registration.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from streamfuse.calibrate.align import Alignment, align
from streamfuse.calibrate.align_at import Box, shifted
from streamfuse.calibrate.align_cases import (
    HANDFUL,
    Case,
    Open,
    Undone,
    handfuls,
    near_twins,
    random_warps,
    twin_pairs,
    warped_pairs,
)
from streamfuse.calibrate.align_fields import Floats, picture
from streamfuse.calibrate.align_files import progress
from streamfuse.calibrate.align_patches import LEVELS, refine
from streamfuse.calibrate.align_peers import PEERS, peer
from streamfuse.calibrate.align_search import corners
from streamfuse.calibrate.align_sure import BOUGHT, SURE, Evidence, agreement, probability
from streamfuse.errors import UserError
from streamfuse.terminal import make_folder

OURS = "streamfuse align"
RECOVERED = "from its own answer on the registered pair"
WRONG_PX = 5.0
TWIN_PX = 3.0
Row = dict[str, Any]


def run_benchmark(data: Path, out: Path, *, warps: int, handful: int = 0, console: Console) -> dict[str, Any]:
    """Solve what is not in `out/cases.jsonl` yet, print the tables, return them. Raises UserError without data."""
    cases = list(_cases(data, warps, handful))
    if not cases:
        raise UserError(f"{data}: no pairs with a known alignment; expected warped_gt, roadscene_multires or pairs")
    make_folder(out)
    kept = out / "cases.jsonl"
    rows = [cast(Row, json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []
    rows = [_judged(row) for row in rows]
    wanted = {(kind, name) for kind, name, _ in cases}
    rows = [row for row in rows if (row["kind"], row["name"]) in wanted]
    done = {(row["kind"], row["name"]) for row in rows}
    with progress(console, "cases") as on_step, kept.open("a") as file:
        for index, (kind, name, opened) in enumerate(cases):
            if (kind, name) not in done:
                rows.append(_solved(opened()))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
            on_step(index + 1, len(cases))
    told = summary(rows)
    _print(console, told)
    return {**told, "cases": str(kept)}


def summary(rows: list[Row]) -> dict[str, Any]:
    """The tables: per kind ours; for `warped_gt` every method; and the sure but wrong ones of all kinds by name."""
    kinds = {
        kind: _ours([row for row in rows if row["kind"] == kind]) for kind in dict.fromkeys(r["kind"] for r in rows)
    }
    published = [row for row in rows if row["kind"] == "warped_gt"]
    methods = (
        {name: _errors([row["errors"][name] for row in published]) for name in (OURS, *PEERS)} if published else {}
    )
    sure = [row for row in rows if row["sure"]]
    wrong = [_told(row) for row in sure if row["errors"][OURS] > WRONG_PX]
    return {
        "kinds": kinds,
        "warped_gt": methods,
        "boxes": {row["name"]: {**row["at"], "overlap_error": row["overlap_error"]} for row in rows if row.get("at")},
        "all": {"cases": len(rows), "sure": len(sure), "sure_share": round(len(sure) / max(1, len(rows)), 3)},
        "sure_but_wrong": wrong,
        "cpu_s_median": statistics.median(row["cpu_s"] for row in rows),
    }


def overlap_error(found: Floats, case: Case) -> float:
    """Mean distance, in the case's pixels, over a grid of thermal points that the visible image shows."""
    thermal, visible = case.pairs[0]
    height, width = thermal.shape[:2]
    y, x = np.mgrid[0:1:9j, 0:1:9j]
    points = np.stack([x.ravel() * (width - 1), y.ravel() * (height - 1)], axis=-1)[None]
    true, got = (cv2.perspectiveTransform(points, matrix)[0] for matrix in (case.truth, found))
    limits = np.array([visible.shape[1], visible.shape[0]]) - 1
    shown = ((true >= 0) & (true <= limits)).all(axis=1)
    return float(np.linalg.norm(true - got, axis=1)[shown].mean()) / case.unit_px


def box_error(found: Floats, case: Case, box: Box) -> float:
    """Mean distance, in the case's pixels, over a grid of the points that the truth puts into the box."""
    y, x = np.mgrid[0:1:9j, 0:1:9j]
    there = np.stack([box.x + x.ravel() * (box.width - 1), box.y + y.ravel() * (box.height - 1)], axis=-1)
    got = cv2.perspectiveTransform(there[None], found @ np.linalg.inv(case.truth))[0]
    return float(np.linalg.norm(got - there, axis=1).mean()) / case.unit_px


def corner_error(found: Floats, case: Case) -> float:
    height, width = case.pairs[0][0].shape[:2]
    size = width, height
    return float(np.linalg.norm(corners(found, size) - corners(case.truth, size), axis=1).mean()) / case.unit_px


def _put_onto_own_answer(case: Case, undone: Undone) -> Case:
    """The case with, for a truth, the method's own answer on the registered pair and what lies between."""
    registered = [(picture(undone.pair[0]), picture(undone.pair[1]))]
    own = undone.visible @ refine(np.eye(3), registered, LEVELS) @ undone.thermal
    return replace(case, truth=own / own[2, 2])


def _cases(data: Path, warps: int, handful: int) -> Iterator[tuple[str, str, Open]]:
    for kind, found in (
        ("warped_gt", warped_pairs(data)),
        ("twins", twin_pairs(data)),
        ("twins, --at", near_twins(data)),
        ("MSRS, 1 of a handful", handfuls(data, handful, 1)),
        (f"MSRS, {HANDFUL} of a handful", handfuls(data, handful, HANDFUL)),
        ("random warps", random_warps(data, warps)),
    ):
        yield from ((kind, name, opened) for name, opened in found)


def _solved(case: Case) -> Row:
    before = time.process_time()
    found = align(case.pairs, at=case.at)
    spent = time.process_time() - before
    errors: dict[str, float | None] = {OURS: round(corner_error(found.matrix, case), 3)}
    if case.kind == "warped_gt":
        for name in PEERS:
            theirs = peer(name, *case.pairs[0])
            errors[name] = None if theirs is None else round(corner_error(theirs, case), 3)
    pairs = [(picture(thermal), picture(visible)) for thermal, visible in case.pairs]
    own = case if case.undone is None else _put_onto_own_answer(case, case.undone)
    if case.undone is not None:
        errors[RECOVERED] = round(corner_error(found.matrix, own), 3)
    return {
        "kind": case.kind,
        "name": case.name,
        "errors": errors,
        "overlap_error": round(overlap_error(found.matrix, case), 3),
        "recovered_overlap": round(overlap_error(found.matrix, own), 3),
        "sure": found.sure,
        "probability": round(found.probability, 4),
        "at": _of_box(found, case),
        "agreeing": round(found.evidence.agreeing, 4),
        "agreeing_at_truth": round(agreement(case.truth, pairs), 4),
        "patches": found.evidence.patches,
        "apart_px": round(min(found.evidence.apart_px, 9999.0), 3),
        "margin": round(found.evidence.margin, 4),
        "expected_px": round(min(found.error_px, 9999.0), 3),
        "width": found.rgb_size[0],
        "cpu_s": round(spent, 3),
    }


def _of_box(found: Alignment, case: Case) -> Row | None:
    if found.at is None:
        return None
    shift = found.at.shift_px if found.at.followed else (0.0, 0.0)
    before = shifted(found.matrix, (-shift[0], -shift[1]))
    return {
        "box": str(found.at.box),
        "believed": found.at.believed,
        "followed": found.at.followed,
        "shift_px": [round(value / case.unit_px, 3) for value in found.at.shift_px],
        "agreeing": round(found.at.agreeing, 4),
        "overlap_error_before": round(overlap_error(before, case), 3),
        "box_error_before": round(box_error(before, case, found.at.box), 3),
        "box_error": round(box_error(found.matrix, case, found.at.box), 3),
    }


def _judged(row: Row) -> Row:
    """A kept row with the probability that the present rule gives to its evidence."""
    evidence = Evidence(row["agreeing"], row["patches"], row["apart_px"], row["margin"])
    chance = probability(evidence, row["width"])
    believed = not row.get("at") or row["at"]["believed"]
    return {**row, "probability": round(chance, 4), "sure": chance >= SURE and believed}


def _ours(rows: list[Row]) -> Row:
    sure = [row for row in rows if row["sure"]]
    return {
        "cases": len(rows),
        "sure": len(sure),
        "sure_but_wrong": sum(row["errors"][OURS] > WRONG_PX for row in sure),
        "sure_but_wrong_where_both_see": sum(row["overlap_error"] > WRONG_PX for row in sure),
        "registration_as_good": sum(row["overlap_error"] > WRONG_PX and _as_good(row) for row in sure),
        "within_3_px_where_both_see": sum(row["overlap_error"] <= TWIN_PX for row in rows),
        "sure_but_not_recovered": sum(row["errors"].get(RECOVERED, 0) > WRONG_PX for row in sure),
        "within_3_px_of_own_answer": sum(row["recovered_overlap"] <= TWIN_PX for row in rows),
        "corner": _errors([row["errors"][OURS] for row in rows]),
        "corner_of_sure": _errors([row["errors"][OURS] for row in sure]),
        "recovered_of_sure": _errors([row["errors"][RECOVERED] for row in sure if RECOVERED in row["errors"]]),
        "where_both_see_of_sure": _errors([row["overlap_error"] for row in sure]),
    }


def _as_good(row: Row) -> bool:
    """Do as many patches agree with the registration as with the answer, but for those that 8 parameters can buy?"""
    return row["agreeing"] - row["agreeing_at_truth"] <= BOUGHT / max(row["patches"], 1)


def _told(row: Row) -> str:
    patches = f"{row['agreeing']:.2f} of its patches agree, {row['agreeing_at_truth']:.2f} with the registration"
    return f"{row['kind']}: {row['name']} ({row['overlap_error']:.1f} px where both see; {patches})"


def _errors(values: list[float | None]) -> dict[str, float | int | None]:
    """Median and worst; a method that gave no answer counts as infinitely wrong in both."""
    known = [float("inf") if value is None else value for value in values]
    if not known:
        return {"median": None, "worst": None, "above_5_px": 0, "no_answer": 0}
    middle, worst = statistics.median(known), max(known)
    return {
        "median": round(middle, 2) if np.isfinite(middle) else None,
        "worst": round(worst, 2) if np.isfinite(worst) else None,
        "above_5_px": sum(value > WRONG_PX for value in known),
        "no_answer": sum(value is None for value in values),
    }


def _print(console: Console, told: dict[str, Any]) -> None:
    titles = "sure", "corners > 5 px", "> 5 px", "both good", "own > 5 px", "<= 3 px", "median", "worst"
    caption = (
        "of the sure ones: corners off by more than 5 px; the same where both see; of those, patches agree with the "
        "registration as well; corners from the own answer; of all: 3 px where both see; corners of the sure ones"
    )
    ours = Table("cases", "n", *titles, caption=caption)
    for kind, row in told["kinds"].items():
        wrong = "sure_but_wrong", "sure_but_wrong_where_both_see", "registration_as_good", "sure_but_not_recovered"
        names = "cases", "sure", *wrong, "within_3_px_where_both_see"
        ours.add_row(kind, *(str(row[name]) for name in names), *_shown(row["corner_of_sure"], "median", "worst"))
    console.print(ours)
    methods = Table("warped_gt", "median px", "worst px", "> 5 px", "no answer")
    for name, row in told["warped_gt"].items():
        methods.add_row(name, *_shown(row, "median", "worst", "above_5_px", "no_answer"))
    console.print(methods)
    boxes = Table("twin, --at", "px where both see", "with the box", "px in the box", "with the box", "box")
    for name, row in told["boxes"].items():
        errors = _shown(row, "overlap_error_before", "overlap_error", "box_error_before", "box_error")
        boxes.add_row(name, *errors, "followed" if row["followed"] else "kept" if row["believed"] else "not sure")
    console.print(boxes)
    console.print("sure, and corners more than 5 px off:", *(told["sure_but_wrong"] or ["none"]), sep="\n  ")
    console.print(f"{told['cpu_s_median']:.1f} CPU s a case")


def _shown(row: dict[str, Any], *names: str) -> list[str]:
    tell: Callable[[Any], str] = lambda value: "none" if value is None else f"{value:g}"  # noqa: E731
    return [tell(row[name]) for name in names]
