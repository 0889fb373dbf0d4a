"""The plot of means."""

from __future__ import annotations

from streamfuse.evaluation import plots


def test_a_figure_that_no_image_has_gets_no_panel(tmp_path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(plots, "_panel", lambda axes, column, told, ours: drawn.append((column, dict(told))))
    nan = float("nan")
    means = {"one": {"EN": 6.0, "sky": nan, "hot": nan}, "two": {"EN": 7.0, "sky": nan, "hot": 0.5}}
    plots.plot_means(tmp_path / "means.png", means, ["one"])
    assert drawn == [("EN", {"one": 6.0, "two": 7.0}), ("hot", {"two": 0.5})]
    assert (tmp_path / "means.png").stat().st_size > 1000
