"""Ablations: the arithmetic against figures known beforehand, and the command cut short and run again."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_sets import command, write

from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path
from streamfuse.training.ablation.ablate import Deadline
from streamfuse.training.ablation.comparison import compare, paired_p
from streamfuse.training.ablation.results import Result, finished
from streamfuse.training.ablation.settings import cells, load_ablation
from streamfuse.training.ablation.tables import as_csv, as_markdown

ABLATION = """
training:
  data: sets
  sets:
    - {folder: street, licence: made up, scene: '^(.+)_'}
  validation: 0.3
  steps: 4
  batch: 2
  crop: 32
  validate_every: 2
  scored: 0
rows:
  - model: streamfuse-s
    losses: {plain: plain.yaml, edges: edges.yaml}
seeds: [1, 2]
tests:
  - {folder: held}
images: 2
"""


@pytest.fixture
def ablation(project) -> Path:
    (project / "plain.yaml").write_text("terms: {intensity: {}}")
    (project / "edges.yaml").write_text("terms: {intensity: {}, directional: {weight: 10}}")
    chance = np.random.default_rng(5)
    for index in range(3):
        for folder in ("ir", "vis"):
            image = cv2.resize(chance.integers(0, 255, (6, 8), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
            write(project / "sets/held" / folder / f"{index}.png", image)
    file = project / "ablate.yaml"
    file.write_text(ABLATION)
    return file


def result(loss: str, seed: int, *values: float, metric: str = "SD") -> Result:
    return Result("net", loss, seed, {"set": {str(index): {metric: value} for index, value in enumerate(values)}})


def test_means_deviations_and_changes_are_those_of_the_seeds() -> None:
    results = [result("a", 1, 10, 20), result("a", 2, 14, 24), result("b", 1, 11, 22), result("b", 2, 14, 22)]
    first, other = compare(results, {"net": "a"})
    assert (first.mean, first.deviation, first.seeds, first.images) == (17, pytest.approx(8**0.5), 2, 2)
    assert math.isnan(first.change)
    assert (other.mean, other.change) == (17.25, pytest.approx(100 * 0.25 / 17))
    assert (other.rose, other.shared) == (1, 2)
    assert other.p == 1.0  # differences 0.5 and 0: both signs of the one are as far from 0


def test_only_seeds_that_both_have_are_compared_and_a_missing_reference_is_none() -> None:
    results = [result("a", 1, 10, 20), result("b", 1, 12, 22), result("b", 2, 90, 90)]
    other = compare(results, {"net": "a"})[1]
    assert (other.seeds, other.shared, other.change) == (2, 1, pytest.approx(100 * 2 / 15))
    assert compare(results[1:], {"net": "a"})[0].shared == 0


def test_images_without_the_figure_do_not_count() -> None:
    results = [result("a", 1, 1.0, math.nan, 3.0), result("b", 1, 2.0, math.nan, 3.0)]
    first, other = compare(results, {"net": "a"})
    assert (first.mean, other.mean, other.change) == (2.0, 2.5, 25.0)


def test_the_paired_test_gives_the_share_of_flips_as_far_from_nothing() -> None:
    assert paired_p(np.array([1.0, 1.0, 1.0])) == 2 / 8
    assert paired_p(np.array([3.0, 1.0, -1.0])) == 6 / 8  # all sums but +1 and -1
    assert paired_p(np.array([0.0, 0.0])) == 1.0
    assert math.isnan(paired_p(np.array([])))
    chance = np.random.default_rng(0)
    assert paired_p(0.3 + chance.standard_normal(100)) < 0.05
    null = [paired_p(chance.standard_normal(20)) for _ in range(60)]
    assert 0.35 < np.mean(null) < 0.65
    assert 0 < paired_p(np.full(40, 1.0)) < 1e-3


def test_tables_hold_every_line() -> None:
    results = [result(loss, seed, 10 + seed, 20) for loss in "ab" for seed in (1, 2, 3)]
    lines = compare(results, {"net": "a"})
    rows = list(csv.DictReader(as_csv(lines).splitlines()))
    assert [(row["loss"], row["metric"], row["mean"], row["p"]) for row in rows] == [
        ("a", "SD", "16", "nan"),
        ("b", "SD", "16", "1"),
    ]
    assert "| b | 3 | 16.00 ± 0.500 |" in as_markdown(lines)
    assert "| | 3 | +0.0 % 0/3 |" in as_markdown(lines)


def test_an_ablation_that_is_cut_short_goes_on_and_ends_as_a_whole_one(ablation) -> None:
    whole, cut = ablation.parent / "whole", ablation.parent / "cut"
    code, said = command("ablate", ablation, "--out", whole, "--json")
    assert code == 0, said
    told = json.loads(said.splitlines()[-1])
    assert (told["cells"], told["finished"]) == (4, 4)
    assert {line["images"] for line in told["lines"]} == {2}
    code, said = command("ablate", ablation, "--out", cut, "--minutes", 0, "--json")
    assert (code, json.loads(said.splitlines()[-1])["finished"]) == (0, 0)
    stop_after_steps(ablation, cut, 3)
    assert command("ablate", ablation, "--out", cut)[0] == 0
    for name in ("table.csv", "table.md"):
        assert (whole / name).read_text() == (cut / name).read_text()
    before = {path: path.stat().st_mtime_ns for path in (cut / "cells").rglob("*.safetensors")}
    assert command("ablate", ablation, "--out", cut)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in (cut / "cells").rglob("*.safetensors")}
    if told["plots"]:
        assert cv2.imread(told["plots"][0]).shape[1] > 500


def stop_after_steps(ablation: Path, out: Path, steps: int) -> None:
    """Go on with an ablation until so many steps of its first cell are logged."""
    from rich.console import Console

    from streamfuse.training.ablation.ablate import ablate

    class Stop:
        def is_set(self) -> bool:
            logs = [log.read_text().count("\n") - 1 for log in (out / "cells").rglob("log.csv")]
            return sum(logs) >= steps

    told = ablate(load_ablation(ablation), out, stop=Stop(), console=Console(quiet=True), minutes=None)
    assert told["finished"] == 0
    assert len(list((out / "cells").rglob("checkpoint.safetensors"))) == 1


def test_a_cell_that_fails_is_named_and_does_not_hold_up_the_others(ablation) -> None:
    (ablation.parent / "edges.yaml").write_text("terms: {intensity: {weight: 1e300}, directional: {weight: 1e300}}")
    out = ablation.parent / "out"
    code, said = command("ablate", ablation, "--out", out, "--json")
    told = json.loads(said.splitlines()[-1])
    assert (code, told["finished"]) == (1, 2)
    assert "2 of 4 cells failed: streamfuse-s--edges--seed1: step 0: the loss is" in told["error"]
    assert {line["loss"] for line in told["lines"]} == {"plain"}


def test_a_result_of_other_settings_is_refused(ablation) -> None:
    config = load_ablation(ablation)
    cell = cells(config)[0]
    out = ablation.parent / "out"
    path = out / "cells" / f"{cell.name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"digest": "other", "tests": {}}))
    with pytest.raises(UserError, match="was made by other settings"):
        finished(cell, out)
    path.write_text("{")
    with pytest.raises(UserError, match="is no result of an ablation"):
        finished(cell, out)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("steps: 4", "stepss: 4", "did you mean `steps`?"),
        ("steps: 4", "steps: 4\n  seed: 4", "`training.seed` is said by `rows` and `seeds`"),
        ("model: streamfuse-s", "model: streamfuse-s\n    sets: [lane]", "has no set in the folder lane"),
        ("plain: plain.yaml", "plain: nowhere.yaml", "nowhere.yaml: no such loss file"),
        ("folder: held", "folder: lost", "lost: no such data set folder"),
        ("rows:", "rowss:", "did you mean `rows`?"),
    ],
)
def test_what_cannot_be_compared_is_named(ablation, before, after, said) -> None:
    assert before in ablation.read_text()
    ablation.write_text(ablation.read_text().replace(before, after))
    code, told = command("ablate", ablation, "--out", ablation.parent / "out")
    assert (code, said in told) == (2, True), told


def test_a_row_may_train_on_a_part_of_the_sets_and_otherwise_than_the_rest(ablation) -> None:
    row = "\n  - {model: residual-dense-s, losses: {plain: plain.yaml}, sets: [street], training: {steps: 2}}\nseeds:"
    ablation.write_text(ablation.read_text().replace("\nseeds:", row))
    last = cells(load_ablation(ablation))[-1]
    assert (last.row, last.name) == ("residual-dense-s on street", "residual-dense-s-on-street--plain--seed2")
    assert (last.training.steps, last.training.model, last.training.seed) == (2, "residual-dense-s", 2)


@pytest.mark.parametrize("name", ["small", "soft-hog", "directional", "weight-block"])
def test_the_shipped_ablations_can_be_read(name) -> None:
    config = load_ablation(shipped_path(f"configs/ablate/{name}.yaml"))
    assert len(cells(config)) == len(config.seeds) * sum(len(row.losses) for row in config.rows)


def test_a_deadline_passes() -> None:
    class Never:
        def is_set(self) -> bool:
            return False

    now = [0.0]
    deadline = Deadline(Never(), 2, lambda: now[0])
    assert not deadline.is_set()
    now[0] = 120.0
    assert deadline.is_set()
    assert not Deadline(Never(), None, lambda: now[0]).is_set()
