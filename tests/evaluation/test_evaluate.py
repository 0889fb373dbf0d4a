"""Files to figures: what belongs together, what is refused and how, tables, pictures, and the command."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from rich.console import Console

from streamfuse.__main__ import main
from streamfuse.errors import UserError
from streamfuse.evaluation.cases import open_cases
from streamfuse.evaluation.evaluate import evaluate_files, evaluate_pairs
from streamfuse.evaluation.fidelity import vif
from streamfuse.evaluation.grey import as_grey
from streamfuse.evaluation.scores import COLUMNS, FIELD, as_tensor, means, scores
from streamfuse.evaluation.sheet import coloured, contact_sheet
from streamfuse.evaluation.structure import ms_ssim, ssim

SIZE = (60, 64)


def picture(seed, channels=0):
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, channels) if channels else (6, 6))
    return cv2.resize(coarse.astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def fill(folder, names, make):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        cv2.imwrite(str(folder / f"{name}.png"), make(seed))
    return folder


@pytest.fixture
def folders(tmp_path):
    """Three pairs: thermal a1t .. a3t, visible a1v .. a3v in colour."""
    numbers = range(1, 4)
    thermal = fill(tmp_path / "ir", [f"a{n}t" for n in numbers], picture)
    visible = fill(tmp_path / "vi", [f"a{n}v" for n in numbers], lambda seed: picture(seed + 50, 3))
    return thermal, visible


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80)


def judge(paths, out, console, **options):
    return evaluate_files(paths, out, device="cpu", console=console, **options)


def test_scores_has_every_column_and_takes_bytes_floats_and_colour():
    fused, thermal, visible = picture(1), picture(2), picture(3, 3)
    row = scores(fused, thermal, visible)
    assert tuple(row) == COLUMNS
    same = scores(fused.astype(np.float32) + 0.3, thermal.astype(float), as_grey(visible))
    assert row == pytest.approx(same, nan_ok=True)
    bits = scores(fused, thermal, visible, mi_unit="bits")
    assert bits["MI"] == pytest.approx(row["MI"] / math.log(2))
    assert row["VIFmin"] < row["VIF"] / 2


def test_figures_of_both_sources_are_summed_or_averaged_as_asked():
    triple = picture(1), picture(2), picture(3, 3)
    tables, summed, mean = (scores(*triple, over=over) for over in (None, "sum", "mean"))
    f, t, v = (as_tensor(as_grey(image), "cpu") for image in triple)
    for over, row in (("sum", summed), ("mean", mean)):
        assert row["VIF"] == pytest.approx(vif(f, t, v, over).item())
        assert row["SSIM"] == pytest.approx(ssim(f, t, v, over=over).item())
        assert row["SSIM255"] == pytest.approx(ssim(f, t, v, 255.0, over).item())
        assert row["MSSSIM"] == pytest.approx(ms_ssim(f, t, v, over).item())
    changed = {name for name in COLUMNS if summed[name] != mean[name] and not math.isnan(mean[name])}
    assert changed == {"VIF", "SSIM", "SSIM255", "MSSSIM"}
    assert (tables["VIF"], tables["SSIM"]) == (summed["VIF"], summed["SSIM"])
    assert (tables["SSIM255"], tables["MSSSIM"]) == (mean["SSIM255"], mean["MSSSIM"])


@pytest.mark.parametrize(
    ("images", "found"),
    [
        ((picture(1), picture(2)[:-1], picture(3)), "differ in size"),
        ((picture(1).astype(np.int16), picture(2), picture(3)), "int16"),
        ((picture(1)[:30], picture(2)[:30], picture(3)[:30]), "41 x 41"),
        ((picture(1)[None], picture(2), picture(3)), "shape"),
    ],
)
def test_scores_refuses_what_it_cannot_judge(images, found):
    with pytest.raises(ValueError, match=found):
        scores(*images)


def test_means_leave_out_images_without_the_figure():
    nan = float("nan")
    told = means([{"hot": 1.0, "flat": nan}, {"hot": nan, "flat": nan}])
    assert told["hot"] == 1
    assert math.isnan(told["flat"])


def test_evaluate_pairs_keeps_rows_by_name():
    triples = [(name, picture(seed), picture(7), picture(8)) for seed, name in enumerate("ab")]
    judged = evaluate_pairs(triples)
    assert judged.names == ("a", "b")
    assert judged.rows[1] == pytest.approx(scores(*triples[1][1:]), rel=0, abs=0, nan_ok=True)
    assert judged.means["SD"] == pytest.approx((judged.rows[0]["SD"] + judged.rows[1]["SD"]) / 2)
    with pytest.raises(ValueError, match="nothing"):
        evaluate_pairs([])


def test_a_model_is_run_on_the_pairs_and_equals_its_own_files(folders, tmp_path, console):
    cases = list(open_cases(folders, ["average"]))
    made = tmp_path / "average"
    made.mkdir()
    for case in cases:
        cv2.imwrite(str(made / f"{case.name}.png"), case.fused["average"])
    told = judge([made, *folders], tmp_path / "out", console, models=["average"])
    assert told["means"]["average (files)"] == told["means"]["average"]
    assert told["pairs"] == 3


def test_fused_images_of_other_names_are_taken_in_their_order_where_there_are_as_many(folders, tmp_path):
    cases = open_cases([fill(tmp_path / "mine", ["x10", "x9", "x8"], picture), *folders], [])
    assert [np.array_equal(as_grey(case.fused["mine"]), picture(2 - k)) for k, case in enumerate(cases)] == [True] * 3
    assert "in their order" in cases.warnings[0]


def test_fused_images_may_be_called_like_the_thermal_ones_and_are_found_in_any_order(folders, tmp_path):
    fused = fill(tmp_path / "mine", ["a3t", "a1t"], lambda seed: np.full(SIZE, seed + 90, np.uint8))
    cases = open_cases([fused, *folders], [])
    told = {case.name: (int(case.fused["mine"].max()), case.thermal) for case in cases}
    assert list(told) == ["a1v", "a3v"]
    assert [level for level, _ in told.values()] == [91, 90]
    assert np.array_equal(told["a3v"][1], picture(2))
    assert cases.warnings == ("not judged, for want of a fused image: 1 of 3 pairs",)


def test_weights_are_called_by_their_stem_and_by_their_path_where_stems_repeat(folders, tmp_path):
    from streamfuse.models import untrained
    from streamfuse.models.weights import IdentityCard, parameters, save_weights

    network = untrained("res2fusion")
    paths = [tmp_path / name / "net.safetensors" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        save_weights(path, network, IdentityCard(model="res2fusion", parameters=parameters(network)))
    assert open_cases(folders, [str(paths[0])]).labels == ("net",)
    assert open_cases(folders, ["average", f"{paths[0]}:coarse"]).labels == ("average", "net:coarse")
    assert open_cases(folders, [str(path) for path in paths]).labels == tuple(str(path) for path in paths)


def test_sixteen_bit_thermal_goes_through_the_tone_curve(folders, tmp_path):
    deep = fill(tmp_path / "raw", ["a1t", "a2t", "a3t"], lambda seed: picture(seed).astype(np.uint16) * 20 + 7000)
    thermal = next(iter(open_cases([deep, folders[1]], ["average"]))).thermal
    assert thermal.dtype == np.uint8
    assert np.corrcoef(thermal.ravel(), picture(0).ravel())[0, 1] > 0.9
    assert np.ptp(thermal) > 150


def wrong_size(thermal, visible):
    cv2.imwrite(str(visible / "a2v.png"), picture(9, 3)[:-2])


def lone(thermal, visible):
    (visible / "a2v.png").unlink()


def empty(thermal, visible):
    for file in thermal.iterdir():
        file.unlink()


def unreadable(thermal, visible):
    file = thermal / "a2t.png"
    file.write_bytes(file.read_bytes()[:200])


def small(thermal, visible):
    for folder in (thermal, visible):
        for file in folder.iterdir():
            cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:30])


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (wrong_size, "a2v: .*thermal 64x60, visible 64x58"),
        (lone, "1 thermal image has no visible partner: a2t"),
        (empty, "no image"),
        (unreadable, "a2t.png: the file is cut off"),
        (small, "41 x 41"),
    ],
)
def test_bad_input_is_told(spoil, found, folders, tmp_path, console):
    spoil(*folders)
    with pytest.raises(UserError, match=found):
        judge(folders, tmp_path / "out", console, models=["average"])


def test_bad_requests_are_told(folders, tmp_path, console):
    out = tmp_path / "out"
    for paths, options, found in (
        (folders, {}, "at least one --model"),
        (folders[:1], {"models": ["average"]}, "found 1 paths"),
        ((tmp_path / "gone", *folders), {}, "gone: not found"),
        (folders, {"models": ["averag"]}, "did you mean 'average'"),
        (folders, {"models": ["average"], "in_time": True, "peer_set": "TNO"}, "--peers"),
        ((fill(tmp_path / "other", ["b7"], picture), *folders), {}, "1 fused image .*other has no pair: b7"),
    ):
        with pytest.raises(UserError, match=found):
            judge(paths, out, console, **options)
    one = [next(folder.iterdir()) for folder in folders]
    with pytest.raises(UserError, match="found 1 frame"):
        judge(one, out, console, models=["average"], in_time=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        judge(folders, tmp_path / "file" / "out", console, models=["average"])


def test_tables_and_pictures(folders, tmp_path, console):
    told = judge(folders, tmp_path / "out", console, models=["average", "laplacian"], peer_set="TNO")
    with (tmp_path / "out/scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["image"]) for row in rows[:4]] == [
        *(("average", f"a{n}v") for n in (1, 2, 3)),
        ("laplacian", "a1v"),
    ]
    assert float(rows[0]["SD"]) > 0
    with (tmp_path / "out/means.csv").open() as file:
        table = {row["method"]: row for row in csv.DictReader(file)}
    assert float(table["average"]["SCD"]) == pytest.approx(told["means"]["average"]["SCD"], rel=1e-5)  # not the peers'
    assert table["SeAFusion"]["SCD"] == "1.685"
    assert table["SeAFusion"]["hot"] == ""
    text = console.file.getvalue()
    assert "SeAFusion" in text
    assert "not of the same ones" in text
    sheet = cv2.imread(told["files"]["sheet"])
    assert sheet.shape[1] > 4 * 240
    assert cv2.imread(told["files"]["plot"]) is not None


def test_a_sequence_is_judged_beside_its_sources(folders, tmp_path, console):
    told = judge(folders, tmp_path / "out", console, models=["laplacian"], in_time=True)
    assert list(told["means"]) == ["thermal alone", "visible alone", "average", "pixel maximum", "laplacian"]
    assert set(told["means"]["laplacian"]) == {"WE", "dMean", "flowD"}
    rows = (tmp_path / "out/scores.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 * 2


def test_without_matplotlib_there_is_a_note_and_no_plot(folders, tmp_path, console, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "streamfuse.evaluation.plots", raising=False)
    told = judge(folders, tmp_path / "out", console, models=["average"])
    assert "plot" not in told["files"]
    assert "streamfuse[evaluate]" in console.file.getvalue()


def test_a_contact_sheet_shows_every_image_under_its_label():
    red = np.zeros((40, 80, 3), np.uint8)
    red[..., 0] = 255
    sheet = contact_sheet([[np.full((40, 80), 90, np.uint8), red], [red, red]], ["grey", "red"], ["one", "two"])
    assert sheet.shape[2] == 3
    share = [(sheet == colour).all(2).mean() for colour in ((90, 90, 90), (255, 0, 0))]
    assert share[1] == pytest.approx(3 * share[0], rel=0.05)
    with pytest.raises(ValueError, match="2 images: a, b"):
        contact_sheet([[red]], ["a", "b"])


def test_grey_fused_images_are_shown_in_the_visible_colours():
    visible = picture(4, 3)
    assert np.array_equal(coloured(as_grey(visible), visible), visible)
    brighter = coloured(as_grey(visible) // 2, visible)
    assert brighter.shape == visible.shape
    assert coloured(visible, picture(5, 3)) is visible


def test_the_command_ends_with_one_json_line(folders, tmp_path):
    command = [sys.executable, "-m", "streamfuse", "evaluate", *map(str, folders), "--out", str(tmp_path / "out")]
    command += ["--model", "average", "--over", "mean", "--peers", "TNO", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    beside = {row["method"]: row for row in csv.DictReader((tmp_path / "out/means.csv").open())}
    assert (told["over"], beside["SeAFusion"]["VIF"], beside["SeAFusion"]["MI"]) == ("mean", "0.3", "1.782")
    assert set(told["means"]["average"]) >= set(FIELD)
    assert told["mi_unit"] == "nats"


def test_the_command_tells_bad_input_in_one_line_and_ends_with_2(folders, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["streamfuse", "evaluate", *map(str, folders)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--model" in capsys.readouterr().err


def test_figures_below_a_panel_stand_apart():
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from streamfuse.evaluation.plots import PANEL_WIDTH, _panel

    figure = Figure(figsize=(PANEL_WIDTH, 3), dpi=110, layout="constrained")
    axes = figure.subplots()
    _panel(axes, "MSSSIM", {"streamfuse-s": 0.660, "average": 0.689, "Laplacian pyramid": 0.533}, {"average"})
    FigureCanvasAgg(figure).draw()
    low, high = axes.get_xlim()
    shown = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in shown]
    assert len(boxes) >= 3
    assert all(box.x0 - before.x1 > 5 for before, box in itertools.pairwise(boxes))
