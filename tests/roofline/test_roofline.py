"""Counted needs against counts by hand; bounds that follow from ceilings; the command's files."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from streamfuse.errors import UserError
from streamfuse.models import untrained
from streamfuse.roofline import run
from streamfuse.roofline.ceilings import Ceilings, best
from streamfuse.roofline.count import Need, count

THERMAL, OUTPUT = (64, 48), (80, 60)
PIXELS, COUNTS = 80 * 60, 64 * 48


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        return self.layer(torch.cat((thermal, visible), dim=1))


class First(nn.Module):
    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        return thermal


def test_the_least_traffic_is_every_end_and_every_weight_once() -> None:
    ends = COUNTS * 4 + COUNTS * 4 + PIXELS * (8 + 4 + 3 + 3)  # the curve is longer than the image has pixels
    assert count(First(), THERMAL, OUTPUT).least_bytes == ends
    assert count(Convolved(), THERMAL, OUTPUT).least_bytes == ends + 18 * 4


def test_a_convolution_counts_two_operations_for_each_weight_and_pixel() -> None:
    plain, convolved = count(First(), THERMAL, OUTPUT), count(Convolved(), THERMAL, OUTPUT)
    joined = 2 * PIXELS  # values that the concatenation makes
    assert convolved.operations - plain.operations == 2 * 18 * PIXELS + joined
    moved = 4 * (4 * PIXELS + 2 * PIXELS + 18 + PIXELS)
    assert convolved.unfused_bytes - plain.unfused_bytes == moved


def test_a_larger_network_needs_more() -> None:
    needs = [count(untrained(name), THERMAL, OUTPUT) for name in ("average", "streamfuse-s", "streamfuse-q")]
    assert needs[0].operations < needs[1].operations / 10 < needs[2].operations / 10
    assert needs[0].unfused_bytes < needs[1].unfused_bytes < needs[2].unfused_bytes
    assert all(need.least_bytes < need.unfused_bytes for need in needs)


@pytest.mark.parametrize(("operations", "bound_ms", "by"), [(10_000_000, 2.0, "memory"), (30_000_000, 3.0, "compute")])
def test_the_bound_is_the_longer_of_both_times(operations, bound_ms, by) -> None:
    ceiling = Ceilings("cpu", bandwidth=1e9, peaks={"fp32": 1e10})
    told = run.judged(Need(operations, 2_000_000, 9_000_000), 0.01, "fp32", ceiling)
    assert (told["bound_ms"], told["bound_by"]) == (pytest.approx(bound_ms), by)
    assert told["reached"] == pytest.approx(bound_ms / 10)
    assert told["intensity"] == operations / 2_000_000


def test_the_best_round_counts_and_the_first_does_not() -> None:
    rounds = []
    assert best(lambda: rounds.append(1), "cpu", rounds=3) >= 0
    assert len(rounds) == 4


def test_the_command_writes_what_it_says(tmp_path, monkeypatch) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'streamfuse[evaluate]'")
    monkeypatch.setattr(run, "measure", lambda device, threads: Ceilings(device, 1e10, {"fp32": 1e11, "bf16": 2e11}))
    monkeypatch.setattr(run, "SECONDS", 0.0)
    monkeypatch.setattr(run, "ENGINES", ("eager",))
    told = run.run_roofline(["average"], tmp_path, size="64x48", threads=1, console=Console(quiet=True))
    assert [(row["model"], row["engine"]) for row in told["rows"]] == [("average", "eager")]
    assert json.loads((tmp_path / "roofline.json").read_text())["rows"] == told["rows"]
    assert (tmp_path / "roofline.png").stat().st_size > 5000


def test_a_size_that_is_none_is_the_users_mistake(tmp_path) -> None:
    with pytest.raises(UserError, match="--size"):
        run.run_roofline(["average"], tmp_path, size="large", threads=1, console=Console(quiet=True))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out .*file: cannot be made"):
        run.run_roofline(["average"], tmp_path / "file", size="64x48", threads=1, console=Console(quiet=True))


def test_what_ships_without_weights_is_timed_untrained_and_says_so() -> None:
    said = io.StringIO()
    network = run.opened("nestfuse", Console(file=said, width=500))
    assert sum(weight.numel() for weight in network.parameters()) == 2_732_761
    assert "no weights ship with it" in said.getvalue()
    assert "untrained" in said.getvalue()
    with pytest.raises(UserError, match="unknown"):
        run.opened("nestfuze", Console(file=said))
    with pytest.raises(UserError, match=r"gone\.safetensors: no such weights file"):
        run.opened("gone.safetensors", Console(file=said))
