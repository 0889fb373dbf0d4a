"""The Registrar: attaches maps, checks sizes, changes depth in the background, says how far it can be trusted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rigs import full_rig, planar_rig, rotation

from streamfuse import register
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import Clock, Frame, FramePair, LoneFrame, Modality, OutputGrid, WarpMap
from streamfuse.register import Registrar
from streamfuse.rig import Pose, Rig


def pair(thermal_size: tuple[int, int], rgb_size: tuple[int, int]) -> FramePair:
    thermal = Frame(
        modality=Modality.THERMAL,
        pixels=np.zeros(thermal_size[::-1], np.uint16),
        capture_ns=1,
        sequence=7,
        clock=Clock.DRIVER,
    )
    rgb = Frame(
        modality=Modality.RGB,
        pixels=np.zeros((*rgb_size[::-1], 3), np.uint8),
        capture_ns=2,
        sequence=9,
        clock=Clock.DRIVER,
        stamps={"offered": 2},
    )
    return FramePair(thermal=thermal, rgb=rgb, skew_ns=-1)


def test_register_attaches_the_current_map_and_touches_no_pixels() -> None:
    registrar = Registrar(full_rig())
    frames = pair((160, 128), (320, 180))
    aligned = registrar.register(frames)
    assert aligned.frames is frames
    assert aligned.warp is registrar.warp
    assert aligned.stamps == {"offered": 2}
    assert aligned.confidence == 1.0
    assert (aligned.warp.calibration, aligned.warp.depth_m, aligned.warp.revision) == (full_rig().content_hash, 12.0, 0)
    lone = LoneFrame(frame=frames.thermal, why="no partner")
    assert registrar.register(lone).warp is registrar.warp


@pytest.mark.parametrize(("thermal_size", "rgb_size"), [((128, 160), (320, 180)), ((160, 128), (160, 90))])
def test_frame_of_another_size_is_refused(thermal_size: Any, rgb_size: Any) -> None:
    with pytest.raises(StreamfuseError, match=r"the rig's map is for (160x128|320x180)"):
        Registrar(full_rig()).register(pair(thermal_size, rgb_size))


def test_rig_of_another_resolution_is_refused_with_both_sizes_and_the_remedy() -> None:
    with pytest.raises(UserError) as caught:
        Registrar(full_rig(), thermal_size=(320, 256), rgb_size=(640, 360))
    for part in ("160x128", "320x180", "320x256", "640x360", "calibrate", "allow scaling"):
        assert part in str(caught.value)


def test_scaled_rig_maps_the_same_scene() -> None:
    measured = Registrar(full_rig(), size=(160, 90)).warp
    scaled = Registrar(full_rig(), size=(160, 90), thermal_size=(320, 256), rgb_size=(640, 360), scale=True).warp
    both = measured.valid & scaled.valid
    np.testing.assert_allclose(
        scaled.thermal_from_output[both], 2 * measured.thermal_from_output[both] + 0.5, atol=1e-3
    )
    assert both.mean() > 0.75
    assert scaled.calibration == measured.calibration
    with pytest.raises(UserError, match="same whole factor"):
        Registrar(full_rig(), thermal_size=(240, 192), scale=True)


@pytest.mark.parametrize("depth_m", [0, -3, math.nan])
def test_bad_depths_are_told(depth_m: float) -> None:
    registrar = Registrar(full_rig())
    for ask in (registrar.set_depth, lambda depth: Registrar(full_rig(), depth_m=depth)):
        with pytest.raises(UserError, match="must be greater than 0"):
            ask(depth_m)
    assert registrar.warp.revision == 0


def test_planar_rig_has_no_depth_to_change() -> None:
    with pytest.raises(UserError, match=r"flat, which is planar.*calibrate both lenses"):
        Registrar(planar_rig(((2, 0, 0), (0, 2, 0)))).set_depth(5)


def test_rig_whose_images_do_not_meet_is_refused() -> None:
    apart = Pose(rotation=rotation(0, 1.5, 0), translation=(0.1, 0, 0))
    with pytest.raises(UserError, match=r"no pixel of the 320x180 output lies on the thermal image; check rgb_from"):
        Registrar(full_rig(rgb_from_thermal=apart))


def test_depth_at_which_the_images_do_not_meet_is_not_trusted() -> None:
    registrar = Registrar(full_rig())
    registrar.set_depth(0.002)
    assert registrar.wait(20)
    assert not registrar.warp.valid.any()
    assert registrar.confidence == 0.0


def test_new_depth_is_swapped_in_when_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    registrar = Registrar(full_rig())
    before, go = registrar.warp, threading.Event()
    hold_builds(monkeypatch, go)
    registrar.set_depth(4.0)
    assert registrar.warp is before
    assert not registrar.wait(0.01)
    go.set()
    assert registrar.wait(20)
    after = registrar.warp
    assert (after.depth_m, after.revision) == (4.0, 1)
    assert (after.thermal_from_output == Registrar(full_rig(), depth_m=4.0).warp.thermal_from_output).all()


def test_only_the_newest_of_many_depths_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    registrar, go = Registrar(full_rig()), threading.Event()
    built = hold_builds(monkeypatch, go)
    registrar.set_depth(4.0)
    while not built:
        time.sleep(0.001)
    for depth_m in (5.0, 6.0, 7.0):
        registrar.set_depth(depth_m)
    go.set()
    assert registrar.wait(20)
    assert built == [4.0, 7.0]
    assert (registrar.warp.depth_m, registrar.warp.revision) == (7.0, 2)
    registrar.set_depth(8.0)
    assert registrar.wait(20)
    assert (registrar.warp.depth_m, registrar.warp.revision) == (8.0, 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_failed_rebuild_keeps_the_old_map_and_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    registrar = Registrar(full_rig())
    before = registrar.warp
    with monkeypatch.context() as patched:
        patched.setattr(register, "build_warp", lambda *_, **__: 1 / 0)
        registrar.set_depth(4.0)
        assert registrar.wait(20)
    assert registrar.warp is before
    registrar.set_depth(5.0)
    assert registrar.wait(20)
    assert registrar.warp.depth_m == 5.0


def hold_builds(monkeypatch: pytest.MonkeyPatch, go: threading.Event) -> list[float]:
    """Make every build wait for `go`; returns the list of depths whose build has begun."""
    begun: list[float] = []
    build: Callable[..., WarpMap] = register.build_warp

    def held(rig: Rig, grid: OutputGrid, depth_m: float, **keywords: Any) -> WarpMap:
        begun.append(depth_m)
        assert go.wait(20)
        return build(rig, grid, depth_m, **keywords)

    monkeypatch.setattr(register, "build_warp", held)
    return begun


# Confidence


@pytest.mark.parametrize(("residual_px", "confidence"), [(None, 0.0), (0.0, 1.0), (0.9, 1.0), (2.5, 0.4)])
def test_confidence_follows_the_rigs_residual(residual_px: float | None, confidence: float) -> None:
    assert Registrar(full_rig(residual_px=residual_px)).confidence == pytest.approx(confidence)


def test_confidence_falls_away_from_the_calibrated_depth() -> None:
    rig = full_rig(residual_px=1.0)
    moved_px = np.hypot(271 * 0.06, 271.6 * 0.012) * (1 / 2 - 1 / 12)
    expected = 1 / (1 + 0.05 * moved_px)
    assert Registrar(rig, depth_m=2.0).confidence == pytest.approx(expected, rel=1e-6)
    registrar = Registrar(rig)
    registrar.set_depth(2.0)
    assert registrar.wait(20)
    assert registrar.confidence == pytest.approx(expected, rel=1e-6)


def test_planar_rig_without_a_residual_is_not_trusted() -> None:
    assert Registrar(Rig.identity((8, 8), (8, 8))).confidence == 0.0
