"""Doctor: what it finds of GStreamer and cameras, and the run file that it writes for them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from sources.gstreamer_streams import take

from streamfuse import doctor
from streamfuse.config import load_run
from streamfuse.errors import UserError
from streamfuse.frames import Modality
from streamfuse.fuse.rungs import ENGINES, existing
from streamfuse.sources import gstreamer_library
from streamfuse.sources.gstreamer import GstSource
from streamfuse.sources.gstreamer_devices import FoundCamera, Mode, lasting_name, list_cameras, modes_of
from streamfuse.sources.gstreamer_spec import CameraSpec
from streamfuse.starting import choose_rgb, choose_thermal, starting_config, write_starting_config

WEBCAM_CAPS = (
    "video/x-raw, format=(string)YUY2, width=(int)640, height=(int)480, pixel-aspect-ratio=(fraction)1/1, "
    "framerate=(fraction){ 30/1, 15/1 }; video/x-raw, format=(string)YUY2, width=(int)1280, height=(int)720, "
    "framerate=(fraction)10/1; image/jpeg, width=(int)1280, height=(int)720, framerate=(fraction)30/1; "
    "video/x-h264, width=(int)1920, height=(int)1080, framerate=(fraction)30/1"
)
WEBCAM = FoundCamera("Some Webcam", "/dev/v4l/by-id/usb-webcam", modes_of(WEBCAM_CAPS))
THERMAL = FoundCamera(
    "Boson: video", "/dev/v4l/by-id/usb-boson", (Mode("I420", (640, 512), 30.0), Mode("GRAY16_LE", (640, 512), 60.0))
)


def test_modes_are_read_from_caps_largest_first():
    assert [str(mode) for mode in WEBCAM.modes] == ["MJPG 1280x720 30 Hz", "YUY2 1280x720 10 Hz", "YUY2 640x480 30 Hz"]


def test_ranges_count_with_their_most():
    caps = "video/x-raw, format=(string){ NV12, I420 }, width=(int)[ 16, 1920 ], height=(int)[ 16, 1080 ], "
    modes = modes_of(caps + "framerate=(fraction)[ 0/1, 60/1 ]")
    assert modes == (Mode("NV12", (1920, 1080), 60.0), Mode("I420", (1920, 1080), 60.0))
    assert modes_of("ANY") == ()


def test_a_lasting_name_is_preferred(tmp_path):
    device, by_id = tmp_path / "video3", tmp_path / "by-id"
    device.touch()
    by_id.mkdir()
    (by_id / "usb-camera-index0").symlink_to(device)
    assert lasting_name(str(device), by_id) == str(by_id / "usb-camera-index0")
    assert lasting_name("/dev/null", by_id) == "/dev/null"


def test_the_camera_with_counts_is_thermal_and_fast_enough_beats_uncompressed():
    for cameras in ([WEBCAM, THERMAL], [THERMAL, WEBCAM]):
        assert choose_thermal(cameras).camera is THERMAL
        assert choose_thermal(cameras).mode.format == "GRAY16_LE"
    assert choose_rgb([WEBCAM]).mode == Mode("MJPG", (1280, 720), 30.0)
    by_name = FoundCamera("FLIR ONE", "/dev/video4", (Mode("YUY2", (160, 120), 9.0),))
    assert choose_thermal([WEBCAM, by_name]).camera is by_name
    assert choose_thermal([WEBCAM]) is None


def test_the_written_run_file_is_valid_and_names_both_cameras(tmp_path):
    path = tmp_path / "live.yaml"
    write_starting_config(path, [WEBCAM, THERMAL])
    source = load_run(path).source
    assert source.thermal.launch == "v4l2src device=/dev/v4l/by-id/usb-boson"
    assert (source.thermal.format, source.thermal.size, source.thermal.rate_hz) == ("GRAY16_LE", (640, 512), 60.0)
    assert source.rgb.launch.startswith("v4l2src device=/dev/v4l/by-id/usb-webcam ! image/jpeg,width=1280,height=720")
    with pytest.raises(UserError, match=r"live\.yaml exists; it is not overwritten"):
        write_starting_config(path, [WEBCAM])


def test_a_pattern_stands_in_for_a_camera_that_was_not_found(tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text(starting_config([WEBCAM], path.name))
    thermal = load_run(path).source.thermal
    (frame,) = take(GstSource(Modality.THERMAL, CameraSpec(launch=thermal.launch, format=thermal.format)), 1)
    assert frame.pixels.dtype == "uint16"
    assert "none was found" in path.read_text()


def test_no_camera_is_told_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no camera was found.*live-test"):
        write_starting_config(tmp_path / "live.yaml", [])


def test_listing_cameras_works_with_and_without_any():
    assert all(camera.device.startswith("/dev/") for camera in list_cameras())


def test_gstreamer_and_its_plugins_are_found_here():
    told = {finding.what: finding for finding in doctor.examine()}
    assert told["GStreamer"].status == "ok"
    assert told["GStreamer"].found.startswith("GStreamer 1.")
    assert told["GStreamer plugins"].status == "ok"


def test_a_missing_plugin_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(gstreamer_library, "USES", {"flying": ("nosuchsrc", "some-package")})
    finding = doctor._plugins()
    assert (finding.status, finding.found, finding.remedy) == (
        "missing",
        "not for flying",
        "apt-get install some-package",
    )


def test_every_engine_has_a_line_that_says_what_runs_it_or_why_it_does_not():
    told = {finding.what: finding for finding in doctor.examine()}
    for name in ENGINES:
        finding = told[f"engine {name}"]
        assert finding.status == ("ok" if name in existing() else "missing")
        assert finding.found
        assert bool(finding.remedy) == (finding.status == "missing")


def test_an_engine_whose_library_is_gone_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    finding = doctor._engine("openvino")
    assert (finding.status, finding.remedy) == ("missing", "pip install 'streamfuse[openvino]'")
    assert finding.found.startswith("OpenVINO does not load here")


def test_a_gpu_with_tensorrt_and_nothing_that_builds_is_told(monkeypatch):
    monkeypatch.setattr("streamfuse.fuse.explain.lacks", lambda _: "")
    monkeypatch.setattr("streamfuse.fuse.explain._gpu", lambda: "Orin")
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0", Runtime=object))
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert doctor._engine("tensorrt").found == "TensorRT 10.3.0, Orin, built by its ONNX parser"
    monkeypatch.setitem(sys.modules, "onnx", None)
    finding = doctor._engine("tensorrt")
    assert (finding.status, finding.remedy) == ("missing", "pip install 'streamfuse[onnx]'")
    assert "can be run and not built" in finding.found


def test_a_long_word_is_broken_and_not_cut_off():
    said = io.StringIO()
    found, remedy = "opencv-contrib-python-headless-and-more 5.0.0.93", "x" * 150
    doctor.print_findings(Console(file=said, width=60), [doctor.Finding("OpenCV", "ok", found, remedy)])
    assert "…" not in said.getvalue()
    assert said.getvalue().count("x") == 150


def test_the_command_tells_all_in_one_json_line():
    command = [sys.executable, "-m", "streamfuse", "doctor", "--json"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    told = json.loads(ran.stdout.splitlines()[-1])
    assert ran.returncode == 0
    assert {"GStreamer", "GStreamer plugins", "cameras"} <= {finding["what"] for finding in told["findings"]}
