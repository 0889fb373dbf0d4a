"""The Fuser: where pixels come from, what the output says about them, and what it does with lone frames."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from fusion_scenes import lone, pair, rgb_frame, thermal_frame, warp

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import AlignedPair, Clock, InputInfo, OutputGrid, Radiometric, State
from streamfuse.fuse import ENGINES, LAYERS, Fuser, on_grid, open_fuser
from streamfuse.thermal import ToneMapper

THERMAL, OUTPUT = (40, 30), (60, 44)
GEOMETRY = warp(THERMAL, OUTPUT, scale=0.7)


def one(k: int = 0, *, held: bool = False) -> AlignedPair:
    return pair(thermal_frame(THERMAL, k, seed=k), rgb_frame(OUTPUT, k, seed=k), GEOMETRY, held=held)


def test_a_pair_becomes_a_fused_frame_that_says_where_it_came_from() -> None:
    scale = Radiometric(0.04, 0.0)
    thermal, rgb = replace(thermal_frame(THERMAL, 7), radiometric=scale), rgb_frame(OUTPUT, 5)
    with open_fuser(model="average", engine="eager") as fuser:
        fused = fuser.fuse(pair(thermal, rgb, GEOMETRY))
    assert fused.pixels.shape == (44, 60, 3)
    assert fused.pixels.dtype == np.uint8
    assert fused.pixels.flags.c_contiguous
    assert (fused.stream, fused.sequence, fused.state) == ("fused", 0, State.FUSED)
    assert (fused.capture_ns, fused.recording_ns, fused.capture_error_ns) == (1_200_000_000, 200_000_000, 500)
    assert (fused.clock, fused.name) == (Clock.SENSOR, "rgb-005")
    assert fused.thermal == InputInfo(sequence=7, capture_ns=1_284_000_000, recording_ns=280_000_000)
    assert fused.rgb == InputInfo(sequence=5, capture_ns=1_200_000_000, recording_ns=200_000_000)
    assert (fused.skew_ns, fused.confidence, fused.calibration) == (-4_000_000, 0.75, "rig-hash")
    assert (fused.engine, fused.model, fused.radiometric) == ("eager", "average", scale)
    assert (dict(fused.drops), dict(fused.layers)) == ({}, {})


def test_stamps_go_on_from_those_of_the_pair_and_rise() -> None:
    with open_fuser(model="average") as fuser:
        stamps = fuser.fuse(one()).stamps
    assert list(stamps) == ["offered", "captured", "toned", "computed", "fused"]
    assert list(stamps.values()) == sorted(stamps.values())
    assert stamps["toned"] > 2


def test_the_tone_knots_invert_the_published_thermal_layer() -> None:
    with open_fuser(model="average") as fuser:
        fused = fuser.fuse(one(), layers=LAYERS)
    assert fused.tone is not None
    counts, values = fused.tone
    curve = ToneMapper().update(fused.layers["thermal-raw"], 0)
    assert np.array_equal(counts, curve.counts)
    assert np.array_equal(values, curve.values)


def test_layers_are_made_only_when_asked_for() -> None:
    aligned = one()
    with open_fuser(model="average") as fuser:
        assert set(fuser.fuse(aligned, layers=frozenset({"visible"})).layers) == {"visible"}
        layers = fuser.fuse(one(1), layers=LAYERS).layers
    assert set(layers) == LAYERS
    assert (layers["thermal"].shape, layers["thermal"].dtype) == ((44, 60), np.uint8)
    assert (layers["thermal"][~GEOMETRY.valid] == 0).all()
    assert layers["thermal"].std() > 20
    assert np.array_equal(layers["visible"], rgb_frame(OUTPUT, 1, seed=1).pixels)
    assert np.array_equal(layers["thermal-raw"], thermal_frame(THERMAL, 1, seed=1).pixels)


def test_a_lone_thermal_frame_is_shown_grey_and_black_outside() -> None:
    with open_fuser(model="average") as fuser:
        shown = fuser.fuse(lone(thermal_frame(THERMAL, 3), GEOMETRY), layers=LAYERS)
    assert shown.state is State.THERMAL_ONLY
    assert (shown.rgb, shown.skew_ns) == (None, None)
    assert shown.thermal == InputInfo(sequence=3, capture_ns=1_124_000_000, recording_ns=120_000_000)
    assert shown.capture_ns == 1_124_000_000
    assert set(shown.layers) == {"thermal", "thermal-raw"}
    assert np.array_equal(shown.pixels, np.repeat(shown.layers["thermal"][..., None], 3, axis=2))
    assert (shown.pixels[~GEOMETRY.valid] == 0).all()
    assert shown.tone is not None


def test_a_lone_rgb_frame_is_shown_as_it_is() -> None:
    frame = rgb_frame(OUTPUT, 4)
    with open_fuser(model="average") as fuser:
        shown = fuser.fuse(lone(frame, GEOMETRY), layers=LAYERS)
    assert shown.state is State.VISIBLE_ONLY
    assert np.array_equal(shown.pixels, frame.pixels)
    assert (shown.thermal, shown.tone, shown.skew_ns) == (None, None, None)
    assert set(shown.layers) == {"visible"}


def test_repeated_inputs_are_stale_and_the_right_one_is_said_to_be_held() -> None:
    with open_fuser(model="average") as fuser:
        assert fuser.fuse(one(0)).state is State.FUSED
        frozen = fuser.fuse(pair(replace(thermal_frame(THERMAL, 1), sequence=1), rgb_frame(OUTPUT, 1), GEOMETRY))
        reused = fuser.fuse(pair(thermal_frame(THERMAL, 2, seed=2), rgb_frame(OUTPUT, 1), GEOMETRY, held=True))
        moving = fuser.fuse(one(3))
    holds = [(f.state, f.thermal and f.thermal.held, f.rgb and f.rgb.held) for f in (frozen, reused, moving)]
    assert holds == [(State.STALE, True, False), (State.STALE, False, True), (State.FUSED, False, False)]
    assert [f.sequence for f in (frozen, reused, moving)] == [1, 2, 3]


def test_reset_forgets_the_streams_and_counts_on() -> None:
    with open_fuser(model="average") as fuser:
        fuser.fuse(one(0))
        fuser.reset()
        again = fuser.fuse(one(0))
    assert (again.state, again.sequence) == (State.FUSED, 1)
    assert again.thermal == InputInfo(sequence=0, capture_ns=1_004_000_000, recording_ns=0)


def test_a_new_map_is_used_from_the_next_frame_on() -> None:
    moved = warp(THERMAL, OUTPUT, scale=0.7, tilt=0.3, revision=1)
    with open_fuser(model="average", tone=ToneMapper(time_constant_s=0)) as fuser:
        before = fuser.fuse(one()).pixels
        after = fuser.fuse(replace(one(), warp=moved)).pixels
        back = fuser.fuse(one()).pixels
    with open_fuser(model="average") as fresh:
        assert np.array_equal(after, fresh.fuse(replace(one(), warp=moved)).pixels)
    assert np.array_equal(before, back)
    assert not np.array_equal(before, after)


def test_read_only_pixels_are_accepted() -> None:
    aligned = one()
    for frame in (aligned.frames.thermal, aligned.frames.rgb):
        assert frame is not None
        frame.pixels.flags.writeable = False
    with open_fuser(model="average") as fuser:
        assert fuser.fuse(aligned).pixels.shape == (44, 60, 3)


@pytest.mark.parametrize(
    ("crop", "size"), [((0, 0, 64, 48), (64, 48)), ((8, 4, 48, 40), (32, 30)), ((3, 5, 60, 40), (20, 10))]
)
def test_rgb_lands_on_the_output_grid_as_the_grid_says(crop, size) -> None:
    grid = OutputGrid(size, (64, 48), crop)
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    ramps = np.stack((2 * x, 3 * y, x + y), axis=-1).astype(np.uint8)
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    at = np.stack((u, v, np.ones_like(u)), axis=-1) @ grid.rgb_from_output.T
    wanted = np.stack((2 * at[..., 0], 3 * at[..., 1], at[..., 0] + at[..., 1]), axis=-1)
    placed = on_grid(ramps, grid)
    assert placed.shape == (size[1], size[0], 3)
    assert placed.flags.c_contiguous
    assert np.abs(placed - wanted)[1:-1, 1:-1].max() <= 1


def test_strong_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(on_grid(stripes, OutputGrid((10, 10), (40, 40), (0, 0, 40, 40)))) == 0


@pytest.mark.parametrize("engine", ["tensorflow", ""])
def test_an_unknown_engine_names_the_engines(engine: str) -> None:
    with pytest.raises(UserError, match=f"engine '{engine}' is unknown; the engines are: auto, {', '.join(ENGINES)}"):
        open_fuser(engine=engine)


def test_an_unknown_precision_names_those_there_are() -> None:
    with pytest.raises(UserError, match="precision 'half' is unknown; allowed: auto, fp32, bf16, fp16, int8"):
        open_fuser(precision="half")


def test_an_unknown_model_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="did you mean 'average'"):
        open_fuser(model="avarage")


class BrokenEngine:
    name = "broken"

    def set_warp(self, warp) -> None: ...

    def fuse(self, thermal, curve, rgb):
        raise RuntimeError("device lost")

    align = fuse

    def close(self) -> None: ...


def test_an_engine_that_breaks_is_named_with_its_frame_and_cause() -> None:
    with pytest.raises(EngineError, match=r"'broken'.*'average'.*frame 0.*device lost") as raised:
        Fuser(BrokenEngine(), "average", ToneMapper()).fuse(one())
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_a_frame_of_another_size_than_the_map_is_refused() -> None:
    with open_fuser(model="average") as fuser, pytest.raises(EngineError, match=r"48x30.*40x30"):
        fuser.fuse(pair(thermal_frame((48, 30)), rgb_frame(OUTPUT), GEOMETRY))
    with open_fuser(model="average") as fuser, pytest.raises(EngineError, match=r"60x45.*60x44"):
        fuser.fuse(pair(thermal_frame(THERMAL), rgb_frame((60, 45)), GEOMETRY))


def test_importing_the_package_loads_no_torch() -> None:
    script = "import sys, streamfuse.fuse, streamfuse.models, streamfuse.thermal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
