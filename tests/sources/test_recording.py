"""Replay: what open_recording promises, whatever the files are."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from recording_files import grey, write_images, write_video

from streamfuse.clock import now_ns
from streamfuse.errors import SourceLost, UserError
from streamfuse.frames import Clock, DroppedFrame, Frame, Modality
from streamfuse.sources.recording import RecordedSource, open_recording

PERIOD_NS = 33_333_333


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    stems = [f"{index:04d}" for index in range(5)]
    return write_images(tmp_path / "ir", stems), write_images(tmp_path / "vis", stems, colour=True)


def items(source: RecordedSource) -> list[Frame | DroppedFrame]:
    with source:
        return list(source)


def test_frames_carry_identity_time_and_pixels(folders: tuple[Path, Path]) -> None:
    pair = open_recording(*folders, pace="every")
    thermal, rgb = items(pair.thermal), items(pair.rgb)
    assert pair.warnings == ()
    assert [frame.name for frame in thermal] == ["0000", "0001", "0002", "0003", "0004"]
    assert [frame.sequence for frame in thermal] == [0, 1, 2, 3, 4]
    assert [frame.recording_ns for frame in thermal] == [0, 33_333_333, 66_666_667, 100_000_000, 133_333_333]
    assert [frame.pixels[0, 0] for frame in thermal] == [grey(index)[0, 0] for index in range(5)]
    assert {(frame.modality, frame.clock, frame.pixels.dtype) for frame in thermal} == {
        (Modality.THERMAL, Clock.RECORDING, np.dtype(np.uint8))
    }
    assert tuple(rgb[0].pixels[0, 0]) == (40, 90, 160)  # red first
    assert [frame.capture_ns for frame in rgb] == [frame.capture_ns for frame in thermal]
    assert all(frame.stamps == {"offered": frame.capture_ns} for frame in (*thermal, *rgb))


def test_info_is_known_before_the_first_frame(folders: tuple[Path, Path]) -> None:
    info = open_recording(*folders, rate_hz=25).thermal.info
    assert (info.size, info.bits, info.rate_hz, info.frames) == ((64, 48), 8, 25.0, 5)


def test_speed_squeezes_capture_times_and_not_recording_times(folders: tuple[Path, Path]) -> None:
    thermal = items(open_recording(*folders, pace="every", speed=4).thermal)
    assert thermal[4].recording_ns == 133_333_333
    assert thermal[4].capture_ns - thermal[0].capture_ns == pytest.approx(133_333_333 / 4, abs=2)


def test_real_pace_never_yields_before_the_due_time(folders: tuple[Path, Path]) -> None:
    pair = open_recording(*folders, speed=2)
    with pair.thermal as source:
        assert all(now_ns() >= frame.capture_ns for frame in source)


def test_both_sources_share_the_clock_whichever_starts_first(folders: tuple[Path, Path]) -> None:
    pair = open_recording(*folders, speed=10)
    last_rgb, first_thermal = items(pair.rgb)[-1], items(pair.thermal)[0]
    assert last_rgb.capture_ns - first_thermal.capture_ns == pytest.approx(13_333_333, abs=2)


def test_loop_goes_on_rising_by_the_common_duration(tmp_path: Path) -> None:
    ir = write_images(tmp_path / "ir", ["0", "1", "2"])
    vis = write_images(tmp_path / "vis", ["0", "1", "2", "3"], colour=True)
    pair = open_recording(ir, vis, pace="every", loop=True)
    with pair.thermal, pair.rgb:
        thermal = [frame for frame, _ in zip(pair.thermal, range(7), strict=False)]
        rgb = [frame for frame, _ in zip(pair.rgb, range(9), strict=False)]
    assert pair.thermal.info.frames is None
    assert [frame.recording_ns for frame in thermal[:4]] == [0, 33_333_333, 66_666_667, 0]
    assert [frame.sequence for frame in thermal] == list(range(7))
    assert [frame.name for frame in rgb] == ["0", "1", "2", "3", "0", "1", "2", "3", "0"]
    round_ns = thermal[3].capture_ns - thermal[0].capture_ns
    assert round_ns == rgb[4].capture_ns - rgb[0].capture_ns == pytest.approx(4 * PERIOD_NS, abs=5)
    assert [frame.capture_ns for frame in rgb] == sorted({frame.capture_ns for frame in rgb})


def test_same_recording_gives_the_same_frames_every_time(folders: tuple[Path, Path]) -> None:
    def ledger() -> list[tuple[object, ...]]:
        frames = items(open_recording(*folders, pace="every").rgb)
        return [(frame.name, frame.sequence, frame.recording_ns, frame.pixels.tobytes()) for frame in frames]

    assert ledger() == ledger()


def test_close_from_another_thread_ends_a_waiting_iteration(tmp_path: Path) -> None:
    ir = write_images(tmp_path / "ir", ["0", "1"])
    vis = write_images(tmp_path / "vis", ["0", "1"], colour=True)
    source = open_recording(ir, vis, rate_hz=0.01).thermal  # the second frame is due in 100 s
    got: list[object] = []
    with source:
        thread = threading.Thread(target=lambda: got.extend(source), daemon=True)
        thread.start()
        while not got:
            time.sleep(0.005)
        source.close()
        source.close()
        thread.join(0.5)
        assert not thread.is_alive()
    assert len(got) == 1


def test_a_closed_source_yields_nothing(folders: tuple[Path, Path]) -> None:
    source = open_recording(*folders, pace="every").thermal
    source.close()
    assert items(source) == []


def test_leaving_an_unfinished_video_closes_its_file(tmp_path: Path) -> None:
    video = write_video(tmp_path / "ir.mkv", (grey(index) for index in range(9)))
    pair = open_recording(video, video, pace="every")
    before = open_files(video)
    with pair.thermal as source:
        frames = iter(source)
        next(frames)
        during = open_files(video)
    assert (before, during, open_files(video)) == (0, 1, 0)


def open_files(path: Path) -> int:
    handles = Path("/proc/self/fd")
    if not handles.exists():
        pytest.skip("needs /proc to count open files")
    return sum(os.path.realpath(handle) == str(path) for handle in handles.iterdir())


def test_a_video_that_vanishes_is_a_lost_source(tmp_path: Path) -> None:
    video = write_video(tmp_path / "ir.mkv", (grey(index) for index in range(3)))
    source = open_recording(video, video, pace="every").thermal
    video.unlink()
    with source, pytest.raises(SourceLost, match=r"ir\.mkv could be opened before"):
        list(source)


def test_swapped_cameras_are_noticed_by_content(folders: tuple[Path, Path]) -> None:
    thermal, rgb = folders
    pair = open_recording(rgb, thermal, pace="every")
    assert any("are they swapped?" in warning for warning in pair.warnings)
    assert len(items(pair.thermal)) == 5


def test_a_false_colour_thermal_is_told(folders: tuple[Path, Path]) -> None:
    assert any("no temperature scale" in warning for warning in open_recording(folders[1], folders[1]).warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pace": "slow"}, "pace 'slow' is unknown; choose one of real, fast, every"),
        ({"speed": 0.0}, "speed is 0.0; it must be greater than 0"),
        ({"rate_hz": -30.0}, "rate_hz is -30.0; it must be greater than 0"),
        ({"rate_hz": float("nan")}, "rate_hz is nan; it must be greater than 0"),
    ],
)
def test_impossible_options_are_refused(folders: tuple[Path, Path], options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_recording(*folders, **options)


def test_a_missing_recording_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: the rgb recording does not exist; give a folder"):
        open_recording(folders[0], tmp_path / "nowhere")


def test_sidecars_rule_and_the_rate_says_that_it_does_not(folders: tuple[Path, Path]) -> None:
    thermal, rgb = folders
    (thermal / "times.csv").write_text("frame,time_ns\n" + "".join(f"{i:04d},{1000 + 10**7 * i}\n" for i in range(5)))
    rows = "".join(f'{{"frame": {i}, "time_ns": {3000 + 10**7 * i}}}\n' for i in range(5))
    (rgb.parent / "vis.times.jsonl").write_text(rows)
    pair = open_recording(thermal, rgb, pace="every", rate_hz=25)
    thermal_frames, rgb_frames = items(pair.thermal), items(pair.rgb)
    assert [frame.recording_ns for frame in thermal_frames[:2]] == [1000, 10_001_000]
    assert rgb_frames[0].capture_ns - thermal_frames[0].capture_ns == 2000
    assert sum("rate_hz 25 is not" in warning for warning in pair.warnings) == 2
    assert pair.thermal.info.rate_hz == 100.0


def test_a_recording_without_times_starts_with_the_one_that_has_them(folders: tuple[Path, Path]) -> None:
    thermal, rgb = folders
    start = 1_700_000_000_000_000_000
    (thermal / "times.csv").write_text("frame,time_ns\n" + "".join(f"{i},{start + PERIOD_NS * i}\n" for i in range(5)))
    pair = open_recording(thermal, rgb, pace="every")
    assert items(pair.rgb)[0].recording_ns == start
    assert pair.warnings == ("only the thermal recording has times: both start together",)


def test_recordings_that_do_not_overlap_are_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 10**12)):
        (tmp_path / f"{name}.csv").write_text(
            "frame,time_ns\n" + "".join(f"{i},{start + PERIOD_NS * i}\n" for i in range(5))
        )
    pair = open_recording(*folders, thermal_times=tmp_path / "a.csv", rgb_times=tmp_path / "b.csv")
    assert pair.warnings == ("the two recordings do not overlap in time: no frame will find a partner",)


def test_different_ends_are_told(tmp_path: Path) -> None:
    long = write_video(tmp_path / "ir.mp4", (grey(index) for index in range(12)))
    short = write_video(tmp_path / "vis.mp4", (grey(index) for index in range(6)))
    warnings = open_recording(long, short).warnings
    assert warnings == ("the thermal recording ends 0.200 s later than the visible one (12 and 6 frames)",)
