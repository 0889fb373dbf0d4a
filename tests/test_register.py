"""The Registrar: attaches maps, checks sizes, changes depth in the background, says how far it can be trusted."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest
from rigs import full_rig, planar_rig, rotation

from streamfuse import register
from streamfuse.depths import DepthMaps, Geometry
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import Alignment, Clock, Frame, FramePair, LoneFrame, Modality, WarpMap
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
    exact = Registrar(full_rig(), depth_m=4.0).warp
    both = after.valid & exact.valid
    np.testing.assert_allclose(after.thermal_from_output[both], exact.thermal_from_output[both], atol=0.02)
    assert (after.valid == exact.valid).mean() > 0.999


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
        patched.setattr(DepthMaps, "warp", lambda *_: 1 / 0)
        registrar.set_depth(4.0)
        assert registrar.wait(20)
    assert registrar.warp is before
    registrar.set_depth(5.0)
    assert registrar.wait(20)
    assert registrar.warp.depth_m == 5.0


def hold_builds(monkeypatch: pytest.MonkeyPatch, go: threading.Event) -> list[float | None]:
    """Make every build wait for `go`; returns the list of depths whose build has begun."""
    begun: list[float | None] = []
    build = DepthMaps.warp

    def held(maps: DepthMaps, geometry: Geometry, revision: int) -> WarpMap:
        begun.append(geometry.depth_m)
        assert go.wait(20)
        return build(maps, geometry, revision)

    monkeypatch.setattr(DepthMaps, "warp", held)
    return begun


def test_a_correction_moves_the_map_and_stays_when_the_depth_changes() -> None:
    registrar = Registrar(full_rig())
    before = registrar.warp
    registrar.correct((3.0, -2.0))
    assert registrar.wait(20)
    moved = registrar.warp
    np.testing.assert_allclose(
        moved.thermal_from_output[10:80, 40:200], before.thermal_from_output[8:78, 43:203], atol=0.02
    )
    assert moved.revision == 1
    registrar.correct((3.0, -2.0))
    assert registrar.wait(20)
    assert registrar.warp is moved
    registrar.set_depth(4.0)
    assert registrar.wait(20)
    nearer = Registrar(full_rig(), depth_m=4.0).warp
    np.testing.assert_allclose(
        registrar.warp.thermal_from_output[10:80, 40:200], nearer.thermal_from_output[8:78, 43:203], atol=0.02
    )


def test_a_region_has_a_depth_of_its_own_until_it_is_forgotten() -> None:
    registrar = Registrar(full_rig())
    far = registrar.warp.thermal_from_output
    near = Registrar(full_rig(), depth_m=4.0).warp.thermal_from_output
    registrar.set_depth(4.0, (150, 60, 40, 50), name="walker")
    assert registrar.wait(20)
    both = registrar.warp.thermal_from_output
    np.testing.assert_allclose(both[60:110, 150:190], near[60:110, 150:190], atol=0.02)
    np.testing.assert_allclose(both[:, 230:], far[:, 230:], atol=0.02)
    assert registrar.warp.depth_m == 12.0
    steps = np.diff(both[85, :, 0])
    assert steps.min() > 0.2 * np.median(steps), "the map folds at the region's border"
    registrar.forget_region("walker")
    assert registrar.wait(20)
    np.testing.assert_allclose(registrar.warp.thermal_from_output, far, atol=0.02)


@pytest.mark.parametrize("region", [(0, 0, 0, 5), (400, 0, 10, 10), (-20, 0, 10, 10)])
def test_regions_without_area_or_off_the_output_are_told(region: Any) -> None:
    with pytest.raises(UserError, match=r"of some area and on the 320x180 output"):
        Registrar(full_rig()).set_depth(4.0, region)


def test_too_many_regions_are_told() -> None:
    registrar = Registrar(full_rig())
    for name in range(register.MOST_REGIONS):
        registrar.set_depth(4.0, (10, 10, 20, 20), name=str(name))
    with pytest.raises(UserError, match="at most 16 regions"):
        registrar.set_depth(4.0, (10, 10, 20, 20), name="one more")


def test_every_new_map_is_made_ready_before_frames_get_it() -> None:
    registrar, seen = Registrar(full_rig()), list[bool]()
    registrar.before_swap = lambda warp: seen.append(warp is not registrar.warp)
    registrar.set_depth(4.0)
    assert registrar.wait(20)
    assert seen == [True]


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


def test_a_provisional_rig_is_trusted_by_half_at_most() -> None:
    assert Registrar(full_rig(residual_px=0.5, provisional=True)).confidence == 0.5
    assert Registrar(full_rig(residual_px=4.0, provisional=True)).confidence == 0.25


def test_uncorrected_drift_costs_confidence_where_it_is_sure() -> None:
    registrar, frames = Registrar(full_rig(residual_px=1.0)), pair((160, 128), (320, 180))
    registrar.alignment = Alignment(state="watching", drift_px=(4.0, 0.0), spread_px=0.25)
    aligned = registrar.register(frames)
    assert aligned.alignment is registrar.alignment
    assert aligned.confidence == pytest.approx(1 / (1 + 4.0 - 0.75))
    registrar.alignment = Alignment(state="frozen", drift_px=(4.0, 0.0), spread_px=2.0)
    assert registrar.register(frames).confidence == 1.0
    registrar.alignment = Alignment(state="following", drift_px=(4.0, 0.0), applied_px=(4.0, 0.0), spread_px=0.25)
    assert registrar.register(frames).confidence == 1.0


def test_planar_rig_without_a_residual_is_not_trusted() -> None:
    assert Registrar(Rig.identity((8, 8), (8, 8))).confidence == 0.0
