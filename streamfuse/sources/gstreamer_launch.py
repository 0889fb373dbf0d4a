"""From what a run file says of a camera to a GStreamer pipeline that ends in our appsink; it starts nothing.

    launch fragment | rtspsrc ! decodebin | uridecodebin  !  what was asked for  !  videoconvert  !  appsink

The appsink takes what can become a Frame exactly: grey or luminance as stored for thermal, and for RGB either RGB
itself or YUV 4:2:0 of even size, which `gstreamer_pixels` converts. Everything else goes through `videoconvert`, up to
5 grey levels off by its own measure. Thermal that was asked for as GRAY16_LE or GRAY8 is never converted.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from streamfuse.errors import UserError
from streamfuse.frames import Modality
from streamfuse.redact import redact
from streamfuse.sources.gstreamer_library import load_gstreamer, missing_element
from streamfuse.sources.gstreamer_spec import CameraSpec

SINK, SOURCE, PASSED = "streamfuse-frames", "streamfuse-source", "streamfuse-passed"
WAITING = 8
"""Frames that may wait in the appsink of a live pipeline; the oldest leaves when one more comes."""
TAKEN = {
    Modality.THERMAL: "video/x-raw,format={GRAY16_LE,GRAY8,I420,NV12}",
    Modality.RGB: "video/x-raw,format={RGB,BGR};video/x-raw,format={I420,NV12},width=[2,32768,2],height=[2,32768,2]",
}
CONNECT_US = 5_000_000
"""How long rtspsrc waits for a server that does not answer, in microseconds."""


def build_pipeline(modality: Modality, spec: CameraSpec) -> Any:
    """The pipeline, in state NULL. Raises UserError for a typo, an unknown element or property, a missing plugin."""
    gst = load_gstreamer().Gst
    context = gst.ParseContext.new()
    try:
        pipeline = gst.parse_launch_full(launch_text(modality, spec), context, gst.ParseFlags.FATAL_ERRORS)
    except Exception as error:  # GLib.Error, which has no importable type before GStreamer is loaded
        why = _why(gst, error, context.get_missing_elements(), spec)
        raise UserError(f"the {modality.value} camera's launch line cannot be used: {why} (in: {spec.shown})") from None
    pipeline.get_by_name(SINK).set_property("caps", gst.Caps.from_string(TAKEN[modality]))
    _set_source(pipeline, spec)
    return pipeline


def launch_text(modality: Modality, spec: CameraSpec) -> str:
    """The whole launch line; addresses and passwords are set as properties later and do not stand in it."""
    wanted = _wanted_caps(spec)
    exact = modality is Modality.THERMAL and spec.format in ("GRAY16_LE", "GRAY8")
    parts = (
        _head(spec),
        f"capsfilter caps={wanted}" if wanted else "",
        "" if exact else "videoconvert",
        f"identity name={PASSED} silent=true",
        f"appsink name={SINK} max-buffers={WAITING} enable-last-sample=false qos=false",
    )
    return " ! ".join(part for part in parts if part)


def _why(gst: Any, error: Exception, missing: list[str], spec: CameraSpec) -> str:
    """What is wrong with a launch line, from the parser's error (gst_parse_error) and what to do about it."""
    code, text = getattr(error, "code", None), redact(getattr(error, "message", str(error)))
    if code == gst.ParseError.NO_SUCH_ELEMENT and missing:
        return missing_element(missing[0])
    if code == gst.ParseError.LINK:
        return f"{text}; it has to give {spec.asked} as raw video, and to end without a sink"
    if code == gst.ParseError.NO_SUCH_PROPERTY:
        return f"{text}; list its properties with gst-inspect-1.0"
    return text


def elements(pipeline: Any) -> Iterator[Any]:
    """Every element in the pipeline, also inside bins."""
    found = pipeline.iterate_recurse()
    while True:
        result, element = found.next()
        if result != load_gstreamer().Gst.IteratorResult.OK:
            return
        yield element


def factory_name(element: Any) -> str:
    factory = element.get_factory()
    return factory.get_name() if factory else ""


def _head(spec: CameraSpec) -> str:
    if spec.launch:
        return spec.launch.strip().rstrip("!").strip()
    if spec.is_rtsp:
        return f"rtspsrc name={SOURCE} ! application/x-rtp,media=video ! decodebin"
    return f"uridecodebin name={SOURCE}"


def _wanted_caps(spec: CameraSpec) -> str:
    """Caps of what was asked for, as one word of a launch line; empty where nothing was."""
    width, height = spec.size or (None, None)
    rate = Fraction(spec.rate_hz).limit_denominator(1001) if spec.rate_hz and spec.launch else None
    asked = {
        "format": spec.format,
        "width": width,
        "height": height,
        "framerate": f"{rate.numerator}/{rate.denominator}" if rate else None,
    }
    fields = [f"{name}={value}" for name, value in asked.items() if value]
    return ",".join(("video/x-raw", *fields)) if fields else ""


def _set_source(pipeline: Any, spec: CameraSpec) -> None:
    """What must not stand in a launch line, and what RTSP sources need wherever they stand."""
    if spec.is_rtsp:
        _set_rtsp(pipeline.get_by_name(SOURCE), spec)
    elif spec.uri:
        pipeline.get_by_name(SOURCE).set_property("uri", spec.uri)
    for element in elements(pipeline):
        if factory_name(element) == "rtspsrc" and element.find_property("add-reference-timestamp-meta"):
            element.set_property("add-reference-timestamp-meta", True)  # GStreamer 1.22 and newer


def _set_rtsp(source: Any, spec: CameraSpec) -> None:
    address = urlsplit(spec.uri or "")
    bare = address._replace(netloc=address.netloc.rpartition("@")[2])
    source.set_property("location", urlunsplit(bare))
    if address.username is not None:
        source.set_property("user-id", unquote(address.username))
        source.set_property("user-pw", unquote(address.password or ""))
    source.set_property("latency", spec.latency_ms)
    source.set_property("tcp-timeout", CONNECT_US)
    source.set_property("timeout", CONNECT_US)
    load_gstreamer().Gst.util_set_object_arg(source, "protocols", spec.transport)
