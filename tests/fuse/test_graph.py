"""The graph against plain numpy, before rounding; its geometry, its colours and its borders."""

from __future__ import annotations

import fusion_reference as reference
import numpy as np
import pytest
import torch
from fusion_scenes import rgb_frame, thermal_frame, warp

from streamfuse.frames import OutputGrid, WarpMap
from streamfuse.fuse.eager import counts_tensor, rgb_tensor
from streamfuse.fuse.graph import FusionGraph, as_bytes
from streamfuse.models import build
from streamfuse.thermal import ToneCurve, ToneMapper

MODELS = tuple(reference.FUSIONS)
CASES = [((64, 48), (96, 80), 0.9), ((31, 23), (45, 37), 0.7), ((40, 30), (33, 21), 1.3), ((1, 1), (9, 7), 1.0)]


def graph(model: str, geometry: WarpMap) -> FusionGraph:
    made = FusionGraph(build(model)).eval()
    made.set_warp(geometry)
    return made


def identity(size: tuple[int, int]) -> WarpMap:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    grid = OutputGrid(size, size, (0, 0, *size))
    return WarpMap(np.stack((x, y), -1).astype(np.float32), np.ones(size[::-1], bool), size, grid, "identity")


def arguments(thermal: np.ndarray, curve: ToneCurve, rgb: np.ndarray) -> tuple[torch.Tensor, ...]:
    return counts_tensor(thermal), torch.from_numpy(curve.lut), rgb_tensor(rgb)


@pytest.mark.parametrize(("thermal_size", "size", "scale"), CASES)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("model", MODELS)
def test_before_rounding_it_is_the_plain_evaluation_within_1e_4(model, bits, thermal_size, size, scale) -> None:
    geometry = warp(thermal_size, size, scale=scale)
    thermal, rgb = thermal_frame(thermal_size, bits=bits).pixels, rgb_frame(size).pixels
    curve = ToneMapper("percentile" if bits == 16 else "auto").update(thermal, 0)
    mixed = graph(model, geometry).mix(*arguments(thermal, curve, rgb))[0].numpy()
    wanted = reference.mix(thermal, curve, rgb, geometry, model)
    assert np.abs(mixed - wanted).max() / 255 <= 1e-4


def test_a_large_map_is_sampled_as_exactly_as_a_small_one() -> None:
    geometry = warp((1280, 40), (1920, 24), tilt=0)
    thermal = thermal_frame((1280, 40), bits=8).pixels
    curve = ToneMapper().update(thermal, 0)
    sampled = graph("average", geometry).warp(counts_tensor(thermal), torch.from_numpy(curve.lut))[0, 0].numpy()
    assert np.abs(sampled - reference.warped(thermal, curve, geometry)).max() <= 1e-4


def test_the_identity_map_returns_every_thermal_pixel() -> None:
    thermal = thermal_frame((33, 21), bits=8).pixels
    curve = ToneMapper().update(thermal, 0)
    made = graph("average", identity((33, 21)))
    assert np.array_equal(made.aligned(counts_tensor(thermal), torch.from_numpy(curve.lut))[0, 0].numpy(), thermal)


@pytest.mark.parametrize("model", MODELS)
def test_outside_the_mask_the_visible_image_passes_unchanged(model: str) -> None:
    geometry = warp((40, 30), (90, 70), scale=0.6)
    thermal, rgb = thermal_frame((40, 30)).pixels, rgb_frame((90, 70)).pixels
    curve = ToneMapper().update(thermal, 0)
    made = graph(model, geometry)
    fused = made(*arguments(thermal, curve, rgb))[0].numpy()
    assert 0.2 < geometry.valid.mean() < 0.8
    assert np.array_equal(fused[~geometry.valid], rgb[~geometry.valid])
    assert (fused[geometry.valid] != rgb[geometry.valid]).any(axis=-1).mean() > 0.8
    assert np.array_equal(made.strength[0, 0].numpy() > 0, geometry.valid)
    aligned = made.aligned(counts_tensor(thermal), torch.from_numpy(curve.lut))[0, 0].numpy()
    assert (aligned[~geometry.valid] == 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_colour_differences_survive_and_grey_stays_grey(model: str) -> None:
    geometry = identity((40, 32))
    thermal = thermal_frame((40, 32), bits=8).pixels
    curve = ToneMapper().update(thermal, 0)
    colour = rgb_frame((40, 32)).pixels
    mixed = graph(model, geometry).mix(*arguments(thermal, curve, colour))[0].numpy()
    wanted = colour[..., :2].astype(float) - colour[..., 1:]
    assert np.abs((mixed[..., :2] - mixed[..., 1:]) - wanted).max() < 1e-3
    grey = graph(model, geometry)(*arguments(thermal, curve, rgb_frame((40, 32), grey=True).pixels))[0].numpy()
    assert (grey == grey[..., :1]).all()


def test_bytes_are_clipped_and_rounded_half_up() -> None:
    values = torch.tensor([-3.0, 0.0, 0.49, 0.5, 1.5, 2.5, 254.49, 254.5, 255.0, 300.0])
    assert as_bytes(values).tolist() == [0, 0, 0, 1, 2, 3, 254, 255, 255, 255]


def test_a_new_map_of_the_same_size_is_taken_over_in_place() -> None:
    made = graph("average", warp((40, 30), (60, 44)))
    places = [buffer.data_ptr() for buffer in (made.grid, made.strength, made.valid)]
    turned = warp((40, 30), (60, 44), tilt=-0.2, revision=1)
    made.set_warp(turned)
    assert [buffer.data_ptr() for buffer in (made.grid, made.strength, made.valid)] == places
    thermal, rgb = thermal_frame((40, 30)).pixels, rgb_frame((60, 44)).pixels
    curve = ToneMapper().update(thermal, 0)
    wanted = reference.mix(thermal, curve, rgb, turned, "average")
    assert np.abs(made.mix(*arguments(thermal, curve, rgb))[0].numpy() - wanted).max() / 255 <= 1e-4
    made.set_warp(warp((40, 30), (50, 44)))
    assert made.grid.shape == (1, 44, 50, 2)


@pytest.mark.parametrize("model", MODELS)
def test_the_whole_graph_can_be_exported(model: str) -> None:
    geometry = warp((40, 30), (64, 48))
    thermal, rgb = thermal_frame((40, 30)).pixels, rgb_frame((64, 48)).pixels
    inputs = arguments(thermal, ToneMapper().update(thermal, 0), rgb)
    made = graph(model, geometry)
    assert torch.equal(torch.export.export(made, inputs).module()(*inputs), made(*inputs))
