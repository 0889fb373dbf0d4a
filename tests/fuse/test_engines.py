"""One parity test over all engines: what comes out of them is the plain numpy evaluation, within a grey level."""

from __future__ import annotations

import fusion_reference as reference
import numpy as np
import pytest
from fusion_scenes import pair, rgb_frame, thermal_frame, warp

from streamfuse.frames import AlignedPair
from streamfuse.fuse import ENGINES, open_fuser
from streamfuse.models import MODELS
from streamfuse.thermal import ToneCurve, ToneMapper

GREY_LEVELS = {"eager": 1}
"""How far each engine may be from the reference after rounding; 2 where it warps with fixed-point maps."""

SIZES = [((64, 48), (96, 80), 0.8), ((31, 23), (45, 37), 1.2)]


def plain(aligned: AlignedPair, model: str) -> np.ndarray:
    thermal, rgb = aligned.frames.thermal, aligned.frames.rgb
    assert thermal is not None
    assert rgb is not None
    curve: ToneCurve = ToneMapper().update(thermal.pixels, thermal.capture_ns)
    return reference.as_bytes(reference.mix(thermal.pixels, curve, rgb.pixels, aligned.warp, model))


@pytest.mark.parametrize(("thermal_size", "size", "scale"), SIZES)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_reference_within_its_grey_levels(
    engine, model, bits, thermal_size, size, scale
) -> None:
    aligned = pair(thermal_frame(thermal_size, bits=bits), rgb_frame(size), warp(thermal_size, size, scale=scale))
    with open_fuser(model=model, engine=engine) as fuser:
        fused = fuser.fuse(aligned).pixels
    wanted = plain(aligned, model)
    assert fused.shape == wanted.shape
    assert fused.dtype == np.uint8
    assert np.abs(fused.astype(int) - wanted).max() <= GREY_LEVELS[engine]
    assert (fused == wanted).mean() > 0.99


@pytest.mark.parametrize("value", [0, 65535])
@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("engine", ENGINES)
def test_extreme_images_neither_wrap_round_nor_break(engine: str, value: int, level: int) -> None:
    thermal, rgb = thermal_frame((32, 24)), rgb_frame((40, 32))
    thermal.pixels[:] = value
    rgb.pixels[:] = level
    with open_fuser(engine=engine, tone=ToneMapper("linear")) as fuser:
        fused = fuser.fuse(pair(thermal, rgb, warp((32, 24), (40, 32), scale=1.2))).pixels
    middle = (level + 127.5) / 2  # a flat thermal image is toned to one half
    assert np.abs(fused.astype(float) - middle).max() <= 2


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_are_deterministic_and_keep_nothing_of_earlier_frames(engine: str) -> None:
    geometry = warp((31, 23), (45, 37))
    first, second = (pair(thermal_frame((31, 23), seed=k), rgb_frame((45, 37), seed=k), geometry) for k in (0, 1))
    with open_fuser(engine=engine, tone=ToneMapper("auto", time_constant_s=0)) as fuser:
        kept = fuser.fuse(first).pixels
        copy = kept.copy()
        other = fuser.fuse(second).pixels
        again = fuser.fuse(first).pixels
    assert np.array_equal(kept, copy)
    assert np.array_equal(kept, again)
    assert not np.array_equal(kept, other)
