"""The message layout `sf/1`: FusedFrame, Info, Heartbeat and Bye <-> the parts of one ZeroMQ message.

    part 0     topic   sf/1/<rig>/<stream>
    part 1     header  UTF-8 JSON object (docs/sf1.schema.json, docs/consume.md)
    part 2..n  one buffer per entry of header.images, in that order

Pure: no sockets and no clock; times come in as arguments. Keys may be added, never re-used; unknown ones are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import WireError
from streamfuse.frames import Alignment, Clock, FusedFrame, InputInfo, Pixels, Radiometric, State, Turn
from streamfuse.timing import stage_durations_ns
from streamfuse.wire_fields import Fields, ns_from_us, read_object, time_fields, us_from_ns, write_object
from streamfuse.wire_image import JPEG_QUALITY, PackedImage, pack, unpack

PREFIX = "sf/1/"
REVISION = 1
"""`v` of the header: grows when keys are added. What breaks readers changes the number in the topic instead."""

STREAMS = ("fused", "thermal", "thermal-raw", "visible")
RECORDS = ("info", "heartbeat", "bye")
MAX_IMAGES = 8
MAX_KNOTS = 4096

Part = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who publishes, and when on both clocks; `boot_id` says on which machine's boot `published_ns` counts."""

    rig: str
    boot_id: str
    published_ns: int
    published_wall_ns: int

    @property
    def wall_offset_ns(self) -> int:
        return self.published_wall_ns - self.published_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What seldom changes while a publisher runs; sent to every late joiner, and when it changes."""

    session: str
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Sign of life at 1 Hz; `sequence` of the newest frame sent, -1 before the first; `sources`: state by camera."""

    session: str
    sequence: int
    fps: float
    drops: Mapping[str, int] = field(default_factory=dict[str, int])
    sources: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The publisher ended on purpose."""

    session: str
    sequence: int


Record = Info | Heartbeat | Bye


def topic(rig: str, stream: str) -> bytes:
    return f"{PREFIX}{rig}/{stream}".encode()


def split_topic(part: Part) -> tuple[str, str]:
    """(rig, stream); WireError for anything but `sf/1/<rig>/<stream>`, naming another version by its name."""
    try:
        text = str(memoryview(part)[:512], "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("part 0 is not a UTF-8 topic") from error
    words = text.split("/")
    if len(words) > 1 and words[0] == "sf" and words[1] != "1":
        raise WireError(f"the message has the layout sf/{words[1][:20]}; this reader knows sf/1 only")
    if len(words) != 4 or not text.startswith(PREFIX) or not words[2] or not words[3]:
        raise WireError(f"part 0 must be the topic sf/1/<rig>/<stream>, found {text[:60]!r}")
    return words[2], words[3]


def encode(
    frame: FusedFrame,
    origin: Origin,
    *,
    codec: str = "raw",
    jpeg_quality: int = JPEG_QUALITY,
    images: Sequence[PackedImage] | None = None,
) -> list[Part]:
    """The parts of one frame; its layers, if any, follow its pixels as further images.

    `images`: those to send instead, packed earlier by a caller who takes the publishing time after the compression.
    Raw buffers are views of the frame's arrays.
    Tone and radiometric scale travel with thermal streams only. WireError when a value does not fit the layout.
    """
    if images is None:
        pixels = {frame.stream: frame.pixels, **frame.layers}
        images = [pack(name, image, codec, jpeg_quality) for name, image in pixels.items()]
    header = {
        **_origin_fields(origin, frame.stream, frame.session),
        "seq": frame.sequence,
        **_time_fields(frame, origin),
        "inputs": _input_fields(frame, origin),
        "state": frame.state.value,
        "confidence": float(frame.confidence),
        "alignment": _alignment_fields(frame.alignment),
        "calibration": frame.calibration,
        "method": {"model": frame.model, "engine": frame.engine},
        "stages_us": {stage: us_from_ns(ns) for stage, ns in stage_durations_ns(frame.stamps).items()},
        "drops": dict(frame.drops),
        "images": [image.entry for image in images],
        "extra": _extra_fields(frame, images),
    }
    return [topic(origin.rig, frame.stream), write_object(header, "header"), *(image.buffer for image in images)]


def encode_record(record: Record, origin: Origin) -> list[Part]:
    """The two parts of an info, heartbeat or bye message."""
    stream = type(record).__name__.lower()
    header = _origin_fields(origin, stream, record.session)
    if isinstance(record, Info):
        header |= {"info": dict(record.content)}
    elif isinstance(record, Heartbeat):
        header |= {"seq": record.sequence, "fps": record.fps, "drops": dict(record.drops)}
        header |= {"sources": dict(record.sources)}
    else:
        header |= {"seq": record.sequence}
    return [topic(origin.rig, stream), write_object(header, "header")]


def decode(parts: Sequence[Part], *, boot_id: str) -> FusedFrame | Record:
    """What `encode` or `encode_record` wrote; `boot_id` is the reader's own. WireError for everything malformed.

    Raw pixels are read-only views of the parts, which live as long as the frame.
    """
    if len(parts) < 2:
        raise WireError(f"a message has a topic, a header and its images; found {len(parts)} parts")
    stream = split_topic(parts[0])[1]
    header = read_object(_flat(parts[1]), "header")
    if header.text("stream") != stream:
        raise WireError(f"the topic says {stream[:40]}, the header {header.text('stream')[:40]}")
    if stream in RECORDS:
        return _decode_record(header, stream)
    return _decode_frame(header, _decode_images(header, parts[2:]), same_boot=header.text("boot_id") == boot_id)


def _origin_fields(origin: Origin, stream: str, session: str) -> dict[str, Any]:
    return {
        "v": REVISION,
        "rig": origin.rig,
        "stream": stream,
        "session": session,
        "published": time_fields(origin.published_wall_ns),
        "published_ns": origin.published_ns,
        "boot_id": origin.boot_id,
    }


def _capture_wall_ns(frame: FusedFrame, origin: Origin) -> int:
    return frame.capture_ns + origin.wall_offset_ns if frame.wall_ns is None else frame.wall_ns


def _time_fields(frame: FusedFrame, origin: Origin) -> dict[str, Any]:
    recorded = frame.recording_ns is not None
    stamp_ns = frame.recording_ns if frame.recording_ns is not None else _capture_wall_ns(frame, origin)
    return {
        "stamp": time_fields(stamp_ns),
        "capture_ns": frame.capture_ns,
        "offered_ns": frame.stamps.get("offered", frame.capture_ns),
        "clock": {
            "domain": "recording" if recorded else "utc",
            "sync": frame.clock.value,
            "error_us": us_from_ns(frame.capture_error_ns),
        },
    }


def _input_fields(frame: FusedFrame, origin: Origin) -> list[dict[str, Any]]:
    inputs = {"thermal": (frame.thermal, frame.skew_ns), "rgb": (frame.rgb, 0)}
    wall_offset_ns = _capture_wall_ns(frame, origin) - frame.capture_ns
    entries: list[dict[str, Any]] = []
    for name, (info, skew_ns) in inputs.items():
        entry: dict[str, Any] = {"name": name, "missing": info is None, "held": info is not None and info.held}
        if info is not None:
            entry |= {"seq": info.sequence, "capture_ns": info.capture_ns}
            entry |= {"skew_us": None if skew_ns is None else us_from_ns(skew_ns)}
            if frame.recording_ns is None:
                entry |= {"stamp": time_fields(info.capture_ns + wall_offset_ns)}
            elif info.recording_ns is not None:
                entry |= {"stamp": time_fields(info.recording_ns)}
        entries.append(entry)
    return entries


def _extra_fields(frame: FusedFrame, images: Sequence[PackedImage]) -> dict[str, Any]:
    extra: dict[str, Any] = {"stamps_ns": dict(frame.stamps)}
    if frame.name:
        extra["name"] = frame.name
    if not any(image.entry["name"].startswith("thermal") for image in images):
        return extra
    if frame.radiometric is not None:
        scale = frame.radiometric
        extra["radiometric"] = {"scale": float(scale.scale), "offset": float(scale.offset), "unit": scale.unit}
    if frame.tone is not None:
        counts, values = frame.tone
        if counts.shape != values.shape or counts.ndim != 1 or len(counts) > MAX_KNOTS:
            raise WireError(f"tone knots must be two lists of equal length, at most {MAX_KNOTS}")
        extra["tone"] = {"counts": counts.tolist(), "values": values.tolist()}
    return extra


def _alignment_fields(alignment: Alignment) -> dict[str, Any]:
    told: dict[str, Any] = {
        "state": alignment.state,
        "drift_px": [round(float(value), 3) for value in alignment.drift_px],
        "spread_px": round(float(alignment.spread_px), 3),
        "applied_px": [round(float(value), 3) for value in alignment.applied_px],
        "trusted": float(alignment.trusted),
    }
    if (turn := alignment.turn) is not None:
        told["turn"] = {
            "frozen": turn.frozen,
            "drift": [round(float(value), 6) for value in turn.drift],
            "spread": round(float(turn.spread), 6),
            "applied": [round(float(value), 6) for value in turn.applied],
        }
    return told


def _decode_record(header: Fields, stream: str) -> Record:
    session = header.text("session")
    if stream == "info":
        return Info(session=session, content=header.inner("info").values)
    if stream == "heartbeat":
        drops, sources = header.integers("drops"), header.texts("sources")
        sequence, fps = header.integer("seq"), header.number("fps")
        return Heartbeat(session=session, sequence=sequence, fps=fps, drops=drops, sources=sources)
    return Bye(session=session, sequence=header.integer("seq"))


def _decode_images(header: Fields, parts: Sequence[Part]) -> dict[str, Pixels]:
    entries = header.inners("images", MAX_IMAGES)
    if not entries or len(entries) != len(parts):
        raise WireError(
            f"header.images lists {len(entries)} images, the message has {len(parts)}; at least 1 is needed"
        )
    images = {entry.text("name"): unpack(entry, _flat(part)) for entry, part in zip(entries, parts, strict=True)}
    if len(images) != len(entries):
        raise WireError("header.images lists one name twice")
    return images


def _decode_frame(header: Fields, images: dict[str, Pixels], *, same_boot: bool) -> FusedFrame:
    first, *others = images
    clock, method, extra = header.inner("clock"), header.inner("method"), header.inner("extra")
    capture_ns, stamp_ns = header.integer("capture_ns"), header.time_ns("stamp")
    wall_ns = header.time_ns("published") - header.integer("published_ns") + capture_ns
    recorded = clock.text("domain") == "recording"
    thermal, rgb, skew_ns = _decode_inputs(header, recorded=recorded)
    return FusedFrame(
        pixels=images[first],
        stream=header.text("stream"),
        sequence=header.count("seq"),
        capture_ns=capture_ns,
        clock=clock.choice("sync", Clock),
        state=header.choice("state", State),
        thermal=thermal,
        rgb=rgb,
        skew_ns=skew_ns,
        capture_error_ns=ns_from_us(clock.number("error_us")),
        recording_ns=stamp_ns if recorded else None,
        wall_ns=wall_ns if recorded else stamp_ns,
        name=extra.text("name") if extra.has("name") else "",
        engine=method.text("engine"),
        model=method.text("model"),
        calibration=header.text("calibration"),
        confidence=header.number("confidence"),
        alignment=_decode_alignment(header),
        session=header.text("session"),
        same_boot=same_boot,
        drops=header.integers("drops"),
        stamps=extra.integers("stamps_ns"),
        layers={name: images[name] for name in others},
        tone=_decode_tone(extra),
        radiometric=_decode_radiometric(extra),
    )


def _decode_inputs(header: Fields, *, recorded: bool) -> tuple[InputInfo | None, InputInfo | None, int | None]:
    entries = {entry.text("name"): entry for entry in header.inners("inputs", MAX_IMAGES)}
    infos = {name: _decode_input(entry, recorded) for name, entry in entries.items() if not entry.flag("missing")}
    thermal = infos.get("thermal")
    skewed = thermal is not None and entries["thermal"].has("skew_us")
    return thermal, infos.get("rgb"), ns_from_us(entries["thermal"].number("skew_us")) if skewed else None


def _decode_input(entry: Fields, recorded: bool) -> InputInfo:
    return InputInfo(
        sequence=entry.integer("seq"),
        capture_ns=entry.integer("capture_ns"),
        recording_ns=entry.time_ns("stamp") if recorded and entry.has("stamp") else None,
        held=entry.flag("held"),
    )


def _decode_alignment(header: Fields) -> Alignment:
    if not header.has("alignment"):
        return Alignment()
    fields = header.inner("alignment")
    return Alignment(
        state=fields.text("state"),
        drift_px=_pair_of(fields, "drift_px"),
        spread_px=fields.number("spread_px"),
        applied_px=_pair_of(fields, "applied_px"),
        trusted=fields.number("trusted"),
        turn=_decode_turn(fields.inner("turn")) if fields.has("turn") else None,
    )


def _decode_turn(fields: Fields) -> Turn:
    return Turn(
        frozen=fields.flag("frozen"),
        drift=_pair_of(fields, "drift"),
        spread=fields.number("spread"),
        applied=_pair_of(fields, "applied"),
    )


def _pair_of(fields: Fields, key: str) -> tuple[float, float]:
    numbers = fields.numbers(key, 2)
    if len(numbers) != 2:
        raise WireError(f"{fields.where}.{key} must be two numbers, found {len(numbers)}")
    return numbers[0], numbers[1]


def _decode_tone(extra: Fields) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    if not extra.has("tone"):
        return None
    tone = extra.inner("tone")
    counts, values = tone.numbers("counts", MAX_KNOTS), tone.numbers("values", MAX_KNOTS)
    if len(counts) != len(values):
        raise WireError(f"{tone.where} has {len(counts)} counts and {len(values)} values")
    return np.asarray(counts, np.float32), np.asarray(values, np.float32)


def _decode_radiometric(extra: Fields) -> Radiometric | None:
    if not extra.has("radiometric"):
        return None
    fields = extra.inner("radiometric")
    return Radiometric(fields.number("scale"), fields.number("offset"), fields.text("unit"))


def _flat(part: Part) -> memoryview:
    return memoryview(part).cast("B")
