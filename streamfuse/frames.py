"""The data's way as types: Frame -> FramePair | LoneFrame -> AlignedPair -> FusedFrame.

One small frozen type per state of the data, so that an unregistered pair cannot be fused by mistake. A frame that
leaves the way early becomes a `DroppedFrame` with its reason; nothing disappears silently.

The clock rule: every `*_ns` is an integer count of nanoseconds on this machine's monotonic clock, except
`recording_ns`, which is a recording's own time. Wall-clock time exists only in published messages.

The pixel rule: thermal is H W uint8 or uint16 (counts); RGB is H W 3 uint8, red first. Sizes are (width, height).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Size = tuple[int, int]
"""Width and height, pixels."""
Stamps = Mapping[str, int]
"""Stage name -> monotonic ns at which that stage was done, in the order of `timing.STAGES`."""


def wxh(size: Size) -> str:
    """As messages and file names say it: 640x512."""
    return f"{size[0]}x{size[1]}"


class Modality(str, Enum):
    THERMAL = "thermal"
    RGB = "rgb"

    @property
    def other(self) -> Modality:
        return Modality.RGB if self is Modality.THERMAL else Modality.THERMAL


class Clock(str, Enum):
    """Where a capture time came from, best first."""

    SENSOR = "sensor"
    DRIVER = "driver"
    RTP_SENDER = "rtp_sender"
    ARRIVAL = "arrival"
    RECORDING = "recording"


class State(str, Enum):
    """What an output shows; a tracker reads it to know when to distrust a frame."""

    FUSED = "fused"
    THERMAL_ONLY = "thermal-only"
    VISIBLE_ONLY = "visible-only"
    STALE = "stale"


class Reason(str, Enum):
    """Why a frame, a pair or an output left the data's way early."""

    CORRUPT = "corrupt"  # could not be decoded
    DUPLICATE = "duplicate"  # same or older stamp than its predecessor, or a sequence seen before
    LATE = "late"  # arrived after its time had been decided
    OVERFLOW = "overflow"  # a bounded queue was full
    SURPLUS = "surplus"  # extra frame of the faster stream: another one was closer to every reference frame
    RESET = "reset"  # in flight while time jumped back or a source was replaced
    SHUTDOWN = "shutdown"  # in flight when the run ended
    SUPERSEDED = "superseded"  # a newer output took its place before the socket was ready
    FAILED = "failed"  # the engine failed on it
    LONE = "lone"  # an output of one modality where only pairs were asked for


@dataclass(frozen=True, slots=True)
class Radiometric:
    """Temperature = scale * counts + offset, in `unit`."""

    scale: float
    offset: float
    unit: str = "K"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One image of one camera, with its capture time.

    Raises ValueError when the pixels do not follow the pixel rule.
    """

    modality: Modality
    pixels: Pixels
    capture_ns: int
    sequence: int
    clock: Clock
    capture_error_ns: int = 0
    recording_ns: int | None = None
    name: str = ""
    radiometric: Radiometric | None = None
    stamps: Stamps = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if self.modality is Modality.RGB:
            good, rule = len(shape) == 3 and shape[2] == 3 and dtype == np.uint8, "H W 3 uint8"
        else:
            good, rule = len(shape) == 2 and (dtype == np.uint8 or dtype == np.uint16), "H W uint8 or uint16"
        if not good:
            raise ValueError(f"a {self.modality.value} frame must be {rule}, found shape {shape} {dtype}")

    @property
    def size(self) -> Size:
        return self.pixels.shape[1], self.pixels.shape[0]

    def stamped(self, stage: str, at_ns: int) -> Frame:
        return replace(self, stamps={**self.stamps, stage: at_ns})

    def dropped(self, reason: Reason, detail: str = "") -> DroppedFrame:
        """The ledger entry of this frame where it leaves early."""
        return DroppedFrame(
            modality=self.modality,
            sequence=self.sequence,
            reason=reason,
            capture_ns=self.capture_ns,
            recording_ns=self.recording_ns,
            detail=detail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedFrame:
    """The ledger entry of a frame that left early: its identity and why, without its pixels."""

    modality: Modality
    sequence: int
    reason: Reason
    capture_ns: int | None = None
    recording_ns: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramePair:
    """Two frames of (nearly) one instant.

    `skew_ns` = thermal minus RGB capture time, after the rig's known thermal delay is removed.
    `held` says that one of the frames had been used before.
    """

    thermal: Frame
    rgb: Frame
    skew_ns: int
    held: bool = False
    stamps: Stamps = field(default_factory=dict[str, int])

    @property
    def reference(self) -> Frame:
        """The frame whose capture time the output carries."""
        return self.rgb

    def stamped(self, stage: str, at_ns: int) -> FramePair:
        return replace(self, stamps={**(self.stamps or self.rgb.stamps), stage: at_ns})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoneFrame:
    """A frame that found no partner, and why; it becomes thermal-only or visible-only output."""

    frame: Frame
    why: str
    stamps: Stamps = field(default_factory=dict[str, int])

    @property
    def thermal(self) -> Frame | None:
        return self.frame if self.frame.modality is Modality.THERMAL else None

    @property
    def rgb(self) -> Frame | None:
        return self.frame if self.frame.modality is Modality.RGB else None

    @property
    def reference(self) -> Frame:
        return self.frame

    def stamped(self, stage: str, at_ns: int) -> LoneFrame:
        return replace(self, stamps={**(self.stamps or self.frame.stamps), stage: at_ns})


@dataclass(frozen=True, slots=True)
class OutputGrid:
    """The output image as a crop of the RGB image, scaled to `size`.

    Convention: pixel centres at integers, x right, y down; `crop` = (x, y, width, height) in RGB pixels, whole
    numbers. An output pixel u maps to x + (u + 0.5) * width / size[0] - 0.5 (what cv2.resize and
    torch's interpolate(align_corners=False) do).
    """

    size: Size
    rgb_size: Size
    crop: tuple[int, int, int, int]

    @property
    def rgb_from_output(self) -> NDArray[np.float64]:
        """3x3 affine: RGB pixel = rgb_from_output @ (u, v, 1)."""
        x, y, width, height = self.crop
        sx, sy = width / self.size[0], height / self.size[1]
        return np.array([[sx, 0, x + sx / 2 - 0.5], [0, sy, y + sy / 2 - 0.5], [0, 0, 1]])


@dataclass(frozen=True, slots=True, eq=False)
class WarpMap:
    """Where each output pixel lies in the thermal image.

    `thermal_from_output`: H W 2 float32, thermal pixel coordinates (x, y); `valid`: H W bool, true exactly where those
    coordinates fall inside the thermal image (0 <= x <= width-1, 0 <= y <= height-1) in front of the camera.
    `calibration` is the content hash of the rig; `revision` grows with every rebuilt map.
    """

    thermal_from_output: NDArray[np.float32]
    valid: NDArray[np.bool_]
    thermal_size: Size
    grid: OutputGrid
    calibration: str
    depth_m: float | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Roll and zoom of the thermal image since the start of the run, about the middle of what both cameras see.

    Pairs are (roll, zoom): radians clockwise, and growth (0.01 = 1 % larger). `drift`: what was measured, before
    correction; `spread`: one standard deviation of either; `applied`: how much of it is corrected; `frozen`: unsure
    at present, the correction stays as it is.
    """

    frozen: bool
    drift: tuple[float, float] = (0.0, 0.0)
    spread: float = 0.0
    applied: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What is known of the alignment since the start of the run, in output pixels (x right, y down).

    `state`: off (not measured), watching (measured, not applied), following (measured and corrected), frozen (unsure
    at present, the correction stays as it is). `drift_px`: how far the thermal image has moved from where it was at
    the start, before correction; `spread_px`: one standard deviation of that, per axis; `applied_px`: how much of it
    is corrected; `trusted`: share of the recent estimates that could be used. `turn`: None where it is not measured.
    """

    state: str = "off"
    drift_px: tuple[float, float] = (0.0, 0.0)
    spread_px: float = 0.0
    applied_px: tuple[float, float] = (0.0, 0.0)
    trusted: float = 0.0
    turn: Turn | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedPair:
    """A pair (or a lone frame) plus the geometry that puts it onto the output grid; pixels are still untouched.

    `confidence` in [0, 1]: how far the alignment can be trusted; 0 = unknown, 1 = as good as the rig's residual.
    """

    frames: FramePair | LoneFrame
    warp: WarpMap
    confidence: float
    alignment: Alignment = field(default_factory=Alignment)
    stamps: Stamps = field(default_factory=dict[str, int])

    def stamped(self, stage: str, at_ns: int) -> AlignedPair:
        return replace(self, stamps={**(self.stamps or self.frames.stamps), stage: at_ns})


@dataclass(frozen=True, slots=True, kw_only=True)
class InputInfo:
    """What an output says about one of its inputs; `held` = this frame had been shown before (reuse, shutter)."""

    sequence: int
    capture_ns: int
    recording_ns: int | None = None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FusedFrame:
    """One output on the RGB grid, as the Fuser makes it and as a Subscriber receives it.

    `pixels`: H W 3 uint8 (red first), or H W for grey streams (`thermal` uint8, `thermal-raw` uint16).
    `capture_ns` and `recording_ns` are those of the RGB frame (of the thermal one when that is alone).
    `layers` holds further streams of the same instant by name, only those somebody asked for.
    `tone` = knots (counts, values in [0, 1]) of the thermal curve: invert it with numpy.interp(value, values, counts).
    On the consumer's side `same_boot` says whether `*_ns` are on this machine's clock.
    """

    pixels: Pixels
    stream: str
    sequence: int
    capture_ns: int
    clock: Clock
    state: State
    thermal: InputInfo | None
    rgb: InputInfo | None
    skew_ns: int | None
    capture_error_ns: int = 0
    recording_ns: int | None = None
    wall_ns: int | None = None
    name: str = ""
    engine: str = ""
    model: str = ""
    calibration: str = ""
    confidence: float = 0.0
    alignment: Alignment = field(default_factory=Alignment)
    session: str = ""
    same_boot: bool = True
    drops: Mapping[str, int] = field(default_factory=dict[str, int])
    stamps: Stamps = field(default_factory=dict[str, int])
    layers: Mapping[str, Pixels] = field(default_factory=dict[str, Pixels])
    tone: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    radiometric: Radiometric | None = None

    def stamped(self, stage: str, at_ns: int) -> FusedFrame:
        return replace(self, stamps={**self.stamps, stage: at_ns})
