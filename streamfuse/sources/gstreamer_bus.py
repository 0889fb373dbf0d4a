"""What a pipeline says on its bus, as our errors: what was asked, what was found, what to do. No passwords in them.

UserError: a person has to change something (the run file, the installation, a password, a device that is not there).
SourceLost: it may work again by itself. Nothing here is called by GStreamer; the bus is asked.
"""

from __future__ import annotations

import re
from typing import Any

from streamfuse.errors import SourceLost, StreamfuseError, UserError
from streamfuse.frames import Modality
from streamfuse.redact import redact
from streamfuse.sources.gstreamer_library import LIBAV, load_gstreamer, missing_element
from streamfuse.sources.gstreamer_spec import CameraSpec


def failure_on_bus(pipeline: Any, modality: Modality, spec: CameraSpec) -> StreamfuseError | None:
    """The first failure that the pipeline has told since it was last asked."""
    gst = load_gstreamer().Gst
    bus = pipeline.get_bus()
    while message := bus.pop_filtered(gst.MessageType.ERROR | gst.MessageType.ELEMENT):
        structure = message.get_structure()
        if message.type == gst.MessageType.ERROR:
            return _failure(message, f"the {modality.value} camera ({spec.shown})", spec)
        if structure and structure.get_name() == "missing-plugin":
            return UserError(f"the {modality.value} camera ({spec.shown}): {_missing_plugin(structure)}")
    return None


def _failure(message: Any, who: str, spec: CameraSpec) -> StreamfuseError:
    error, debug = message.parse_error()
    resource, core = _codes("Resource"), _codes("Core")
    kind = (error.domain, error.code)
    if kind == resource["NOT_AUTHORIZED"] or "Unauthorized" in f"{error.message}{debug}":
        return UserError(f"{who} refused the user name or the password; check both, and ${{NAME}} in the run file")
    if "not-negotiated" in (debug or "") or kind == core["NEGOTIATION"]:
        return UserError(
            f"{who} cannot give {spec.asked}{_offered(message.src)}; ask for what it offers, or leave it out"
        )
    if kind == core["MISSING_PLUGIN"]:
        return UserError(f"{who}: {redact(error.message)}; see streamfuse doctor")
    what = f"{who}: {_sentence(error.message)}"
    if kind == resource["NOT_FOUND"]:
        remedy = (
            "check the address" if spec.is_network or spec.uri else "plug it in, or list cameras: streamfuse doctor"
        )
        return UserError(f"{what}; {remedy}")
    if kind == resource["BUSY"]:
        return SourceLost(f"{what}; another program may be using it")
    return SourceLost(f"{what}; {what_to_check(spec)}")


def what_to_check(spec: CameraSpec) -> str:
    """What a person would look at first when nothing comes."""
    if spec.is_network:
        return "check that the camera is on, its address and port, and the network (try transport: udp, or tcp)"
    return "check power and cable, and whether another program uses the camera"


def _codes(family: str) -> dict[str, tuple[str, int]]:
    """Error names of one family -> (domain, code)."""
    gst = load_gstreamer().Gst
    errors = getattr(gst, f"{family}Error")
    domain = f"gst-{family.lower()}-error-quark"
    names = ("NOT_FOUND", "BUSY", "NOT_AUTHORIZED", "NEGOTIATION", "MISSING_PLUGIN")
    return {name: (domain, int(getattr(errors, name))) for name in names if hasattr(errors, name)}


def _missing_plugin(structure: Any) -> str:
    name = structure.get_string("name") or "a plugin"
    if structure.get_string("type") == "element":
        return missing_element(structure.get_string("detail") or name)
    return f"GStreamer has no {name} here; install {LIBAV} (on a Jetson: NVIDIA's decoders), see streamfuse doctor"


def _offered(element: Any) -> str:
    """What the element that gave up could have given, shortly; empty where it does not say."""
    pad = element.get_static_pad("src") if hasattr(element, "get_static_pad") else None
    caps = pad.query_caps(None) if pad else None
    if caps is None or caps.is_any() or caps.is_empty():
        return ""
    modes = [_mode(caps.get_structure(index).to_string()) for index in range(min(caps.get_size(), 6))]
    return f", it offers {'; '.join(dict.fromkeys(modes))}"[:400]


def _mode(structure: str) -> str:
    """Media type, format, size and rate of a caps structure without its types and its rest."""
    found = re.findall(r"\b(format|width|height|framerate)=\([^)]*\)(\{[^}]*\}|\[[^]]*\]|[^,;]+)", structure)
    values = [f"{name} {value.strip()}" for name, value in found]
    return " ".join((structure.split(",", maxsplit=1)[0], *values))


def _sentence(text: str) -> str:
    return redact(" ".join(text.split()).rstrip(".")) or "it failed without saying why"
