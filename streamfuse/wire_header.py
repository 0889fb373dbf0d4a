"""The header of an `sf/1` message: its layout as types, which write it, and check it where it is read.

A key with a default may be absent, and null means absent. Unknown keys are skipped. Times `*_ns` are nanoseconds on the
publisher's monotonic clock, `*_us` microseconds with their nanoseconds as decimals. It knows nothing of frames,
topics and buffers; docs/consume.md tells readers in other languages the same.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streamfuse.errors import WireError
from streamfuse.frames import Clock, State

MAX_HEADER_BYTES = 1 << 20
MAX_IMAGES = 8
MAX_KNOTS = 4096
SECOND_NS = 1_000_000_000
MAX_SEC = (1 << 63) // SECOND_NS - 1

Text = Annotated[str, Meta(max_length=4096)]
Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Number = Annotated[float, Meta(gt=-(2.0**63), lt=2.0**63)]
Pair = tuple[Number, Number]


class Time(Struct, frozen=True, gc=False):
    """Since 1970 UTC, or on a recording's own clock: one integer of nanoseconds does not fit a JavaScript number."""

    sec: Annotated[int, Meta(ge=-MAX_SEC, le=MAX_SEC)]
    nsec: Annotated[int, Meta(ge=0, lt=SECOND_NS)]

    @classmethod
    def of(cls, ns: int) -> Time:
        sec, nsec = divmod(ns, SECOND_NS)
        if not -MAX_SEC <= sec <= MAX_SEC:
            raise WireError(f"{ns} ns is no time: 64 bits are written, 292 years")
        return cls(sec, nsec)

    @property
    def ns(self) -> int:
        return self.sec * SECOND_NS + self.nsec


class ClockEntry(Struct, frozen=True, gc=False):
    domain: Text  # `recording` where `stamp` is a recording's own time, else `utc`
    sync: Clock
    error_us: Number


class InputEntry(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One camera's frame in the output; a `missing` one has no number and no times."""

    name: Text
    missing: bool
    held: bool  # shown before: reused, or the shutter was closed
    seq: Integer | None = None
    capture_ns: Integer | None = None
    skew_us: Number | UnsetType | None = UNSET  # later than the RGB frame by; null: not known
    stamp: Time | None = None


class TurnEntry(Struct, frozen=True, gc=False):
    """Roll and growth since the start: pairs are [radians clockwise, 0.01 = 1 % larger], `spread` is of either."""

    frozen: bool
    drift: Pair
    spread: Number
    applied: Pair


class AlignmentEntry(Struct, frozen=True, gc=False, omit_defaults=True):
    """Drift since the start of the run: pairs are [x, y] in output pixels; `trusted` is a share, 0 to 1."""

    state: Text
    drift_px: Pair
    spread_px: Number
    applied_px: Pair
    trusted: Number
    turn: TurnEntry | None = None


class Method(Struct, frozen=True, gc=False):
    model: Text
    engine: Text


class ImageEntry(Struct, frozen=True, gc=False):
    """How to view one buffer: sizes in pixels; `step` (of a decoded row) and `bytes` (of the part) in bytes."""

    name: Text
    width: Integer
    height: Integer
    encoding: Text
    step: Integer
    codec: Text
    bytes: Integer


class RadiometricEntry(Struct, frozen=True, gc=False):
    """Temperature = scale * counts + offset, in `unit`."""

    scale: Number
    offset: Number
    unit: Text


class ToneEntry(Struct, frozen=True, gc=False):
    """Knots of the thermal curve: sensor counts, and the grey values in [0, 1] they are shown as."""

    counts: Annotated[list[Number], Meta(max_length=MAX_KNOTS)]
    values: Annotated[list[Number], Meta(max_length=MAX_KNOTS)]


class Extra(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    stamps_ns: dict[str, Integer] | None = None  # when each stage was done
    name: Text | None = None  # the file of a recording
    radiometric: RadiometricEntry | None = None
    tone: ToneEntry | None = None


class Header(Struct, frozen=True, gc=False, kw_only=True):
    """What every message begins with; keys are written in the order in which they stand here."""

    v: Integer
    rig: Text
    stream: Text
    session: Text  # random for every start of the publisher
    published: Time  # wall clock at `published_ns`
    published_ns: Integer
    boot_id: Text  # all `*_ns` count on this boot's monotonic clock


class FrameHeader(Header, frozen=True, gc=False, kw_only=True):
    seq: Count
    stamp: Time  # capture time, on the clock that `clock.domain` names
    capture_ns: Integer
    offered_ns: Integer  # scheduled capture time: latency counts from here
    clock: ClockEntry
    inputs: Annotated[list[InputEntry], Meta(max_length=MAX_IMAGES)]
    state: State
    confidence: Number  # trust in the alignment, 0 (unknown) to 1
    alignment: AlignmentEntry | None = None
    calibration: Text
    method: Method
    stages_us: dict[str, Number]
    drops: dict[str, Integer] | None = None
    images: Annotated[list[ImageEntry], Meta(max_length=MAX_IMAGES)]
    extra: Extra


class InfoHeader(Header, frozen=True, gc=False, kw_only=True):
    info: dict[str, Any]  # any JSON object: engine, model, calibration, streams and more


class HeartbeatHeader(Header, frozen=True, gc=False, kw_only=True):
    seq: Integer  # of the newest frame sent, -1 before the first
    fps: Number
    drops: dict[str, Integer] | None = None
    sources: dict[str, Text] | None = None


class ByeHeader(Header, frozen=True, gc=False, kw_only=True):
    seq: Integer


AnyHeader = TypeVar("AnyHeader", bound=Header)

_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[type[Header], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (FrameHeader, InfoHeader, HeartbeatHeader, ByeHeader)
}
_CHOICES: dict[str, type[Enum]] = {".state": State, ".clock.sync": Clock}
_DIGITS_TO_0 = bytes(ord("0") if chr(byte).isdigit() else byte for byte in range(128)) + bytes(range(128, 256))


def write(header: Header) -> bytes:
    """Compact UTF-8 JSON; WireError for what JSON or a reader would not take (NaN, huge integers, too long)."""
    try:
        data = _ENCODER.encode(header)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"the header cannot be written as JSON: {error}") from error
    # The encoder turns NaN and infinity into null and does not look at the size of integers: readers refuse both.
    # What may be one of them, a null or 19 digits in a row (as 2**63 has), is read back.
    if b"null" in data or b"0" * 19 in data.translate(_DIGITS_TO_0) or len(data) > MAX_HEADER_BYTES:
        read(memoryview(data), type(header))
    return data


def read(data: memoryview, kind: type[AnyHeader]) -> AnyHeader:
    """What `write` wrote; WireError saying where and what is wrong with anything else."""
    if data.nbytes > MAX_HEADER_BYTES:
        raise WireError(f"the header has {data.nbytes} bytes; at most {MAX_HEADER_BYTES} are allowed")
    try:
        return _DECODERS[kind].decode(str(data, "utf-8"))
    except msgspec.ValidationError as error:
        raise WireError(_said(error)) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"the header is not UTF-8 JSON: {error}") from error


def _said(error: msgspec.ValidationError) -> str:
    what, _, where = str(error).partition(" - at `$")
    where = where.rstrip("`")
    known = f", known are {', '.join(each.value for each in _CHOICES[where])}" if where in _CHOICES else ""
    return f"header{where}: {what[0].lower()}{what[1:80]}{known}"


def us_from_ns(ns: int) -> float:
    """Microseconds with their nanoseconds as decimals; `ns_from_us` gives the integer back exactly below 2**51 ns."""
    return ns / 1000


def ns_from_us(us: float) -> int:
    return round(us * 1000)
