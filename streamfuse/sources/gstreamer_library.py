"""GStreamer itself: loaded late, checked once, and which Debian package brings which element.

GStreamer and its Python bindings come from the system (Linux, Jetson) or from the `gstreamer` extra (macOS, Windows).
Version 1.20 or newer; since the bindings carry no types, everything that comes out of them is Any.
"""

from __future__ import annotations

import ctypes
import difflib
import functools
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from streamfuse.errors import UserError

OLDEST = (1, 20)
BASE, GOOD, BAD, LIBAV = (f"gstreamer1.0-{name}" for name in ("plugins-base", "plugins-good", "plugins-bad", "libav"))
INSTALL = (
    f"apt-get install python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0 {BASE} {GOOD} {BAD} {LIBAV}"
    " and run the set-up again (macOS, Windows: pip install 'streamfuse[gstreamer]')"
)
COPIES = "every buffer is copied by the bindings (0.4 ms for a 1280x720 frame): apt-get install python3-gst-1.0"
PACKAGES = {
    BASE: "videotestsrc videoconvert videoscale videorate uridecodebin decodebin appsink appsrc playbin theoradec",
    GOOD: "v4l2src rtspsrc udpsrc jpegdec souphttpsrc multipartdemux matroskademux matroskamux qtdemux avidemux "
    "rtph264depay rtph265depay rtpjpegdepay rtpvrawdepay rtpjitterbuffer vp8dec vp9dec pngdec multifilesrc videocrop",
    BAD: "h264parse h265parse openh264dec openh264enc srtsrc rtmpsrc shmsrc webrtcbin nvh264dec nvh265dec vah264dec "
    "vah265dec uvch264src decklinkvideosrc mxfdemux tsdemux jpegparse",
    "gstreamer1.0-plugins-ugly": "x264enc asfdemux",
    LIBAV: "avdec_h264 avdec_h265 avdec_ffv1 avdec_mjpeg avdec_mpeg4 avenc_ffv1",
    "gstreamer1.0-libcamera": "libcamerasrc",
    "gstreamer1.0-vaapi": "vaapih264dec vaapih265dec vaapijpegdec",
    "gir1.2-aravis-0.8 (or newer), with its GStreamer plugin": "aravissrc",
    "NVIDIA's JetPack (nvidia-l4t-gstreamer)": "nvarguscamerasrc nvvidconv nvv4l2decoder nvv4l2camerasrc nvjpegdec",
    "NVIDIA's DeepStream": "nvvideoconvert nvstreammux nvurisrcbin",
}
"""Package -> the elements of it that a camera's launch line is likely to name."""

USES = {
    "test patterns": ("videotestsrc", BASE),
    "USB cameras": ("v4l2src", GOOD),
    "RTSP": ("rtspsrc", GOOD),
    "H.264": ("avdec_h264 openh264dec nvh264dec nvv4l2decoder vah264dec", LIBAV),
    "H.265": ("avdec_h265 nvh265dec nvv4l2decoder vah265dec", LIBAV),
    "MJPEG": ("jpegdec nvjpegdec avdec_mjpeg", GOOD),
    "FFV1 (16-bit video)": ("avdec_ffv1", LIBAV),
    "Matroska files": ("matroskademux", GOOD),
    "MP4 files": ("qtdemux", GOOD),
}
"""Use -> the elements of which it needs one, and the package that brings the first."""


@dataclass(frozen=True, slots=True)
class GStreamer:
    """The loaded modules, and whether buffers can be read in place."""

    Gst: Any
    GstVideo: Any
    version: tuple[int, int, int]
    zero_copy: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        return () if self.zero_copy else (f"GStreamer: {COPIES}",)


@functools.cache
def load_gstreamer() -> GStreamer:
    """Load and start GStreamer. Raises UserError where it, its bindings or their video parts are missing."""
    if not find_spec("gi"):
        raise UserError(f"GStreamer was asked for, its Python bindings (gi) are not here: {INSTALL}")
    _keep_exceptions_working()
    gi = import_module("gi")
    try:
        for name in ("Gst", "GstApp", "GstVideo"):
            gi.require_version(name, "1.0")
        gst, video = import_module("gi.repository.Gst"), import_module("gi.repository.GstVideo")
        import_module("gi.repository.GstApp")  # gives appsink its methods
    except (ImportError, ValueError) as error:
        raise UserError(f"GStreamer cannot be loaded ({error}): {INSTALL}") from error
    gst.init(None)
    version = tuple(gst.version())[:3]
    if version < OLDEST:
        raise UserError(f"GStreamer {'.'.join(map(str, version))} is too old, live sources need 1.20 or newer")
    return GStreamer(gst, video, version, find_spec("gi.overrides.Gst") is not None)


def _keep_exceptions_working() -> None:
    """Put the compiler's stack unwinder before another one that GStreamer brings.

    Debian's GStreamer links libunwind, and its bindings load it for the whole process. C++ libraries that throw
    afterwards (OpenVINO's converter does) would find its functions instead of libgcc's, and crash.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a system without libgcc has nothing to mix up
            ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)


def missing_uses() -> dict[str, str]:
    """What cannot be done on this machine -> the Debian package that would bring it."""
    find = load_gstreamer().Gst.ElementFactory.find
    return {use: package for use, (any_of, package) in USES.items() if not any(map(find, any_of.split()))}


def package_of(element: str) -> str | None:
    """The Debian package that brings `element`, where known."""
    return next((package for package, elements in PACKAGES.items() if element in elements.split()), None)


def missing_element(element: str) -> str:
    """Why there is no such element, and what to do: install a package, or correct a typo."""
    if package := package_of(element):
        return f"GStreamer has no element {element} here; install {package}"
    registry = load_gstreamer().Gst.Registry.get()
    known = {feature.get_name() for feature in registry.get_feature_list(load_gstreamer().Gst.ElementFactory)}
    known.update(name for elements in PACKAGES.values() for name in elements.split())
    near = difflib.get_close_matches(element, known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "check its name with gst-inspect-1.0, or install what brings it"
    return f"GStreamer has no element {element}; {hint}"
