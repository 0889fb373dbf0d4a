"""What a run file may say, and nothing else: an unknown key is an error that names the nearest valid one.

A run file is a complete answer: it names its source, its rig, its model and its endpoint. Paths in it are relative to
the run file; `shipped:` paths are files that come with streamfuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from streamfuse.shipped import resolve_path
from streamfuse.yamlfile import read_yaml

Pace = Literal["real", "fast", "every"]
Positive = Annotated[float, Field(gt=0)]
PixelCount = Annotated[int, Field(ge=16, le=16384)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RecordingConfig(Section):
    """A recorded pair: two folders of images, two image files or two videos."""

    kind: Literal["recording"]
    thermal: str  # folder, image or video
    rgb: str
    thermal_times: str | None = None  # CSV or JSONL sidecar (frame, time_ns); found beside the input by itself
    rgb_times: str | None = None
    rate_hz: Positive | None = None  # of folders without times (30)
    pace: Pace = "real"  # real: as recorded; fast: no waiting; every: no threads, deterministic
    speed: Positive = 1.0
    loop: bool = False


class SyntheticConfig(Section):
    """A moving night scene with known geometry and temperature, seen by two cameras of a known rig."""

    kind: Literal["synthetic"]
    seed: int = 0
    duration_s: Positive | None = None  # endless
    thermal_size: tuple[PixelCount, PixelCount] = (320, 256)
    rgb_size: tuple[PixelCount, PixelCount] = (1280, 720)
    thermal_rate_hz: Positive = 30.0
    rgb_rate_hz: Positive = 30.0
    thermal_phase_ms: float = 0.0  # the thermal camera exposes this much later
    thermal_offset_ms: float = 0.0  # thermal stamps say this much more than the truth; the rig knows
    drift_ppm: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    jitter_ms: Annotated[float, Field(ge=0)] = 0.0
    thermal_bits: Literal[8, 16] = 16
    shutter_every_s: Positive | None = None  # thermal freezes this often, as a flat-field shutter does
    shutter_duration_s: Positive = 0.5
    night: bool = True
    people: Annotated[int, Field(ge=0, le=50)] = 5
    vehicles: Annotated[int, Field(ge=0, le=20)] = 2
    markers: bool = False  # bright, warm discs at known places, to measure geometry with
    pace: Pace = "real"


class CameraConfig(Section):
    """One live camera: a GStreamer launch fragment without a sink, or an address; `${NAME}` is an environment variable.

    Leave out format, size and rate to take what the camera gives; with a size, a run may begin without the camera.
    """

    launch: str | None = None  # e.g. v4l2src device=/dev/video0
    uri: str | None = None  # rtsp://..., http://..., a file
    format: Literal["GRAY16_LE", "GRAY8", "RGB", "BGR", "NV12", "I420"] | None = None
    size: tuple[PixelCount, PixelCount] | None = None  # width, height
    rate_hz: Positive | None = None
    latency_ms: Annotated[int, Field(ge=0, le=10_000)] = 50  # RTSP: how long to wait for packets out of order
    transport: Literal["tcp", "udp"] = "tcp"  # RTSP
    sender_clock: Literal["free", "synced"] = "free"  # RTSP; synced: camera and this machine follow one NTP or PTP time
    stall_ms: Positive | None = None  # silence that counts as a loss: 5 periods, >= 500; 2000 over a network
    open_ms: Positive | None = None  # until the first frame: 5000; 10000 over a network

    @model_validator(mode="after")
    def _one_source(self) -> CameraConfig:
        if (self.launch is None) == (self.uri is None):
            raise ValueError("a camera needs either `launch` (a GStreamer fragment) or `uri` (an address)")
        return self


class LiveConfig(Section):
    """Two live cameras, through GStreamer."""

    kind: Literal["live"]
    thermal: CameraConfig
    rgb: CameraConfig


class MatchConfig(Section):
    method: Literal["approximate", "exact", "latest"] = "approximate"
    max_skew_ms: Positive | None = None  # half the shorter period
    reuse: bool = False  # a frame of the slower stream may serve several of the faster one


class OutputConfig(Section):
    size: tuple[PixelCount, PixelCount] | None = None  # width, height; the RGB size
    fit: Literal["crop", "stretch"] = "crop"


def _word(value: object) -> object:
    """YAML takes a bare `off` for false."""
    return "off" if value is False else value


class CurveConfig(Section):
    """Encryption with the keys that `streamfuse keys` makes."""

    secret_key_file: str  # the publisher's
    clients: str  # folder or file of the public keys that may read; `any`: whoever knows the publisher's key


class LinkConfig(Section):
    """Where other processes may ask for another depth, and see which one is in force."""

    endpoint: str  # e.g. tcp://127.0.0.1:5557
    curve: CurveConfig | None = None  # a public endpoint (tcp://*:5557) needs it; `clients` may ask


class RegisterConfig(Section):
    """Needs a rig file; without one nothing is known of depth or drift."""

    depth_m: Positive | None = None  # of the plane at which both images meet (.inf: far away); the rig's working depth
    correct: Annotated[Literal["off", "watch", "follow"], BeforeValidator(_word)] = "watch"
    # drift: not measured, measured and said, or corrected too
    link: LinkConfig | None = None  # asked from outside while it runs; nobody can where it is left out


class ToneConfig(Section):
    method: Literal["auto", "linear", "percentile", "plateau"] = "auto"
    time_constant_s: Annotated[float, Field(ge=0)] = 1.0


class FuseConfig(Section):
    model: str = "streamfuse-s"
    engine: str = "auto"  # tensorrt, inductor, openvino, eager: the best that is here; said in every message
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"  # auto: what the engine computes fastest
    threads: Annotated[int, Field(ge=1, le=64)] = 1


class PublishConfig(Section):
    endpoint: str = "tcp://127.0.0.1:5555"
    curve: CurveConfig | None = None  # a public endpoint (tcp://*:5555) needs it
    codec: Literal["raw", "jpeg"] = "raw"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    mode: Literal["pub", "push"] = "pub"  # push: loss-free, waits for the consumer (scoring)


class RunConfig(Section):
    source: Annotated[RecordingConfig | SyntheticConfig | LiveConfig, Field(discriminator="kind")]
    rig: str | None = None  # rig file; without one thermal is stretched over the whole RGB image
    policy: Literal["every", "newest"] | None = None  # newest for live cameras, else every
    match: MatchConfig = MatchConfig()
    output: OutputConfig = OutputConfig()
    # `register` alone would hide a method of pydantic's
    registration: Annotated[RegisterConfig, Field(alias="register")] = RegisterConfig()
    tone: ToneConfig = ToneConfig()
    fuse: FuseConfig = FuseConfig()
    publish: PublishConfig = PublishConfig()
    ledger: str | None = None  # write the match ledger to this JSONL file
    folder: Annotated[Path, Field(exclude=True)] = Path()  # where relative paths start; set by load_run


def load_run(path: Path) -> RunConfig:
    """Read and check a run file. Raises UserError naming file, key, value and what is allowed."""
    return read_yaml(path, RunConfig, "run file").model_copy(update={"folder": path.resolve().parent})


def resolve(config: RunConfig, named: str) -> Path:
    """The path that a run file means by `named`."""
    return resolve_path(named, config.folder)
