"""From a run file to closed parts: the one place that knows both the config and the stages.

Every function is a plain choice; heavy libraries load inside the branch that needs them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamfuse.capture import Capture, InOrder, Policy
from streamfuse.clock import ReplayClock
from streamfuse.config import (
    CameraConfig,
    CurveConfig,
    LiveConfig,
    MatchConfig,
    RecordingConfig,
    RunConfig,
    SyntheticConfig,
)
from streamfuse.config import resolve as resolve_in
from streamfuse.correction import Correction
from streamfuse.curve import PublisherKeys
from streamfuse.errors import UserError
from streamfuse.frames import Modality
from streamfuse.publish import Dropped, Publisher, Sent, SourceStates
from streamfuse.register import Registrar
from streamfuse.rig import Rig
from streamfuse.sources import FrameSource, SourceInfo
from streamfuse.stretch import StretchRegistrar
from streamfuse.supervise import Patience, SupervisedSource
from streamfuse.sync import PairMatcher

if TYPE_CHECKING:
    from streamfuse.fuse import Fuser
    from streamfuse.sources.synthetic import SceneConfig

HANGS_S = 3.0


@dataclass(frozen=True, slots=True)
class Cameras:
    """Both sources, the rig they belong to where the source itself knows it, and what a user should be told.

    `paced`: frames come when they are due, so that silence means something; `deterministic`: no threads.
    """

    thermal: FrameSource
    rgb: FrameSource
    rig: Rig | None = None
    warnings: tuple[str, ...] = ()
    paced: bool = False
    deterministic: bool = False


def open_cameras(config: RunConfig) -> Cameras:
    """The sources that a run file names; they are checked here and opened when they are entered."""
    match config.source:
        case RecordingConfig() as recording:
            return _open_recording(config, recording)
        case SyntheticConfig() as scene:
            return _open_synthetic(scene)
        case LiveConfig() as live:
            return _open_live(config, live)


def _open_recording(config: RunConfig, source: RecordingConfig) -> Cameras:
    from streamfuse.sources.recording import open_recording

    pair = open_recording(
        resolve_in(config, source.thermal),
        resolve_in(config, source.rgb),
        thermal_times=resolve_in(config, source.thermal_times) if source.thermal_times else None,
        rgb_times=resolve_in(config, source.rgb_times) if source.rgb_times else None,
        rate_hz=source.rate_hz,
        pace=source.pace,
        speed=source.speed,
        loop=source.loop,
    )
    return Cameras(pair.thermal, pair.rgb, None, pair.warnings, source.pace == "real", source.pace == "every")


def _open_synthetic(source: SyntheticConfig) -> Cameras:
    from streamfuse.sources.synthetic import open_synthetic

    pair = open_synthetic(scene_of(source), pace=source.pace)
    return Cameras(pair.thermal, pair.rgb, pair.rig, (), source.pace == "real", source.pace == "every")


def scene_of(source: SyntheticConfig) -> SceneConfig:
    """The scene that a run file asks for; times there are in ms, here in ns."""
    from streamfuse.sources.synthetic import SceneConfig

    same = source.model_dump(exclude={"kind", "pace", "thermal_phase_ms", "thermal_offset_ms", "jitter_ms"})
    return SceneConfig(
        thermal_phase_ns=round(source.thermal_phase_ms * 1e6),
        thermal_offset_ns=round(source.thermal_offset_ms * 1e6),
        jitter_ns=round(source.jitter_ms * 1e6),
        **same,
    )


def _open_live(config: RunConfig, source: LiveConfig) -> Cameras:
    """Both cameras, each supervised unless it is a file; files share one replay clock."""
    from streamfuse.sources.gstreamer_library import load_gstreamer

    replay = ReplayClock(0)
    thermal = _open_camera(config, Modality.THERMAL, source.thermal, replay)
    rgb = _open_camera(config, Modality.RGB, source.rgb, replay)
    return Cameras(thermal, rgb, None, load_gstreamer().warnings, paced=True)


def _open_camera(config: RunConfig, modality: Modality, camera: CameraConfig, replay: ReplayClock) -> FrameSource:
    from streamfuse.sources.gstreamer import GstCamera
    from streamfuse.sources.gstreamer_spec import CameraSpec

    asked = camera.model_dump(exclude={"launch", "uri"})
    spec = CameraSpec.of(launch=camera.launch, uri=camera.uri, folder=config.folder, **asked)
    open_source = GstCamera(modality, spec, any_size=config.rig is None, replay=replay)
    if spec.is_file:
        return open_source()
    # the source has its own limits and better words; these are for a driver that hangs
    stall_s = camera.stall_ms / 1e3 if camera.stall_ms else None
    patience = Patience(stall_s=stall_s, give_up_s=spec.stall_s + HANGS_S, connect_s=spec.open_s + HANGS_S)
    return SupervisedSource(modality, open_source, expected=open_source.expected, patience=patience)


def open_intake(config: RunConfig, cameras: Cameras) -> Capture | InOrder:
    """Threads for whatever runs in time; one thread, in order, for the deterministic pace."""
    sources = (cameras.thermal, cameras.rgb)
    if cameras.deterministic:
        return InOrder(sources)
    policy = Policy(config.policy or ("newest" if isinstance(config.source, LiveConfig) else "every"))
    return Capture(sources, policy=policy, ordered=not cameras.paced)


def open_rig(config: RunConfig, cameras: Cameras) -> Rig:
    """The rig file of the run, the source's own rig, or plain stretching (call it with opened sources)."""
    if config.rig:
        return Rig.load(resolve_in(config, config.rig))
    return cameras.rig or Rig.identity(cameras.thermal.info.size, cameras.rgb.info.size)


def open_registrar(
    config: RunConfig, cameras: Cameras, rig: Rig, thermal: SourceInfo, rgb: SourceInfo
) -> Registrar | StretchRegistrar:
    size, fit = config.output.size, config.output.fit
    asked = config.registration
    if config.rig is None and cameras.rig is None:
        if asked.depth_m is not None or asked.correct == "follow" or asked.link:
            raise UserError(
                "register.depth_m, register.link and register.correct: follow need a rig file, and the run file names "
                "none"
            )
        return StretchRegistrar(thermal.size, rgb.size, size=size, fit=fit)
    return Registrar(rig, size=size, fit=fit, thermal_size=thermal.size, rgb_size=rgb.size, depth_m=asked.depth_m)


def open_correction(
    config: RunConfig, cameras: Cameras, registrar: Registrar | StretchRegistrar, fuser: Fuser
) -> Correction | None:
    """Who follows the drift; nobody without a rig, and none in a deterministic run, whose outputs know no time."""
    if isinstance(registrar, Registrar):
        registrar.before_swap = fuser.foresee
    asked = config.registration.correct
    if asked == "off" or cameras.deterministic or isinstance(registrar, StretchRegistrar):
        return None
    return Correction(registrar, apply=asked == "follow")


def open_depth_link(config: RunConfig, registrar: Registrar | StretchRegistrar) -> AbstractContextManager[object]:
    """Who answers other processes that ask for a depth; nobody unless the run file says where."""
    link = config.registration.link
    if link is None or isinstance(registrar, StretchRegistrar):
        return nullcontext()
    from streamfuse.depthlink.server import DepthServer

    return DepthServer(link.endpoint, registrar, curve=open_keys(config, link.curve) if link.curve else None)


def open_matcher(match: MatchConfig, rig: Rig, thermal: SourceInfo, rgb: SourceInfo) -> PairMatcher:
    return PairMatcher(
        method=match.method,
        thermal_delay_ns=rig.thermal_delay_ns,
        max_skew_ns=round(match.max_skew_ms * 1e6) if match.max_skew_ms else None,
        thermal_rate_hz=thermal.rate_hz,
        rgb_rate_hz=rgb.rate_hz,
        reuse=match.reuse,
    )


def open_fusion(config: RunConfig) -> Fuser:
    from streamfuse.fuse import open_fuser
    from streamfuse.models import WEIGHTS
    from streamfuse.thermal import ToneMapper

    asked = config.fuse.model_dump()
    if config.fuse.model.endswith(WEIGHTS):
        asked["model"] = str(resolve_in(config, config.fuse.model))
    tone = ToneMapper(config.tone.method, time_constant_s=config.tone.time_constant_s)
    return open_fuser(**asked, tone=tone)


def open_publisher(
    config: RunConfig, rig: Rig, fuser: Fuser, on_sent: Sent, on_dropped: Dropped, sources: SourceStates | None = None
) -> Publisher:
    publish = config.publish
    return Publisher(
        publish.endpoint,
        rig=rig.name,
        info={"engine": fuser.engine, "model": fuser.model, "calibration": rig.content_hash},
        codec=publish.codec,
        jpeg_quality=publish.jpeg_quality,
        mode=publish.mode,
        curve=open_keys(config, publish.curve) if publish.curve else None,
        on_sent=on_sent,
        on_dropped=on_dropped,
        sources=sources,
    )


def open_keys(config: RunConfig, curve: CurveConfig) -> PublisherKeys:
    clients = "any" if curve.clients == "any" else resolve_in(config, curve.clients)
    return PublisherKeys(resolve_in(config, curve.secret_key_file), clients)
