"""From answers to the report: medians and noise, what was skipped and why, peers, knee, tables and page."""

from __future__ import annotations

import io

import pytest
from bench_results import config, repeat, report
from rich.console import Console

from streamfuse.bench.knee import Point, knee
from streamfuse.bench.metrics import collected, looked_up
from streamfuse.bench.page import write_page
from streamfuse.bench.report import grids, print_bench


def printed(told) -> str:
    text = io.StringIO()
    print_bench(Console(file=text, width=200), told)
    return text.getvalue()


def test_three_repeats_give_median_and_range():
    p50 = collected([repeat(11.0), repeat(9.0), repeat(10.0)])["p50"]
    assert p50 == {"median": 10.0, "low": 9.0, "high": 11.0, "basis": "range", "repeats": 3}


def test_fewer_repeats_fall_back_on_the_bootstrap_and_say_where_nothing_is_known():
    found = collected([repeat(10.0, spread=0.5), repeat(12.0, spread=0.25)])
    assert (found["p50"]["low"], found["p50"]["high"], found["p50"]["basis"]) == (9.5, 12.25, "bootstrap")
    assert (found["CPU"]["low"], found["CPU"]["basis"]) == (None, "none")
    assert "p99" not in found


def test_a_path_into_nothing_is_none():
    assert looked_up({"a": {"b": 1}}, "a/b") == 1
    assert looked_up({"a": None}, "a/b") is None
    assert looked_up({}, "a") is None


def test_a_skipped_cell_stands_in_the_table_with_its_reason():
    settings = config(cells=[{"model": ["average", "laplacian"]}], protocol={"repeats": 1})
    told = report([{"result": repeat()}, {"skipped": "no weights here"}], settings)
    assert [cell["status"] for cell in told["cells"]] == ["measured", "skipped"]
    assert told["error"] is None
    text = printed(told)
    assert "laplacian 640x512 30Hz" in text
    assert "skipped: no weights here" in text


def test_what_the_engine_says_of_its_inside_has_a_table_of_its_own():
    inside = {"upload": {"p50": 0.05}, "compute": {"p50": 0.3}, "download": {"p50": None}}
    settings = config(cells=[{"model": ["average", "laplacian"]}], protocol={"repeats": 1})
    text = printed(report([{"result": repeat(inside_ms=inside)}, {"result": repeat()}], settings))
    (line,) = [line for line in text.partition("inside the stage")[2].splitlines() if "upload 0.05" in line]
    assert "compute 0.3" in line
    assert "download" not in line
    assert "inside the stage" not in printed(report([{"result": repeat()}]))


def test_what_was_interrupted_or_failed_is_not_called_skipped():
    settings = config(cells=[{"model": ["average", "laplacian"]}], protocol={"repeats": 1})
    told = report([{"stopped": "interrupted"}, {"failed": "it broke"}], settings)
    assert [cell["status"] for cell in told["cells"]] == ["stopped", "failed"]
    assert "no cell could be measured" in told["error"]


def test_figures_that_cannot_be_trusted_make_the_run_fail_and_are_named():
    told = report([{"result": repeat(faults=["the stages do not add up"])}])
    assert "the stages do not add up" in told["error"]
    assert "not to be trusted" in printed(told)


def test_peers_are_held_against_the_first_cell():
    settings = config(peers={"run": ["plain-1", "gstreamer"]}, protocol={"repeats": 1})
    plain = {**repeat(), "label": "plain loop", "latency_ends": "the socket", "cpu_ms_per_frame": 30.0}
    told = report([{"result": repeat(cpu=12.0)}, {"result": plain}, {"skipped": "GStreamer is not here"}], settings)
    assert told["ratios"] == {"plain-1": 2.5}
    text = printed(told)
    assert "2.5x" in text
    assert "GStreamer is not here" in text


def test_throttling_is_shouted():
    hot = {"throttled": ["hardware thermal limit"]}
    assert "THROTTLED: average 640x512 30Hz: hardware thermal limit" in printed(report([{"result": repeat(gpu=hot)}]))


@pytest.mark.parametrize(
    ("points", "held"),
    [
        ([(30, 10, 0), (60, 15, 0.5), (90, 40, 0)], 60),  # p95 more than doubles
        ([(30, 10, 0), (60, 11, 3), (90, 10, 0)], 30),  # frames are lost; a lucky higher rate does not count
        ([(30, 10, 0), (60, 20, 1.0)], 60),
        ([(30, 10, 5), (60, 10, 0)], None),
        ([(30, None, 0)], None),
        ([(30, 10, 0), (60, None, 0)], 30),
        ([], None),
    ],
)
def test_the_knee_is_the_last_rate_that_holds_from_below(points, held):
    assert knee([Point(rate, p95, p95, lost) for rate, p95, lost in points]) == held


def test_the_sweep_tells_its_knee_and_the_rates_that_were_left_out():
    settings = config(sweep={"rates_hz": [30, 60, 90]}, protocol={"repeats": 1})
    answers = [repeat(), repeat(10.0), repeat(10.0), repeat(50.0, lost=40.0)]
    told = report([{"result": answer} for answer in answers], settings)
    assert told["sweep"]["knee_hz"] == 60
    assert "holds up to 60 Hz" in printed(told)
    short = report([{"result": answer} for answer in answers[:3]], settings)
    assert short["sweep"]["skipped"] == {"90": "interrupted before it began"}


def test_the_page_holds_every_table_and_escapes_what_it_shows(tmp_path):
    settings = config(cells=[{"model": ["average", "laplacian"]}], protocol={"repeats": 1})
    told = report([{"result": repeat()}, {"skipped": "<script>x</script>"}], settings)
    picture = tmp_path / "one.png"
    picture.write_bytes(b"\x89PNG")
    page = write_page(told, [picture], tmp_path / "report.html").read_text()
    assert all(grid.title in page for grid in grids(told))
    assert "<script>" not in page
    assert "data:image/png;base64,iVBORw==" in page
    assert "name='viewport'" in page
    assert page.count("<div class='wide'><table>") == page.count("<table>"), "a wide table makes a phone's page wide"
