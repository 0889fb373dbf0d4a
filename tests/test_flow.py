"""Dense flow: near objects go to their place, everything else stays, and who cannot know says so."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from flow_figures import flat_rig, inject
from rich.console import Console
from rigs import NO_TURN, full_rig, planar_rig

from streamfuse.errors import UserError
from streamfuse.flow import LEAST_STEPS, MOST_STEPS, ParallaxFlow, edge_field, trusted_steps
from streamfuse.offline import fuse_files
from streamfuse.register import Registrar
from streamfuse.rig import Pose

SIZE = (640, 480)
NO_BASELINE = Pose(rotation=NO_TURN, translation=(0.0, 0.0, 0.0))
STEPS = np.arange(-3, MOST_STEPS + 2)


@pytest.fixture(scope="module")
def scene():
    """Visible and thermal of one scene: patches that are bright in one and of any brightness in the other."""
    draw = np.random.default_rng(4)
    visible, thermal = (np.full((*SIZE[::-1],), 128, np.uint8) for _ in range(2))
    for _ in range(200):
        centre, size = draw.integers(0, SIZE), draw.integers(12, 60, 2)
        corners = [(int(x), int(y)) for x, y in (centre - size, centre + size)]
        for image in (visible, thermal):
            cv2.rectangle(image, *corners, int(draw.integers(20, 235)), -1)
    grain = draw.normal(0, 3, (2, *SIZE[::-1]))
    noisy = [
        np.clip(image + one, 0, 255).astype(np.uint8) for image, one in zip((visible, thermal), grain, strict=True)
    ]
    return np.repeat(noisy[0][..., None], 3, axis=2), noisy[1]


def flow_of(rig) -> ParallaxFlow:
    return ParallaxFlow(rig, Registrar(rig).warp)


def test_a_registered_pair_keeps_the_very_map(scene) -> None:
    visible, thermal = scene
    rig = flat_rig(SIZE)
    warp = Registrar(rig).warp
    flow = ParallaxFlow(rig, warp).flow(thermal, visible)
    assert flow.warp is warp
    assert not flow.moved_px.any()


@pytest.mark.parametrize("seed", range(3))
def test_parallax_is_taken_out(scene, seed) -> None:
    visible, thermal = scene
    case = inject(thermal, np.random.default_rng(seed))
    warp = flow_of(flat_rig(SIZE)).flow(case.thermal, visible).warp
    here = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1)
    off = np.abs(warp.thermal_from_output - here - case.truth)[..., 0][case.seen]
    before = case.truth[..., 0][case.seen]
    assert off.mean() < 0.85 * before.mean()
    assert np.percentile(off, 90) < 0.9 * np.percentile(before, 90)


def test_what_is_farther_than_the_rigs_depth_is_found_too(scene) -> None:
    """The map of 8 m puts a scene at infinity 4 px too far right; no depth beyond infinity is looked at."""
    visible, thermal = scene
    rig = flat_rig(SIZE, working_depth_m=8.0)
    found = flow_of(rig).flow(thermal, visible)
    middle = found.warp.thermal_from_output[120:360, 160:480, 0] - np.arange(160, 480)
    assert abs(float(np.median(middle))) < 0.5
    assert found.moved_px.max() <= 4.01


def test_images_that_have_nothing_to_do_with_each_other_are_left_alone(scene) -> None:
    visible, thermal = scene
    flow = flow_of(flat_rig(SIZE)).flow(np.ascontiguousarray(thermal[::-1, ::-1]), visible)
    assert flow.moved_px.mean() < 0.3


@pytest.mark.parametrize("shade", [0, 90])
def test_even_images_are_left_alone(scene, shade) -> None:
    flow = flow_of(flat_rig(SIZE)).flow(np.full((*SIZE[::-1],), shade, np.uint8), scene[0])
    assert not flow.moved_px.any()


def test_sixteen_bits_and_other_sizes_pass_through_a_real_rig(scene) -> None:
    visible, thermal = (cv2.resize(image, size) for image, size in zip(scene, ((320, 180), (160, 128)), strict=True))
    rig = full_rig()
    warp = Registrar(rig, size=(640, 360)).warp
    flow = ParallaxFlow(rig, warp).flow(thermal.astype(np.uint16) * 30 + 7000, visible)
    assert flow.warp.thermal_from_output.shape == warp.thermal_from_output.shape
    assert flow.moved_px.max() <= 2.0 * MOST_STEPS
    moved = np.hypot(*np.moveaxis(flow.warp.thermal_from_output - warp.thermal_from_output, -1, 0))
    assert moved[flow.moved_px == 0].max(initial=0) < 0.01


@pytest.mark.parametrize("step", [-2, 0, 1, 5])
def test_the_clearly_best_step_is_taken(step) -> None:
    correlation = np.zeros((len(STEPS), 60, 80), np.float32)
    correlation[step == STEPS] = 0.3
    found = trusted_steps(correlation, STEPS)
    assert found[30, 40] == pytest.approx(step if abs(step) > 1 else 0, abs=0.1)


@pytest.mark.parametrize(
    ("step", "everywhere", "height"),
    [(2, 0.3, 0.311), (5, 0.0, 0.14), (MOST_STEPS + 1, 0.0, 0.8)],
    ids=["hardly better", "unlike", "beyond reach"],
)
def test_doubt_means_nothing(step, everywhere, height) -> None:
    correlation = np.full((len(STEPS), 60, 80), everywhere, np.float32)
    correlation[step == STEPS] = height
    assert np.abs(trusted_steps(correlation, STEPS)).max() < LEAST_STEPS


def test_the_border_of_what_is_trusted_is_smooth() -> None:
    correlation = np.zeros((len(STEPS), 60, 80), np.float32)
    correlation[STEPS == 6, :, :40] = 0.5
    found = trusted_steps(correlation, STEPS)
    assert found[30, 0] > 5.9
    assert abs(found[30, 79]) < 0.1
    assert np.abs(np.diff(found, axis=1)).max() < 1


def test_edges_do_not_mind_polarity_and_contrast(scene) -> None:
    grey, seen = scene[1].astype(np.float32), np.ones(SIZE[::-1], bool)
    field = edge_field(grey, seen)
    np.testing.assert_allclose(edge_field(500 - 2 * grey, seen), field, atol=1e-3)
    seen[:, :100] = False
    assert not edge_field(grey, seen)[:, :95].any()


@pytest.mark.parametrize(
    "rig",
    [planar_rig(((2, 0, 0.5), (0, 2, 0.5))), flat_rig(SIZE, rgb_from_thermal=NO_BASELINE)],
    ids=["planar", "point"],
)
def test_a_rig_that_knows_no_parallax_is_refused(rig) -> None:
    with pytest.raises(UserError, match="needs a full rig"):
        flow_of(rig)


def fused(folder, scene, *, rig, flow=True):
    for name, image in (("ir", scene[1]), ("vis", scene[0][..., ::-1])):
        (folder / name).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name / "one.png"), image)
    asked = {"model": "average", "rig": rig, "tone": "auto", "sequence": None, "flow": flow}
    out = folder / f"out-{flow}"
    told = fuse_files(folder / "ir", folder / "vis", out, **asked, stop=threading.Event(), console=Console(quiet=True))
    return told, cv2.imread(str(out / "one.png"), cv2.IMREAD_GRAYSCALE).astype(float)


def test_fuse_draws_near_objects_onto_their_place(tmp_path, scene) -> None:
    visible, thermal = scene
    case = inject(thermal, np.random.default_rng(1))
    flat_rig(SIZE).save(tmp_path / "rig.yaml")
    told, drawn = fused(tmp_path, (visible, case.thermal), rig=tmp_path / "rig.yaml")
    assert told["flow"]["pairs"] == told["flow"]["changed"] == told["published"] == 1
    plain, shifted = fused(tmp_path, (visible, case.thermal), rig=tmp_path / "rig.yaml", flow=False)
    assert "flow" not in plain
    aim = visible[..., 0] / 2 + thermal / 2
    assert np.abs(drawn - aim)[case.seen].mean() < 0.95 * np.abs(shifted - aim)[case.seen].mean()


def test_fuse_asks_for_a_rig_with_depth(tmp_path, scene) -> None:
    with pytest.raises(UserError, match="--flow needs --rig"):
        fused(tmp_path, scene, rig=None)
    planar_rig(((1, 0, 0), (0, 1, 0)), SIZE, SIZE).save(tmp_path / "flat.yaml")
    with pytest.raises(UserError, match="needs a full rig"):
        fused(tmp_path, scene, rig=tmp_path / "flat.yaml")
