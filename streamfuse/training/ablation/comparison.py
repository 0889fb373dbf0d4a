"""The arithmetic of an ablation: means and deviations over seeds, and a paired test over images.

The test asks whether the images tell two losses apart: per image the difference of both, averaged over seeds, and
then how often its mean would be as large if each difference had its sign by chance (a sign-flip permutation test,
two-sided: Fisher, The Design of Experiments, 1935, chapter 3; all flips for up to 14 images, else 20 000 drawn with a
fixed seed). It needs no normal distribution. It speaks of these trainings on other images of the same kind; what
another seed would do is told by the deviation over seeds and by how many seeds agree. p is not corrected for the
number of metrics looked at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamfuse.training.ablation.results import Result

EXACT = 14
FLIPS = 20_000

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one loss on one test: mean over images, then mean and deviation of that over seeds.

    Against the row's first loss, over the seeds that both have: `change` of the mean in per cent, `p` of the paired
    test, and in how many of the `shared` seeds the mean rose; nan and 0 for the first loss itself.
    """

    row: str
    loss: str
    test: str
    metric: str
    mean: float
    deviation: float
    seeds: int
    images: int
    change: float = math.nan
    p: float = math.nan
    rose: int = 0
    shared: int = 0


def compare(results: Sequence[Result], references: Mapping[str, str]) -> list[Line]:
    """Every line of the table, in the order of `results`; `references`: row -> the loss others are compared with."""
    lines: list[Line] = []
    for row in dict.fromkeys(result.row for result in results):
        of_row = [result for result in results if result.row == row]
        losses = list(dict.fromkeys(result.loss for result in of_row))
        for test in of_row[0].tests:
            for loss in losses:
                lines += _lines(of_row, test, loss, references.get(row))
    return lines


def _lines(results: Sequence[Result], test: str, loss: str, first: str | None) -> list[Line]:
    own = {result.seed: result.tests[test] for result in results if result.loss == loss}
    other = {result.seed: result.tests[test] for result in results if result.loss == first and loss != first}
    metrics = list(next(iter(next(iter(own.values())).values())))
    return [_line(results[0].row, loss, test, metric, own, other) for metric in metrics]


Images = Mapping[str, Mapping[str, float]]


def _line(row: str, loss: str, test: str, metric: str, own: Mapping[int, Images], other: Mapping[int, Images]) -> Line:
    values = _table(own, metric, sorted(own))
    means = nanmean(values, axis=1)
    deviation = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    plain = Line(row, loss, test, metric, float(means.mean()), deviation, len(own), values.shape[1])
    shared = sorted(own.keys() & other.keys())
    if not shared:
        return plain
    now, before = _table(own, metric, shared), _table(other, metric, shared)
    apart = nanmean(now - before, axis=0)
    changes = nanmean(now, axis=1) - nanmean(before, axis=1)
    base = float(nanmean(before, axis=1).mean())
    return Line(
        row=row,
        loss=loss,
        test=test,
        metric=metric,
        mean=plain.mean,
        deviation=deviation,
        seeds=plain.seeds,
        images=plain.images,
        change=100 * float(changes.mean()) / abs(base) if base else math.nan,
        p=paired_p(apart[~np.isnan(apart)]),
        rose=int((changes > 0).sum()),
        shared=len(shared),
    )


def paired_p(differences: Doubles) -> float:
    """How likely a mean as far from 0 is, were every sign a matter of chance; nan for no difference to look at."""
    count = len(differences)
    if not count:
        return math.nan
    if count <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)), dtype=np.float64)
        certain = 0
    else:
        signs = np.where(np.random.default_rng(0).random((FLIPS, count)) < 0.5, -1.0, 1.0)
        certain = 1  # the flips as they are count as drawn, so that p is never 0
    sums: Doubles = np.abs(signs @ differences)
    as_far = int((sums >= abs(float(differences.sum())) * (1 - 1e-12)).sum())
    return (as_far + certain) / (len(sums) + certain)


def nanmean(values: Doubles, axis: int) -> Doubles:
    """Mean along `axis` of what is a number; nan, without a warning, where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _table(results: Mapping[int, Images], metric: str, seeds: Sequence[int]) -> Doubles:
    """Seeds x images."""
    return np.array([[row[metric] for row in results[seed].values()] for seed in seeds], dtype=np.float64)
