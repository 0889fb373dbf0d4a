"""The message layout `sf/1`: FusedFrame, Info, Heartbeat and Bye <-> the parts of one ZeroMQ message.

    part 0     topic   sf/1/<rig>/<stream>
    part 1     header  UTF-8 JSON object (wire_header.py, docs/sf1.schema.json, docs/consume.md)
    part 2..n  one buffer per entry of header.images, in that order

Pure: no sockets and no clock; times come in as arguments. Keys may be added, never re-used; unknown ones are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamfuse import wire_header as layout
from streamfuse.errors import WireError
from streamfuse.frames import Alignment, FusedFrame, InputInfo, Pixels, Radiometric
from streamfuse.timing import stage_durations_ns
from streamfuse.wire_header import FrameHeader, Header, InputEntry, Time, ns_from_us, read, us_from_ns, write
from streamfuse.wire_image import JPEG_QUALITY, PackedImage, pack, unpack

PREFIX = "sf/1/"
REVISION = 1
"""`v` of the header: grows when keys are added. What breaks readers changes the number in the topic instead."""

STREAMS = ("fused", "thermal", "thermal-raw", "visible")
RECORDS: dict[str, type[Header]] = {
    "info": layout.InfoHeader,
    "heartbeat": layout.HeartbeatHeader,
    "bye": layout.ByeHeader,
}

Part = bytes | bytearray | memoryview
Told = TypeVar("Told")


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
    domain = "utc" if frame.recording_ns is None else "recording"
    header = FrameHeader(
        **_common(origin, frame.stream, frame.session),
        seq=frame.sequence,
        stamp=Time.of(_capture_wall_ns(frame, origin) if frame.recording_ns is None else frame.recording_ns),
        capture_ns=frame.capture_ns,
        offered_ns=frame.stamps.get("offered", frame.capture_ns),
        clock=layout.ClockEntry(domain, frame.clock, us_from_ns(frame.capture_error_ns)),
        inputs=_input_entries(frame, origin),
        state=frame.state,
        confidence=float(frame.confidence),
        alignment=_alignment_entry(frame.alignment),
        calibration=frame.calibration,
        method=layout.Method(frame.model, frame.engine),
        stages_us={stage: us_from_ns(ns) for stage, ns in stage_durations_ns(frame.stamps).items()},
        drops=dict(frame.drops),
        images=[image.entry for image in images],
        extra=_extra(frame, images),
    )
    return [topic(origin.rig, frame.stream), write(header), *(image.buffer for image in images)]


def encode_record(record: Record, origin: Origin) -> list[Part]:
    """The two parts of an info, heartbeat or bye message. WireError when a value does not fit the layout."""
    stream = type(record).__name__.lower()
    common = _common(origin, stream, record.session)
    if isinstance(record, Info):
        header: Header = layout.InfoHeader(**common, info=_plain(record.content))
    elif isinstance(record, Heartbeat):
        common |= {"drops": dict(record.drops), "sources": dict(record.sources)}
        header = layout.HeartbeatHeader(**common, seq=record.sequence, fps=float(record.fps))
    else:
        header = layout.ByeHeader(**common, seq=record.sequence)
    return [topic(origin.rig, stream), write(header)]


def decode(parts: Sequence[Part], *, boot_id: str) -> FusedFrame | Record:
    """What `encode` or `encode_record` wrote; `boot_id` is the reader's own. WireError for everything malformed.

    Raw pixels are read-only views of the parts, which live as long as the frame.
    """
    if len(parts) < 2:
        raise WireError(f"a message has a topic, a header and its images; found {len(parts)} parts")
    stream = split_topic(parts[0])[1]
    header = read(_flat(parts[1]), RECORDS.get(stream, FrameHeader))
    if header.stream != stream:
        raise WireError(f"the topic says {stream[:40]}, the header {header.stream[:40]}")
    if isinstance(header, FrameHeader):
        return _decode_frame(header, _decode_images(header, parts[2:]), same_boot=header.boot_id == boot_id)
    return _decode_record(header)


def _common(origin: Origin, stream: str, session: str) -> dict[str, Any]:
    return {
        "v": REVISION,
        "rig": origin.rig,
        "stream": stream,
        "session": session,
        "published": Time.of(origin.published_wall_ns),
        "published_ns": origin.published_ns,
        "boot_id": origin.boot_id,
    }


def _capture_wall_ns(frame: FusedFrame, origin: Origin) -> int:
    return frame.capture_ns + origin.wall_offset_ns if frame.wall_ns is None else frame.wall_ns


def _input_entries(frame: FusedFrame, origin: Origin) -> list[InputEntry]:
    wall_offset_ns = _capture_wall_ns(frame, origin) - frame.capture_ns
    entries: list[InputEntry] = []
    for name, info, skew_ns in (("thermal", frame.thermal, frame.skew_ns), ("rgb", frame.rgb, 0)):
        if info is None:
            entries.append(InputEntry(name=name, missing=True, held=False))
            continue
        stamp_ns = info.capture_ns + wall_offset_ns if frame.recording_ns is None else info.recording_ns
        stamp = None if stamp_ns is None else Time.of(stamp_ns)
        skew_us = None if skew_ns is None else us_from_ns(skew_ns)
        entry = InputEntry(
            name=name,
            missing=False,
            held=info.held,
            seq=info.sequence,
            capture_ns=info.capture_ns,
            skew_us=skew_us,
            stamp=stamp,
        )
        entries.append(entry)
    return entries


def _extra(frame: FusedFrame, images: Sequence[PackedImage]) -> layout.Extra:
    stamps_ns, name = dict(frame.stamps), frame.name or None
    if not any(image.entry.name.startswith("thermal") for image in images):
        return layout.Extra(stamps_ns=stamps_ns, name=name)
    scale = frame.radiometric
    scale = scale and layout.RadiometricEntry(float(scale.scale), float(scale.offset), scale.unit)
    return layout.Extra(stamps_ns=stamps_ns, name=name, radiometric=scale, tone=_tone_entry(frame))


def _tone_entry(frame: FusedFrame) -> layout.ToneEntry | None:
    if frame.tone is None:
        return None
    counts, values = frame.tone
    if counts.shape != values.shape or counts.ndim != 1 or len(counts) > layout.MAX_KNOTS:
        raise WireError(f"tone knots must be two lists of equal length, at most {layout.MAX_KNOTS}")
    return layout.ToneEntry(counts.tolist(), values.tolist())


@lru_cache(maxsize=2)  # it changes twice a second
def _alignment_entry(alignment: Alignment) -> layout.AlignmentEntry:
    rolled = alignment.turn
    turn = rolled and layout.TurnEntry(
        rolled.frozen, _rounded(rolled.drift, 6), round(float(rolled.spread), 6), _rounded(rolled.applied, 6)
    )
    return layout.AlignmentEntry(
        alignment.state,
        _rounded(alignment.drift_px, 3),
        round(float(alignment.spread_px), 3),
        _rounded(alignment.applied_px, 3),
        float(alignment.trusted),
        turn,
    )


def _rounded(pair: tuple[float, float], digits: int) -> tuple[float, float]:
    return round(float(pair[0]), digits), round(float(pair[1]), digits)


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it; WireError for what it has no word for: NaN, dates, arrays."""
    try:
        return json.loads(json.dumps(dict(content), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"header.info cannot be written as JSON: {error}") from error


def _decode_record(header: Header) -> Record:
    if isinstance(header, layout.InfoHeader):
        return Info(session=header.session, content=header.info)
    if isinstance(header, layout.HeartbeatHeader):
        drops, sources = header.drops or {}, header.sources or {}
        return Heartbeat(session=header.session, sequence=header.seq, fps=header.fps, drops=drops, sources=sources)
    assert isinstance(header, layout.ByeHeader)
    return Bye(session=header.session, sequence=header.seq)


def _decode_images(header: FrameHeader, parts: Sequence[Part]) -> dict[str, Pixels]:
    entries = header.images
    if not entries or len(entries) != len(parts):
        raise WireError(
            f"header.images lists {len(entries)} images, the message has {len(parts)}; at least 1 is needed"
        )
    pairs = enumerate(zip(entries, parts, strict=True))
    images = {entry.name: unpack(entry, _flat(part), f"header.images[{i}]") for i, (entry, part) in pairs}
    if len(images) != len(entries):
        raise WireError("header.images lists one name twice")
    return images


def _decode_frame(header: FrameHeader, images: dict[str, Pixels], *, same_boot: bool) -> FusedFrame:
    first, *others = images
    extra, stamp_ns, recorded = header.extra, header.stamp.ns, header.clock.domain == "recording"
    return FusedFrame(
        pixels=images[first],
        stream=header.stream,
        sequence=header.seq,
        capture_ns=header.capture_ns,
        clock=header.clock.sync,
        state=header.state,
        **_decode_inputs(header.inputs, recorded=recorded),
        capture_error_ns=ns_from_us(header.clock.error_us),
        recording_ns=stamp_ns if recorded else None,
        wall_ns=header.published.ns - header.published_ns + header.capture_ns if recorded else stamp_ns,
        name=extra.name or "",
        engine=header.method.engine,
        model=header.method.model,
        calibration=header.calibration,
        confidence=header.confidence,
        alignment=_as_told(header.alignment, Alignment) or Alignment(),
        session=header.session,
        same_boot=same_boot,
        drops=header.drops or {},
        stamps=extra.stamps_ns or {},
        layers={name: images[name] for name in others},
        tone=_decode_tone(extra.tone),
        radiometric=_as_told(extra.radiometric, Radiometric),
    )


def _decode_inputs(entries: Sequence[InputEntry], *, recorded: bool) -> dict[str, Any]:
    """`thermal`, `rgb` and `skew_ns` of the frame."""
    told: dict[str, Any] = {"thermal": None, "rgb": None, "skew_ns": None}
    for i, entry in enumerate(entries):
        if entry.missing:
            continue
        if entry.seq is None or entry.capture_ns is None:
            raise WireError(f"header.inputs[{i}]: seq and capture_ns are needed where missing is false")
        stamp_ns = entry.stamp.ns if recorded and entry.stamp else None
        info = InputInfo(sequence=entry.seq, capture_ns=entry.capture_ns, recording_ns=stamp_ns, held=entry.held)
        if entry.name in ("thermal", "rgb"):
            told[entry.name] = info
        if entry.name == "thermal" and isinstance(entry.skew_us, float):
            told["skew_ns"] = ns_from_us(entry.skew_us)
    return told


def _decode_tone(tone: layout.ToneEntry | None) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    if tone is None:
        return None
    if len(tone.counts) != len(tone.values):
        raise WireError(f"header.extra.tone has {len(tone.counts)} counts and {len(tone.values)} values")
    return np.asarray(tone.counts, np.float32), np.asarray(tone.values, np.float32)


def _as_told(entry: msgspec.Struct | None, kind: type[Told]) -> Told | None:
    """An entry as the type of `frames.py` that has the same fields."""
    return None if entry is None else msgspec.convert(entry, kind, from_attributes=True)


def _flat(part: Part) -> memoryview:
    return memoryview(part).cast("B")
