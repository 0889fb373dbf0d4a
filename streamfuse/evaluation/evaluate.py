"""Judges many images: `evaluate_pairs` in memory, `evaluate_files` for `streamfuse evaluate`."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from streamfuse.errors import UserError
from streamfuse.evaluation import video
from streamfuse.evaluation.cases import Case, Cases, open_cases
from streamfuse.evaluation.grey import Grey, as_grey
from streamfuse.evaluation.information import Unit
from streamfuse.evaluation.peers import Peers, peers
from streamfuse.evaluation.report import print_means, write_means, write_rows
from streamfuse.evaluation.scores import COLUMNS, means, scores
from streamfuse.evaluation.sheet import case_sheet
from streamfuse.evaluation.structure import Over
from streamfuse.terminal import counted, make_folder, note, passing_bar
from streamfuse.triptych import write_image

SHEET_ROWS = 12


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of every image, in the order given, and the mean of every column."""

    names: tuple[str, ...]
    rows: tuple[dict[str, float], ...]
    means: dict[str, float]


def evaluate_pairs(
    triples: Iterable[tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]],
    *,
    device: str = "cpu",
    mi_unit: Unit = "nats",
    over: Over | None = None,
) -> Evaluation:
    """Judge (name, fused, thermal, visible), each image as `scores` takes it.

    Raises ValueError where there are none, or where `scores` does.
    """
    judged = {
        name: scores(fused, thermal, visible, device=device, mi_unit=mi_unit, over=over)
        for name, fused, thermal, visible in triples
    }
    if not judged:
        raise ValueError("nothing to evaluate: no images were given")
    return evaluation(judged)


def evaluation(judged: Mapping[str, dict[str, float]]) -> Evaluation:
    """Rows by image name, with their means."""
    rows = tuple(judged.values())
    return Evaluation(tuple(judged), rows, means(list(rows)))


def evaluate_files(
    paths: Sequence[Path],
    out: Path,
    *,
    models: Sequence[str] = (),
    in_time: bool = False,
    device: str = "auto",
    peer_set: str | None = None,
    mi_unit: Unit = "nats",
    over: Over | None = None,
    console: Console,
) -> dict[str, Any]:
    """Judge files, print the means, write tables and pictures to `out`; the report. Raises UserError for bad input.

    `in_time`: as one sequence, by the figures of `video.COLUMNS` beside those of both sources, their average and
    maximum; else image by image, by `scores.COLUMNS`.
    """
    if in_time and peer_set:
        raise UserError(f"--peers {peer_set} compares single images; leave it out with --video")
    cases = open_cases(paths, models, device=chosen_device(device), in_time=in_time)
    for warning in cases.warnings:
        note(console, warning)
    make_folder(out)
    known = peers(peer_set, mi_unit, over) if peer_set else None
    with _watched(cases, console) as (watched, shown):
        if in_time:
            results, columns = _judged_in_time(cases, watched), video.COLUMNS
        else:
            results, columns = _judged(cases, watched, chosen_device(device), mi_unit, over), COLUMNS
    files = write_rows(out, results, columns) | write_means(out, results, columns, known)
    write_image(out / "sheet.png", case_sheet(shown))
    files |= {"sheet": str(out / "sheet.png")} | _plot(out / "means.png", results, cases.labels, known, console)
    print_means(console, results, columns, known)
    told = {label: {name: _number(value) for name, value in one.means.items()} for label, one in results.items()}
    console.print(f"{counted(len(cases.names), 'pair')}; tables and pictures in {escape(str(out))}")
    return {"pairs": len(cases.names), "means": told, "files": files, "warnings": list(cases.warnings)} | (
        {} if in_time else {"mi_unit": mi_unit, "over": over or "as tables"}
    )


def chosen_device(device: str) -> str:
    """`auto` is the GPU where there is one. Raises UserError where a GPU was asked for and none is there."""
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UserError("--device cuda: PyTorch finds no NVIDIA GPU here; use --device cpu, or see `streamfuse doctor`")
    return "cuda" if there and device != "cpu" else "cpu"


def _judged(
    cases: Cases, watched: Iterable[Case], device: str, mi_unit: Unit, over: Over | None
) -> dict[str, Evaluation]:
    judged: dict[str, dict[str, dict[str, float]]] = {label: {} for label in cases.labels}
    for case in watched:
        for label, fused in case.fused.items():
            try:
                row = scores(fused, case.thermal, case.visible, device=device, mi_unit=mi_unit, over=over)
            except ValueError as error:
                raise UserError(f"{case.name}: {error}") from error
            judged[label][case.name] = row
    return {label: evaluation(rows) for label, rows in judged.items()}


def _judged_in_time(cases: Cases, watched: Iterable[Case]) -> dict[str, Evaluation]:
    if len(cases.names) < 2:
        raise UserError(f"--video judges the steps between frames; found {len(cases.names)} frame")
    try:
        judged = video.sequence_scores(_beside_baselines(case) for case in watched)
    except ValueError as error:
        raise UserError(f"--video: {error}") from error
    steps = cases.names[1:]
    return {label: evaluation(dict(zip(steps, rows, strict=True))) for label, rows in judged.items()}


def _beside_baselines(case: Case) -> tuple[Grey, dict[str, Grey]]:
    visible, thermal = as_grey(case.visible), case.thermal
    average = cv2.addWeighted(thermal, 0.5, visible, 0.5, 0).astype(visible.dtype)
    baselines = {
        "thermal alone": thermal,
        "visible alone": visible,
        "average": average,
        "pixel maximum": cv2.max(thermal, visible).astype(visible.dtype),
    }
    return visible, {**baselines, **{label: as_grey(fused) for label, fused in case.fused.items()}}


def _plot(
    path: Path, results: Mapping[str, Evaluation], judged: Sequence[str], known: Peers | None, console: Console
) -> dict[str, str]:
    """The plot of the means, where there is matplotlib."""
    try:
        from streamfuse.evaluation.plots import plot_means
    except ModuleNotFoundError as error:
        note(console, f"no plot: {error}; pip install 'streamfuse[evaluate]'")
        return {}
    plot_means(path, {label: one.means for label, one in results.items()}, judged, known)
    return {"plot": str(path)}


@contextmanager
def _watched(cases: Cases, console: Console) -> Generator[tuple[Iterator[Case], list[Case]]]:
    """The cases with a progress bar, and those of them that the contact sheet shows, once they have passed."""
    last = len(cases.names) - 1
    wanted = {round(place * last / (SHEET_ROWS - 1)) for place in range(SHEET_ROWS)}
    shown: list[Case] = []
    columns = (TextColumn("judging {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with passing_bar(console, *columns) as bar:

        def passing() -> Iterator[Case]:
            description = escape(", ".join(cases.labels))
            for index, case in enumerate(bar.track(cases, total=len(cases.names), description=description)):
                if index in wanted:
                    shown.append(case)
                yield case

        yield passing(), shown


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
