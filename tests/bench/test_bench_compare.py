"""Two runs against each other: noise is no change, a real change is named, unlike runs are refused."""

from __future__ import annotations

import json

import pytest
from bench_results import config, repeat, report
from rich.console import Console

from streamfuse.bench.compare import compare, compare_files, differences
from streamfuse.errors import UserError

QUIET = Console(quiet=True)


def run(*p50, **machine):
    return report([{"result": repeat(value)} for value in p50], **machine)


def verdicts(before, after):
    return {change["metric"]: change["verdict"] for change in compare(before, after)["changes"]}


def write(tmp_path, name, told):
    path = tmp_path / name
    path.write_text(json.dumps(told) + "\n")
    return path


def test_a_run_against_itself_changed_nothing():
    told = compare(run(9, 10, 11), run(9, 10, 11))
    assert (told["better"], told["worse"]) == (0, 0)
    assert {change["verdict"] for change in told["changes"]} == {"within noise"}


def test_a_median_inside_the_others_range_is_noise():
    assert verdicts(run(9, 10, 11), run(10.5, 10.8, 10.9))["p50"] == "within noise"
    assert verdicts(run(10, 10, 10), run(9, 11, 12))["p50"] == "within noise"


def test_beyond_both_ranges_it_changed_and_less_is_better_where_it_is():
    assert verdicts(run(9, 10, 11), run(12, 13, 14))["p50"] == "worse"
    assert verdicts(run(12, 13, 14), run(9, 10, 11))["p50"] == "better"
    slow, fast = run(9, 10, 11), run(9, 10, 11)
    slow["cells"][0]["summary"]["rate"].update(median=20.0, low=19.0, high=21.0)
    assert verdicts(fast, slow)["rate"] == "worse"


def test_single_runs_are_judged_by_their_bootstrap_and_cpu_not_at_all():
    found = verdicts(run(10), run(12))
    assert found["p50"] == "worse"
    assert verdicts(run(10), run(10.3))["p50"] == "within noise"
    assert found["CPU"] == "noise unknown"


def test_cells_of_one_run_only_and_other_software_are_told():
    two = config(cells=[{"model": ["average", "laplacian"]}], protocol={"repeats": 1})
    before = report([{"result": repeat()}, {"result": repeat()}], two)
    after = report([{"result": repeat()}, {"skipped": "why"}], two, commit="def")
    told = compare(before, after)
    assert [key.split()[0] for key in told["only_in_a"]] == ["laplacian"]
    assert told["software"] == {"commit": ["abc", "def"]}


def test_another_machine_or_protocol_is_refused_by_name_unless_asked_for(tmp_path):
    a = write(tmp_path, "a.json", run(9, 10, 11))
    b = write(tmp_path, "b.json", run(9, 10, 11, cpu="Other CPU"))
    with pytest.raises(UserError, match=r"cpu is 'Test CPU' and 'Other CPU'.*--anyway"):
        compare_files(a, b, anyway=False, console=QUIET)
    told = compare_files(a, b, anyway=True, console=QUIET)
    assert told["not_the_same"] == ["cpu is 'Test CPU' and 'Other CPU'"]
    longer = report([{"result": repeat()}], config(protocol={"repeats": 3, "seconds": 60}))
    assert differences(run(10), longer) == ["protocol.seconds is 12.0 and 60.0"]


def test_a_time_limit_alone_makes_no_difference():
    limited = report([{"result": repeat()}], config(protocol={"repeats": 3, "minutes": 5}))
    assert differences(run(10), limited) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{broken", "not JSON"),
        ("[1]", "no result of streamfuse bench"),
        ('{"kind": "other"}', "no result of streamfuse bench"),
        ('{"kind": "streamfuse-bench", "schema": 99}', "measure again"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path, text, said):
    good, bad = write(tmp_path, "a.json", run(10)), tmp_path / "b.json"
    bad.write_text(text)
    with pytest.raises(UserError, match=said):
        compare_files(good, bad, anyway=False, console=QUIET)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.json"):
        compare_files(tmp_path / "nothing.json", tmp_path / "b.json", anyway=False, console=QUIET)
