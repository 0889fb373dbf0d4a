"""One parity test over all engines and precisions: what comes out of them is the plain evaluation in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import fusion_reference as reference
import numpy as np
import pytest
import torch
from fusion_scenes import lone, pair, rgb_frame, street, thermal_frame, warp
from parity import similarity

from streamfuse.frames import AlignedPair
from streamfuse.fuse import ENGINES, open_fuser
from streamfuse.fuse.rungs import existing
from streamfuse.models import build
from streamfuse.thermal import ToneCurve, ToneMapper

MODELS = tuple(reference.FUSIONS)
HERE = existing()
"""The engines that can exist on this machine; the others' parity is a matter for one that has a GPU."""


@dataclass(frozen=True)
class Bound:
    """Grey levels after rounding, and how much of the image is exactly right."""

    largest: int
    mean: float
    equal: float


EXACT = Bound(largest=1, mean=0.01, equal=0.99)
HALF = Bound(largest=3, mean=0.3, equal=0.7)
EVERY_BOUND = {
    ("tensorrt", "fp32"): EXACT,
    ("tensorrt", "fp16"): HALF,
    ("inductor", "fp32"): EXACT,
    ("inductor", "fp16"): HALF,
    ("eager", "auto"): EXACT,
    ("openvino", "fp32"): EXACT,
    ("openvino", "bf16"): Bound(largest=5, mean=0.5, equal=0.5),
}
BOUNDS = {variant: bound for variant, bound in EVERY_BOUND.items() if variant[0] in HERE}
TRAINED = "streamfuse-s"  # the others have nothing that computes in bf16
CASES = [(*variant, model) for variant in BOUNDS for model in MODELS if "bf16" not in variant or model == TRAINED]

every_case = pytest.mark.parametrize(("engine", "precision", "model"), CASES)
every_engine = pytest.mark.parametrize("engine", HERE)


def plain(aligned: AlignedPair, model: str) -> np.ndarray:
    thermal, rgb = aligned.frames.thermal, aligned.frames.rgb
    assert thermal is not None
    assert rgb is not None
    curve: ToneCurve = ToneMapper().update(thermal.pixels, thermal.capture_ns)
    return reference.as_bytes(reference.mix(thermal.pixels, curve, rgb.pixels, aligned.warp, model))


def assert_within(bound: Bound, fused: np.ndarray, wanted: np.ndarray) -> None:
    assert (fused.shape, fused.dtype) == (wanted.shape, wanted.dtype)
    off = np.abs(fused.astype(int) - wanted)
    assert off.max() <= bound.largest
    assert off.mean() <= bound.mean
    assert (off == 0).mean() >= bound.equal


def test_every_engine_is_under_test() -> None:
    assert {engine for engine, _ in EVERY_BOUND} == set(ENGINES)
    assert {(engine, model) for engine, _, model in CASES} == {(engine, model) for engine in HERE for model in MODELS}


@every_case
def test_every_engine_gives_the_reference_within_its_grey_levels(engine, precision, model) -> None:
    with open_fuser(model=model, engine=engine, precision=precision) as fuser:
        for bits, scale in ((8, 0.7), (16, 1.2)):
            fuser.reset()
            geometry = warp((31, 23), (45, 37), scale=scale)
            aligned = pair(thermal_frame((31, 23), bits=bits), rgb_frame((45, 37)), geometry)
            assert_within(BOUNDS[engine, precision], fuser.fuse(aligned).pixels, plain(aligned, model))


@every_case
def test_a_street_at_night_looks_the_same_from_every_engine(engine, precision, model) -> None:
    aligned = street()
    with open_fuser(model=model, engine=engine, precision=precision) as fuser:
        fused = fuser.fuse(aligned).pixels
    wanted = plain(aligned, model)
    assert_within(BOUNDS[engine, precision], fused, wanted)
    assert similarity(fused, wanted) >= 0.995


@pytest.mark.parametrize("model", MODELS)
def test_before_rounding_a_compiled_fp32_graph_is_the_reference_within_1e_4(model: str) -> None:
    from streamfuse.fuse.openvino import Buffers, converted, load_openvino, settings
    from streamfuse.fuse.planar import PlanarGraph

    class Unrounded(PlanarGraph):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.mix(*inputs)

    geometry, library = warp((31, 23), (45, 37), scale=0.7), load_openvino()
    thermal, rgb = thermal_frame((31, 23)).pixels, rgb_frame((45, 37)).pixels
    curve = ToneMapper("percentile").update(thermal, 0)
    buffers = Buffers.of((31, 23), (45, 37))
    buffers.set_warp(geometry)
    buffers.set_thermal(thermal)
    buffers.set_curve(curve)
    buffers.set_rgb(rgb)
    graph = converted(Unrounded(build(model)).eval(), buffers.fusion)
    compiled = library.Core().compile_model(graph, "CPU", settings(1, "fp32"))
    mixed = compiled(list(buffers.fusion.values()))[0][0].transpose(1, 2, 0)
    wanted = reference.mix(thermal, curve, rgb, geometry, model)
    assert np.abs(mixed - wanted).max() / 255 <= 1e-4


@pytest.mark.parametrize("value", [0, 65535])
@pytest.mark.parametrize("level", [0, 255])
@every_engine
def test_extreme_images_neither_wrap_round_nor_break(engine: str, value: int, level: int) -> None:
    thermal, rgb = thermal_frame((32, 24)), rgb_frame((40, 32))
    thermal.pixels[:] = value
    rgb.pixels[:] = level
    with open_fuser(model="average", engine=engine, tone=ToneMapper("linear")) as fuser:
        fused = fuser.fuse(pair(thermal, rgb, warp((32, 24), (40, 32), scale=1.2))).pixels
    middle = (level + 127.5) / 2  # a flat thermal image is toned to one half
    assert np.abs(fused.astype(float) - middle).max() <= 2


@every_engine
def test_engines_are_deterministic_and_keep_nothing_of_earlier_frames(engine: str) -> None:
    geometry = warp((31, 23), (45, 37))
    first, second = (pair(thermal_frame((31, 23), seed=k), rgb_frame((45, 37), seed=k), geometry) for k in (0, 1))
    with open_fuser(model="average", engine=engine, tone=ToneMapper("auto", time_constant_s=0)) as fuser:
        kept = fuser.fuse(first).pixels
        copy = kept.copy()
        other = fuser.fuse(second).pixels
        again = fuser.fuse(first).pixels
    assert np.array_equal(kept, copy)
    assert np.array_equal(kept, again)
    assert not np.array_equal(kept, other)


@every_engine
def test_a_lone_thermal_frame_is_the_warped_image_on_every_engine(engine: str) -> None:
    frame, geometry = thermal_frame((31, 23)), warp((31, 23), (45, 37), scale=0.7)
    curve = ToneMapper().update(frame.pixels, frame.capture_ns)
    wanted = reference.as_bytes(255 * reference.warped(frame.pixels, curve, geometry) * geometry.valid)
    with open_fuser(model="average", engine=engine) as fuser:
        shown = fuser.fuse(lone(frame, geometry)).pixels
    assert_within(EXACT, shown, np.repeat(wanted[..., None], 3, axis=2))


@every_engine
def test_a_new_map_and_new_sizes_count_from_the_next_frame_on(engine: str) -> None:
    small, turned = (warp((31, 23), (45, 37), tilt=tilt, revision=k) for k, tilt in enumerate((0.03, -0.3)))
    large = warp((64, 48), (96, 80))
    with open_fuser(model="average", engine=engine, tone=ToneMapper(time_constant_s=0)) as fuser:
        for k, geometry in enumerate((small, turned, large, small)):
            thermal, rgb = thermal_frame(geometry.thermal_size, k, seed=k), rgb_frame(geometry.grid.size, k, seed=k)
            aligned = pair(thermal, rgb, geometry)
            assert_within(EXACT, fuser.fuse(aligned).pixels, plain(aligned, "average"))


@every_engine
def test_a_tone_curve_that_moves_is_followed(engine: str) -> None:
    geometry, frame = warp((31, 23), (45, 37)), thermal_frame((31, 23))
    warmer = replace(frame, pixels=frame.pixels // 2 + 20000, capture_ns=frame.capture_ns + 500_000_000, sequence=1)
    tone = ToneMapper("percentile")
    with open_fuser(model="average", engine=engine, tone=ToneMapper("percentile")) as fuser:
        for thermal in (frame, warmer):
            curve = tone.update(thermal.pixels, thermal.capture_ns)
            rgb = rgb_frame((45, 37))
            wanted = reference.as_bytes(reference.mix(thermal.pixels, curve, rgb.pixels, geometry, "average"))
            assert_within(EXACT, fuser.fuse(pair(thermal, rgb, geometry)).pixels, wanted)
