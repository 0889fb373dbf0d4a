"""The referee repeats the trivial rows of the peers' table to the printed digit, on the files they were made on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamfuse.evaluation.cases import open_cases
from streamfuse.evaluation.grey import as_grey
from streamfuse.evaluation.peers import SETS, TABLE, peers
from streamfuse.evaluation.scores import FIELD, field_scores, means

BENCHMARK = Path(__file__).resolve().parents[3] / "shared" / "data" / "benchmark"


def printed(set_name):
    """The table's cells as they stand in the file, so that their digits count."""
    head, *lines = [line.split(",") for line in TABLE.read_text().splitlines()]
    return {line[2]: dict(zip(head[3:], line[3:], strict=True)) for line in lines if line[0] == set_name}


def trivial(case):
    visible = as_grey(case.visible)
    return {
        "average": case.fused["average"],
        "pixel maximum": np.maximum(case.thermal, visible),
        "visible alone": visible,
        "thermal alone": case.thermal,
    }


def test_trivial_rows_of_tno():
    folder = BENCHMARK / "TNO"
    if not folder.exists():
        pytest.skip(f"shared data not here: {folder}")
    judged = {}
    for case in open_cases([folder / "ir", folder / "vis"], ["average"]):
        for method, fused in trivial(case).items():
            row = field_scores(fused, case.thermal, as_grey(case.visible), device="cpu")
            judged.setdefault(method, []).append(row)
    assert len(judged["average"]) == peers("TNO").pairs == 8
    for method, rows in judged.items():
        for column, cell in printed("TNO")[method].items():
            digits = len(cell.split(".")[1])
            assert f"{means(rows)[column]:.{digits}f}" == cell, (method, column)


@pytest.mark.parametrize("set_name", SETS)
def test_every_set_has_the_same_peers_with_every_figure_of_the_field(set_name):
    rows = peers(set_name).rows
    assert len(rows) == 16
    assert list(rows) == list(peers("TNO").rows)
    assert all(tuple(row) == FIELD for row in rows.values())


def test_peers_follow_the_convention_that_is_asked_for():
    nats, bits = peers("MSRS").rows["SAGE"], peers("MSRS", "bits").rows["SAGE"]
    assert bits["MI"] == pytest.approx(nats["MI"] * 1.442695)
    assert {**bits, "MI": 0} == {**nats, "MI": 0}
    summed, mean = (peers("MSRS", over=over).rows["SAGE"] for over in ("sum", "mean"))
    assert (summed["VIF"], summed["SSIM255"]) == (nats["VIF"], 2 * nats["SSIM255"])
    assert (mean["VIF"], mean["MSSSIM"], mean["MI"]) == (nats["VIF"] / 2, nats["MSSSIM"], nats["MI"])
    with pytest.raises(KeyError):
        peers("LLVIP")
