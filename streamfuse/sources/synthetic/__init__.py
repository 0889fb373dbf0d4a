"""A moving street at night, seen by a thermal and an RGB camera of a known rig, with its exact truth.

    pair = open_synthetic(SceneConfig(seed=3, duration_s=10))
    with pair.thermal as thermal:
        for frame in thermal: ...
    pair.truth.boxes(Modality.THERMAL, time_ns)

All of the world lies on one plane at the rig's working depth, so that the rig's own map is exact there. Everything
follows from the seed. Noise is cut from a tile made once: any two frames differ, but only 8633 noise pictures exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamfuse.clock import ReplayClock
from streamfuse.errors import UserError
from streamfuse.frames import Modality, Pixels, Radiometric, Size
from streamfuse.lens import Floats, Lens, Pose
from streamfuse.rig import Rig
from streamfuse.sources import SourceInfo
from streamfuse.sources.synthetic.actors import cast_actors
from streamfuse.sources.synthetic.camera import RgbCamera, ThermalCamera
from streamfuse.sources.synthetic.scene import Scene
from streamfuse.sources.synthetic.source import SyntheticSource
from streamfuse.sources.synthetic.street import paint_street
from streamfuse.sources.synthetic.truth import SECOND_NS, Box, SceneTruth, Timing
from streamfuse.sources.synthetic.view import View

__all__ = ["Box", "SceneConfig", "SceneTruth", "SyntheticPair", "SyntheticSource", "open_synthetic", "synthetic_rig"]

RGB_VIEW_M, THERMAL_VIEW_M = 18.6, 17.6
"""Width of the plane that each camera sees; the lenses are chosen to give it at any depth."""
PACES = ("real", "fast", "every")
BASELINE_M = (0.08, -0.015, 0.01)


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """What to show and how each camera misbehaves. Raises UserError naming the field when a value cannot be used."""

    seed: int = 0
    duration_s: float | None = None  # endless
    thermal_size: Size = (320, 256)
    rgb_size: Size = (1280, 720)
    thermal_rate_hz: float = 30.0
    rgb_rate_hz: float = 30.0
    thermal_phase_ns: int = 0  # the thermal camera's first exposure after the RGB camera's
    thermal_offset_ns: int = 0  # thermal stamps say this much more than the truth; the rig knows it as its delay
    drift_ppm: float = 0.0  # the thermal clock runs this much too fast
    jitter_ns: int = 0  # standard deviation of both cameras' stamps (cut at three times that)
    thermal_bits: int = 16  # 16: centikelvin; 8: stretched to each picture's own range
    noise: float = 1.0  # 0 = none, in both cameras
    shutter_every_s: float | None = None  # never
    shutter_duration_s: float = 0.5
    night: bool = True
    depth_m: float = 20.0
    people: int = 5
    vehicles: int = 2
    markers: bool = False  # bright, warm discs at known places, to measure geometry with

    def __post_init__(self) -> None:
        for name in ("duration_s", "shutter_every_s"):
            self._check(name, "a positive number or None", getattr(self, name) is None or getattr(self, name) > 0)
        for name in ("thermal_rate_hz", "rgb_rate_hz", "shutter_duration_s", "depth_m"):
            self._check(name, "a positive number", getattr(self, name) > 0)
        for name in ("seed", "noise", "people", "vehicles"):
            self._check(name, "0 or more", getattr(self, name) >= 0)
        for name in ("thermal_size", "rgb_size"):
            self._check(name, "(width, height) of 16 to 4096 pixels", all(16 <= v <= 4096 for v in getattr(self, name)))
        self._check("thermal_bits", "8 or 16", self.thermal_bits in (8, 16))
        self._check("drift_ppm", "-1000 to 1000", abs(self.drift_ppm) <= 1000)
        most_ns = SECOND_NS / max(self.thermal_rate_hz, self.rgb_rate_hz) / 7
        self._check("jitter_ns", f"0 to {most_ns:.0f}, so that stamps rise", 0 <= self.jitter_ns <= most_ns)

    def _check(self, name: str, allowed: str, fulfilled: bool) -> None:
        if not fulfilled:
            raise UserError(f"synthetic scene: {name} is {getattr(self, name)!r}; allowed is {allowed}")


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """Both cameras, the rig they stand on, and the truth about what they see."""

    thermal: SyntheticSource
    rgb: SyntheticSource
    rig: Rig
    truth: SceneTruth


def open_synthetic(
    config: SceneConfig = SceneConfig(),
    *,
    pace: str = "real",
    rig: Rig | None = None,
) -> SyntheticPair:
    """Paint the street and set both cameras up; takes about a second.

    `rig` replaces the scene's own: any full rig whose image sizes are the config's. `pace` as in clock.ReplayClock.
    UserError when the rig cannot be used.
    """
    if pace not in PACES:
        raise UserError(f"synthetic scene: pace is {pace!r}; allowed is {', '.join(PACES)}")
    rig = rig or synthetic_rig(config)
    views = _views(config, rig)
    markers = _markers() if config.markers else np.zeros((0, 2))
    backdrop = paint_street(config.seed, night=config.night, markers_m=markers)
    actors = cast_actors(config.seed, people=config.people, vehicles=config.vehicles)
    truth = SceneTruth(Scene(backdrop, actors, markers), views, _timings(config))
    first_ns = min(timing.stamp_ns(0) for timing in truth.timings.values())
    clock = ReplayClock(first_ns, pace=pace)
    return SyntheticPair(_thermal_source(config, truth, clock), _rgb_source(config, truth, clock), rig, truth)


def synthetic_rig(config: SceneConfig) -> Rig:
    """The scene's own rig: both lenses with distortion, thermal beside and slightly askew of RGB, delay known."""
    turn = np.deg2rad([0.35, -0.5, 0.25])
    rotation = tuple(tuple(float(v) for v in row) for row in _rotation(turn))
    return Rig.model_validate(
        {
            "name": "synthetic",
            "thermal": _lens(config.thermal_size, config.depth_m, THERMAL_VIEW_M, (-0.10, 0.02, 0.0008, -0.0006, 0.0)),
            "rgb": _lens(config.rgb_size, config.depth_m, RGB_VIEW_M, (-0.06, 0.01, -0.0003, 0.0004, 0.0)),
            "rgb_from_thermal": Pose.model_validate({"rotation": rotation, "translation": BASELINE_M}),
            "working_depth_m": config.depth_m,
            "thermal_delay_ms": config.thermal_offset_ns / 1e6,
            "residual_px": 0.0,
            "notes": "exact: the scene is drawn with this rig",
        }
    )


def _lens(size: Size, depth_m: float, view_m: float, distortion: tuple[float, ...]) -> Lens:
    """A lens that sees `view_m` of the plane; distortion (given for 20 m) looks the same at every depth."""
    focal = size[0] * depth_m / view_m
    zoom = depth_m / 20.0
    k1, k2, p1, p2, k3 = distortion
    return Lens(
        size=size,
        fx=focal,
        fy=focal * 1.002,
        cx=size[0] / 2 - 0.5 + 0.006 * size[0],
        cy=size[1] / 2 - 0.5 - 0.008 * size[1],
        distortion=(k1 * zoom**2, k2 * zoom**4, p1 * zoom, p2 * zoom, k3 * zoom**6),
    )


def _rotation(turn: Floats) -> Floats:
    """Rotation matrix of a rotation vector (Rodrigues' formula), in radians."""
    angle = float(np.linalg.norm(turn))
    x, y, z = turn / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _views(config: SceneConfig, rig: Rig) -> dict[Modality, View]:
    if not (rig.thermal and rig.rgb and rig.rgb_from_thermal and rig.working_depth_m):
        raise UserError(
            f"synthetic scene: rig {rig.name!r} has no lenses, pose and working depth (it is a planar rig); "
            "name a full rig, or none to use the scene's own"
        )
    for name, lens, size in (("thermal", rig.thermal, config.thermal_size), ("rgb", rig.rgb, config.rgb_size)):
        if tuple(lens.size) != tuple(size):
            raise UserError(f"synthetic scene: {name}_size is {size}, rig {rig.name!r} has {lens.size}")
    return {
        Modality.THERMAL: View(rig.thermal, rig.rgb_from_thermal, rig.working_depth_m),
        Modality.RGB: View(rig.rgb, None, rig.working_depth_m),
    }


def _timings(config: SceneConfig) -> dict[Modality, Timing]:
    thermal = Timing(
        config.thermal_rate_hz,
        phase_ns=config.thermal_phase_ns,
        offset_ns=config.thermal_offset_ns,
        drift_ppm=config.drift_ppm,
        jitter_ns=config.jitter_ns,
        shutter_every_s=config.shutter_every_s,
        shutter_duration_s=config.shutter_duration_s,
        seed=2 * config.seed,
    )
    rgb = Timing(config.rgb_rate_hz, jitter_ns=config.jitter_ns, seed=2 * config.seed + 1)
    return {Modality.THERMAL: thermal, Modality.RGB: rgb}


def _thermal_source(config: SceneConfig, truth: SceneTruth, clock: ReplayClock) -> SyntheticSource:
    view, timing = truth.views[Modality.THERMAL], truth.timings[Modality.THERMAL]
    camera = ThermalCamera(truth.scene, view, seed=config.seed, bits=config.thermal_bits, noise=config.noise)

    def render(number: int) -> Pixels:
        shown = timing.shown(number)
        return camera.picture(timing.exposed_ns(shown) / SECOND_NS, shown, timing.closings(shown))

    info = _info("synthetic thermal camera", config, view, timing, config.thermal_bits)
    radiometric = Radiometric(scale=0.01, offset=0.0) if config.thermal_bits == 16 else None
    return SyntheticSource(Modality.THERMAL, info, timing, clock, render, radiometric)


def _rgb_source(config: SceneConfig, truth: SceneTruth, clock: ReplayClock) -> SyntheticSource:
    view, timing = truth.views[Modality.RGB], truth.timings[Modality.RGB]
    camera = RgbCamera(truth.scene, view, seed=config.seed, night=config.night, noise=config.noise)

    def render(number: int) -> Pixels:
        return camera.picture(timing.exposed_ns(number) / SECOND_NS, number)

    return SyntheticSource(
        Modality.RGB, _info("synthetic RGB camera", config, view, timing, bits=8), timing, clock, render
    )


def _info(what: str, config: SceneConfig, view: View, timing: Timing, bits: int) -> SourceInfo:
    frames = None if config.duration_s is None else timing.frames_before(round(config.duration_s * SECOND_NS))
    return SourceInfo(f"{what}, seed {config.seed}", view.lens.size, bits, timing.rate_hz, frames)


def _markers() -> Floats:
    """A grid over what both cameras see."""
    return np.stack(np.meshgrid(np.linspace(-7.2, 7.2, 7), np.linspace(-4.2, 4.2, 5)), axis=-1).reshape(-1, 2)
