"""Sidecar files and pairing by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfuse.errors import UserError
from streamfuse.sources.pairing import pair_by_names
from streamfuse.sources.recording_folder import natural_key
from streamfuse.sources.timestamps import even_times_ns, find_sidecar, read_sidecar, typical_period_ns

CSV = "frame,time_ns,temperature\n0,100,20.5\n1,250,20.6\n2,300,20.7\n"


def sidecar(tmp_path: Path, text: str, ending: str = "csv") -> Path:
    path = tmp_path / f"times.{ending}"
    path.write_text(text)
    return path


def test_rows_are_found_by_index_in_any_order(tmp_path: Path) -> None:
    shuffled = "frame,time_ns\n2,300\n0,100\n1,250\n"
    names = ["000000", "000001", "000002"]
    assert read_sidecar(sidecar(tmp_path, CSV), names).times_ns == (100, 250, 300)
    assert read_sidecar(sidecar(tmp_path, shuffled), names).times_ns == (100, 250, 300)


def test_rows_are_found_by_name_and_unused_ones_counted(tmp_path: Path) -> None:
    path = sidecar(
        tmp_path,
        '{"frame": "b", "time_ns": 7}\n\n{"frame": "a", "time_ns": 3}\n{"frame": "c", "time_ns": 9}\n',
        "jsonl",
    )
    read = read_sidecar(path, ["a", "b"])
    assert (read.times_ns, read.unused) == ((3, 7), 1)


def test_times_keep_every_nanosecond(tmp_path: Path) -> None:
    path = sidecar(tmp_path, '{"frame": 0, "time_ns": 1700000000123456789}', "jsonl")
    assert read_sidecar(path, ["x"]).times_ns == (1_700_000_000_123_456_789,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be a header"),
        ("number,time\n0,1\n", r"line 1 must be a header with the columns frame,time_ns; found \['number,time'\]"),
        ("frame,time_ns\n0,100\n1,soon\n2,300\n", "line 3 is '1,soon'"),
        ("frame,time_ns\n0,100\n1,1.5\n2,300\n", "line 3 is '1,1.5'"),
        ("frame,time_ns\n0,100\n1\n2,300\n", "line 3 is '1'"),
        ("frame,time_ns\n0,100\n1,250\n", "3 frames, 2 rows, and no row for frame 000002;"),
        ("frame,time_ns\n7,100\n", "no row for frame 000000 and 2 more;"),
        ("frame,time_ns\n0,100\n1,100\n2,300\n", "line 3: frame 1 at 100 ns is not later than frame 0 at 100 ns"),
        ("frame,time_ns\n0,100\n1,250\n1,260\n2,300\n", "frame 1 stands in line 3 and again in line 4"),
    ],
)
def test_a_bad_csv_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sidecar(sidecar(tmp_path, text), ["000000", "000001", "000002"])


@pytest.mark.parametrize(
    "row", ["{", "[1, 2]", '{"frame": 0}', '{"frame": 0, "time_ns": 1.5}', '{"frame": 0, "time_ns": true}']
)
def test_a_bad_jsonl_row_names_the_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(UserError, match="line 1 is"):
        read_sidecar(sidecar(tmp_path, row, "jsonl"), ["000000"])


def test_a_sidecar_that_is_no_text_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "times.csv", tmp_path / "nowhere.csv"):
        with pytest.raises(UserError, match="the times cannot be read"):
            read_sidecar(path, ["0"])


def test_sidecars_are_found_beside_and_inside(tmp_path: Path) -> None:
    (tmp_path / "ir").mkdir()
    assert find_sidecar(tmp_path / "ir") is None
    beside = sidecar(tmp_path, CSV).rename(tmp_path / "ir.times.csv")
    assert find_sidecar(tmp_path / "ir") == beside
    assert find_sidecar(tmp_path / "ir.mp4") == beside
    inside = sidecar(tmp_path, CSV, "jsonl").rename(tmp_path / "ir" / "times.jsonl")
    assert find_sidecar(tmp_path / "ir") == inside


def test_period_ignores_gaps() -> None:
    assert typical_period_ns([0, 33, 67, 100, 300, 333], otherwise_ns=1) == 33
    assert typical_period_ns([5], otherwise_ns=40) == 40
    assert even_times_ns([0, 1, 3], 30.0) == (0, 33_333_333, 100_000_000)


def test_same_names_pair_and_a_missing_partner_leaves_a_gap() -> None:
    ranks = pair_by_names(["001", "002", "004"], ["001", "003", "004"])
    assert (ranks.thermal, ranks.rgb) == ((0, 1, 3), (0, 2, 3))
    assert ranks.warnings == (
        "1 thermal image has no visible partner: 002",
        "1 visible image has no thermal partner: 003",
    )


@pytest.mark.parametrize(
    ("thermal", "rgb"),
    [
        (["00001i", "00003i"], ["00001v", "00002v", "00003v"]),
        (["ir_1", "ir_3"], ["vi_1", "vi_2", "vi_3"]),
        (["a1_ir", "a3_ir"], ["a1_vis", "a2_vis", "a3_vis"]),
        (["x.1.thermal", "x.3.thermal"], ["x.1.rgb", "x.2.rgb", "x.3.rgb"]),
        (["FLIR1_T", "FLIR3_T"], ["FLIR1_RGB", "FLIR2_RGB", "FLIR3_RGB"]),
        (["i001", "i003"], ["v001", "v002", "v003"]),
    ],
)
def test_words_for_the_modality_do_not_count(thermal: list[str], rgb: list[str]) -> None:
    ranks = pair_by_names(thermal, rgb)
    assert (ranks.thermal, ranks.rgb) == ((0, 2), (0, 1, 2))
    assert len(ranks.warnings) == 1


def test_without_common_names_order_pairs_and_says_so() -> None:
    ranks = pair_by_names([f"t{i}a" for i in range(7)], ["x", "y"])
    assert (ranks.thermal, ranks.rgb) == (tuple(range(7)), (0, 1))
    assert ranks.warnings == (
        "no common names (thermal t0a, visible x): images are paired by their order",
        "5 thermal images have no visible partner: t2a, t3a, t4a and 2 more",
    )


@given(st.lists(st.integers(0, 300), unique=True, min_size=1), st.lists(st.integers(0, 300), unique=True, min_size=1))
def test_equal_rank_means_equal_name(thermal: list[int], rgb: list[int]) -> None:
    stems = [sorted((f"f{number}" for number in numbers), key=natural_key) for numbers in (thermal, rgb)]
    ranks = pair_by_names(*stems)
    assert list(ranks.thermal) == sorted(set(ranks.thermal))
    if set(thermal) & set(rgb):
        name_of = dict(zip(ranks.thermal, stems[0], strict=True))
        shared = {(name_of[rank], stem) for rank, stem in zip(ranks.rgb, stems[1], strict=True) if rank in name_of}
        assert shared == {(f"f{number}", f"f{number}") for number in set(thermal) & set(rgb)}
