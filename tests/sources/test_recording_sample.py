"""The shipped recording is what its README says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from streamfuse.frames import Frame
from streamfuse.rig import Rig
from streamfuse.sources.recording import open_recording

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "streamfuse" / "samples" / "heli041"


def boxes(name: str) -> np.ndarray:
    """N 4: x, y, width, height of the helicopter in each frame."""
    with (SAMPLE / f"boxes_{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    return np.array([[float(row[key]) for key in "xywh"] for row in rows])


def test_every_frame_is_readable_and_timed() -> None:
    pair = open_recording(SAMPLE / "thermal.mp4", SAMPLE / "visible.mp4", pace="every")
    thermal, rgb = list(pair.thermal), list(pair.rgb)
    assert pair.warnings == ()
    assert all(isinstance(item, Frame) for item in (*thermal, *rgb))
    assert (len(thermal), len(rgb)) == (300, 166)
    assert (pair.thermal.info.size, pair.rgb.info.size) == ((320, 256), (640, 512))
    assert (pair.thermal.info.rate_hz, pair.rgb.info.rate_hz) == (54.3, 30.0)
    assert thermal[0].recording_ns == 0


def test_every_visible_frame_has_a_thermal_one_within_half_a_thermal_period() -> None:
    pair = open_recording(SAMPLE / "thermal.mp4", SAMPLE / "visible.mp4", pace="every")
    distance = np.abs(np.subtract.outer(pair.rgb.times_ns, pair.thermal.times_ns)).min(axis=1)
    assert distance.max() <= 9_208_104


def test_files_and_sidecars_agree_on_the_times() -> None:
    from streamfuse.frames import Modality
    from streamfuse.sources.recording_video import open_video

    pair = open_recording(SAMPLE / "thermal.mp4", SAMPLE / "visible.mp4", pace="every")
    inside = open_video(SAMPLE / "thermal.mp4", Modality.THERMAL).times_ns
    assert np.abs(np.subtract(inside, pair.thermal.times_ns)).max() <= 1e9 / 90_000


def test_the_rig_puts_the_thermal_helicopter_onto_the_visible_one() -> None:
    pair = open_recording(SAMPLE / "thermal.mp4", SAMPLE / "visible.mp4", pace="every")
    rig = Rig.load(ROOT / "calibration" / "rigs" / "heli041.yaml")
    nearest = np.abs(np.subtract.outer(pair.rgb.times_ns, pair.thermal.times_ns)).argmin(axis=1)
    thermal, rgb = boxes("thermal")[nearest], boxes("visible")
    assert rig.homography is not None
    there = (thermal[:, :2] + thermal[:, 2:] / 2) @ rig.homography[:2, :2].T + rig.homography[:2, 2]
    apart = np.linalg.norm(there - (rgb[:, :2] + rgb[:, 2:] / 2), axis=1)
    assert np.sqrt(np.mean(apart**2)) < 2.5


def test_it_is_small_and_free() -> None:
    assert sum(file.stat().st_size for file in SAMPLE.iterdir()) < 1_000_000
    assert "CC0 1.0 Universal" in (SAMPLE / "LICENSE").read_text()
    assert "inferred and only approximate" in (SAMPLE / "README.md").read_text()
