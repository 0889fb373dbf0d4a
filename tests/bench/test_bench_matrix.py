"""Benchmark files: lists become cells, mistakes name their key, what ships can be read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from streamfuse.bench.ask import asked
from streamfuse.bench.jobs import jobs
from streamfuse.bench.matrix import BenchConfig, Cell, cells_of, load_bench, sweep_cells
from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path


def write(tmp_path, text):
    path = tmp_path / "bench.yaml"
    path.write_text(text)
    return path


def test_lists_stand_for_every_combination_and_equal_cells_are_run_once(tmp_path):
    path = write(tmp_path, "cells:\n  - {model: [average, laplacian], subscribers: [0, 1, 8]}\n  - {model: average}\n")
    cells = cells_of(load_bench(path))
    assert len(cells) == 6
    assert {(cell.model, cell.subscribers) for cell in cells} == {
        (model, count) for model in ("average", "laplacian") for count in (0, 1, 8)
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cells:\n  - {modle: average}\n", "did you mean `model`"),
        ("cells:\n  - {size: 640}\n", "`size` = 640"),
        ("cells:\n  - {transport: pigeon}\n", "'ipc', 'tcp', 'curve' or 'thread'"),
        ("cells: []\n", "`cells`"),
        ("protocol: {repeat: 3}\ncells:\n  - {}\n", "did you mean `repeats`"),
        ("cells:\n  - {}\nsweep: {cell: {model: [average, laplacian]}, rates_hz: [10, 20]}\n", "a sweep has one"),
        ("cells:\n  - {}\npeers: {run: [trtexec]}\n", "'trtexec'"),
    ],
)
def test_a_mistake_names_the_key_and_what_is_allowed(tmp_path, text, said):
    with pytest.raises(UserError) as told:
        load_bench(write(tmp_path, text))
    assert said in str(told.value)
    assert "bench.yaml" in str(told.value)


@pytest.mark.parametrize("name", ["quick", "full", "jetson"])
def test_the_shipped_files_can_be_read(name):
    config = load_bench(shipped_path(f"configs/bench/{name}.yaml"))
    assert cells_of(config)
    assert sweep_cells(config)


def test_quick_is_planned_to_end_within_five_minutes_and_may_not_take_longer():
    config = asked(None, full=None, seconds=None, repeats=None)
    assert config.protocol.minutes == 5
    assert sum(job.seconds for job in jobs(config)) <= 5 * 60


def test_full_has_the_frames_that_p999_needs():
    config = asked(None, full=True, seconds=None, repeats=None)
    assert all(config.protocol.seconds * cell.rate_hz >= 10_000 for cell in cells_of(config))
    assert config.protocol.repeats == 5


def test_the_command_line_wins_over_the_file_and_a_file_excludes_full(tmp_path):
    path = write(tmp_path, "protocol: {seconds: 9, repeats: 2}\ncells:\n  - {}\n")
    protocol = asked(path, full=None, seconds=4.0, repeats=None).protocol
    assert (protocol.seconds, protocol.repeats) == (4.0, 2)
    with pytest.raises(UserError, match="name a file, or --quick, or --full"):
        asked(path, full=True, seconds=None, repeats=None)


def test_rgb_is_as_large_as_the_output_where_the_usual_size_is_not():
    assert Cell(size="640x512").rgb == (1280, 720)
    assert Cell(size="1920x1080").rgb == (1920, 1080)
    assert Cell(rgb_size="640x480").rgb == (640, 480)


def test_keys_tell_cells_apart_and_labels_say_what_is_unusual():
    cells = [Cell(), Cell(codec="jpeg"), Cell(threads=2), Cell(subscribers=8), Cell(thermal_size="320x256")]
    assert len({cell.key for cell in cells}) == len(cells)
    assert Cell(model="average").label == "average 640x512 30Hz"
    assert Cell(codec="jpeg", subscribers=0).label == "streamfuse-s 640x512 30Hz jpeg x0"


def test_latency_ends_at_the_consumer_or_without_one_at_the_socket():
    assert Cell(subscribers=1).until == "received"
    assert Cell(subscribers=0).until == "sent"
    assert Cell(subscribers=0, transport="thread").until == "received"


def test_the_first_repeat_of_every_cell_then_peers_and_sweep_then_the_rest():
    config = BenchConfig.model_validate(
        {
            "protocol": {"repeats": 2},
            "cells": [{"model": ["average", "laplacian"]}],
            "peers": {"run": ["plain-1"]},
            "sweep": {"rates_hz": [60, 30]},
        }
    )
    order = [(job.group, job.repeat) for job in jobs(config)]
    assert order == [("cell", 0), ("cell", 0), ("peer", 0), ("sweep", 0), ("sweep", 0), ("cell", 1), ("cell", 1)]
    assert [job.cell.rate_hz for job in jobs(config) if job.group == "sweep"] == [30, 60]


def test_times_must_be_positive():
    with pytest.raises(ValidationError):
        BenchConfig.model_validate({"protocol": {"seconds": 0}, "cells": [{}]})
