"""Targets: their points, their files, and pages that show what the detector finds."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from printed import PX_PER_MM, rendered

from streamfuse.calibrate.detect import detect
from streamfuse.calibrate.detect.tags import tag_count
from streamfuse.calibrate.outline import outlines
from streamfuse.calibrate.printing import Circle, Outline, lay_out, spelled, to_pdf, to_svg, write_page
from streamfuse.calibrate.target import Target, parse_target
from streamfuse.calibrate.target_file import read_target, write_target
from streamfuse.errors import UserError

TARGETS = [
    "checkerboard:7x5:20",
    "circles:4x11:12",
    "charuco:6x5:30",
    "aprilgrid:4x3:39:30",
    "aruco:4x3:40:30:DICT_ARUCO_ORIGINAL:1",
]


@pytest.mark.parametrize("text", TARGETS)
def test_what_is_printed_is_found_where_it_was_printed(text):
    target = parse_target(text)
    page = lay_out(target, "A3")
    sighting = detect(rendered(page), target)
    assert sighting is not None
    assert len(sighting.indices) == len(target.points_m)
    printed = (target.points_m[sighting.indices, :2] * 1000 + page.origin) * PX_PER_MM - 0.5
    assert np.abs(sighting.pixels - printed).max() < 0.2  # drawing rounds places to an eighth of a pixel
    assert sighting.quality.min() > 0.5


@pytest.mark.parametrize("text", TARGETS)
def test_a_target_survives_its_file_and_its_own_spelling(text, tmp_path):
    target = parse_target(text)
    write_target(tmp_path / "target.yaml", target)
    assert read_target(tmp_path / "target.yaml") == target
    assert parse_target(str(tmp_path / "target.yaml")) == target
    again = parse_target(spelled(target))
    assert np.allclose(again.points_m, target.points_m, atol=1e-6)


def test_kalibrs_april_grid_counts_from_the_lower_left():
    target = Target("aprilgrid", columns=6, rows=5, spacing_m=0.0715, marker_m=0.055)
    points = target.points_m.reshape(30, 4, 3)
    assert np.allclose(points[0, 0], [0, 4 * 0.0715, 0])
    assert np.allclose(points[29, 2], [5 * 0.0715 + 0.055, 0.055, 0])


def test_an_asymmetric_grid_has_opencvs_points():
    points = parse_target("circles:4x11:20").points_m
    assert np.allclose(points[:5] * 1000, [[0, 0, 0], [40, 0, 0], [80, 0, 0], [120, 0, 0], [20, 20, 0]])


def test_svg_and_pdf_are_of_the_papers_size_and_hold_every_shape(tmp_path):
    page = lay_out(parse_target("circles:4x11:15"), "A3")
    svg, pdf = to_svg(page), to_pdf(page)
    assert 'width="297mm" height="420mm"' in svg
    assert svg.count("<circle") == 44
    assert "100 mm" in svg
    assert "circles:4x11:15" in svg
    box = re.search(rb"MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert box
    assert [float(side) for side in box.groups()] == pytest.approx([297 / 25.4 * 72, 420 / 25.4 * 72], abs=0.01)
    start = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    assert pdf[start : start + 4] == b"xref"
    write_page(tmp_path / "deep" / "target.pdf", page)
    assert (tmp_path / "deep" / "target.pdf").read_bytes() == pdf


@pytest.mark.parametrize("text", ["charuco:6x5:30", "aprilgrid:4x3:39:30"])
def test_each_tag_is_one_shape_without_hairlines_between_its_bits(text):
    target = parse_target(text)
    page = lay_out(target, "A3")
    assert sum(isinstance(shape, Outline) for shape in page.shapes) == tag_count(target)
    assert to_svg(page).count("<path") == tag_count(target)
    assert zlib.decompress(to_pdf(page).split(b"stream\n")[1]).count(b" f*") == tag_count(target)


def test_outlines_go_around_the_dark_cells_and_their_holes():
    assert outlines(np.ones((2, 3), bool)) == [((0, 0), (3, 0), (3, 2), (0, 2))]
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(map(len, outlines(ring))) == [4, 4]
    assert outlines(np.zeros((2, 2), bool)) == []
    touching = np.eye(2, dtype=bool)
    assert sum(map(len, outlines(touching))) == 8


def test_holes_are_outlines_to_cut():
    assert all(
        shape.cut
        for shape in lay_out(parse_target("circles:4x11:15"), cut_out=True).shapes
        if isinstance(shape, Circle)
    )
    with pytest.raises(UserError, match="fall apart"):
        lay_out(parse_target("checkerboard:7x5:20"), cut_out=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chess:7x5:20", "kind 'chess' is unknown"),
        ("checkerboard:7:20", "cannot be read"),
        ("checkerboard:2x5:20", "at least 3x3"),
        ("aruco:3x4:20:30", "do not fit"),
        ("aruco:30x40:20:15:DICT_4X4_50", "has 50"),
        ("nowhere.yaml", "no such target file"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_the_reason(text, words):
    with pytest.raises(UserError, match=words):
        lay_out(parse_target(text), "A0")


def test_a_target_too_large_for_the_paper_says_what_fits():
    with pytest.raises(UserError, match=r"does not fit A4; take larger paper, or --spacing-mm (\d+)") as caught:
        lay_out(parse_target("checkerboard:9x6:60"), "A4")
    largest = re.search(r"spacing-mm ([\d.]+)", str(caught.value))
    assert largest
    lay_out(parse_target(f"checkerboard:9x6:{largest.group(1)}"), "A4")
