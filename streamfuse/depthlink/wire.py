"""Requests and replies of a depth link: one JSON object each, checked in full where it is read.

An unknown key is refused: a request that is only half understood would move the picture somewhere else. JSON has no
infinity, so a depth far away is the word "inf". It knows nothing of sockets and maps; docs/consume.md tells readers in
other languages the same.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from streamfuse.errors import UserError, WireError

MAX_REQUEST_BYTES = 4096
MAX_REPLY_BYTES = 1 << 16
ASKS = ("depth", "region", "forget", "state")
SECTION = "register.link"
"""Where the run file names the endpoint and the keys."""

KEPT_S = 5.0
LONGEST_S = 86400.0

Far: TypeAlias = float | Literal["inf"]
Name = Annotated[str, Meta(max_length=64)]
Seconds = Annotated[float, Meta(gt=0, le=LONGEST_S)] | Literal["inf"]
Box: TypeAlias = tuple[float, float, float, float]


class AskDepth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="depth"):
    """The plane at which both images meet, outside all regions."""

    depth_m: Far


class AskRegion(Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="region"):
    """Another depth in one box, x, y, width, height in output pixels, for so many seconds; then it is forgotten."""

    box: Box
    depth_m: Far
    name: Name = ""
    seconds: Seconds = KEPT_S


class AskForget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="forget"):
    """The region of this name is gone, if there was one."""

    name: Name = ""


class AskState(Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="state"):
    """Changes nothing."""


class RegionEntry(Struct, frozen=True):
    """A region that is asked for, and how many more seconds; "inf": until somebody forgets it."""

    name: str
    box: Box
    depth_m: Far
    seconds: Far


class StateReply(Struct, frozen=True, tag_field="answer", tag="state"):
    """What is asked for now, and the map that frames get.

    `depth_m` is null for a planar rig; `confidence` is that of the map, 0 also where the two images do not meet;
    `pending`: a newer map is being made; `size`: the output, width and height.
    """

    depth_m: Far | None
    regions: list[RegionEntry]
    revision: int
    confidence: float
    pending: bool
    size: tuple[int, int]


class RefusedReply(Struct, frozen=True, tag_field="answer", tag="refused"):
    """What was wrong; nothing changed."""

    error: str


Request: TypeAlias = AskDepth | AskRegion | AskForget | AskState
Reply: TypeAlias = StateReply | RefusedReply

_REQUESTS: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def far(value: float) -> Far:
    """As it is written."""
    return "inf" if value == math.inf else value


def write(message: Request | Reply) -> bytes:
    return msgspec.json.encode(message)


def read_request(parts: list[bytes]) -> Request:
    """Raises UserError that says what is wrong with it."""
    if len(parts) != 1:
        raise UserError(f"a request is one part, a JSON object; this one has {len(parts)}")
    if len(parts[0]) > MAX_REQUEST_BYTES:
        raise UserError(f"the request has {len(parts[0])} bytes; at most {MAX_REQUEST_BYTES} are read")
    try:
        return _REQUESTS.decode(str(parts[0], "utf-8"))
    except msgspec.ValidationError as error:
        raise UserError(_said(error)) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UserError(f"the request is not UTF-8 JSON: {error}") from error


def read_reply(data: bytes) -> Reply:
    """Raises WireError for anything else."""
    try:
        return _REPLIES.decode(str(data, "utf-8"))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"what answers is no depth link of streamfuse: {error}") from error


def _said(error: msgspec.ValidationError) -> str:
    what, _, where = str(error).partition(" - at `$")
    where = where.rstrip("`")
    known = f"; `ask` is one of {', '.join(ASKS)}" if where == ".ask" or "field `ask`" in what else ""
    return f"request{where}: {what[0].lower()}{what[1:120]}{known}"
