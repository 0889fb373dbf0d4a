"""Maps between nodes against maps computed at every pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rigs import full_rig, planar_rig

from streamfuse.depths import DepthMaps, Geometry
from streamfuse.frames import Size
from streamfuse.warp import build_warp, output_grid


@pytest.mark.parametrize("size", [None, (640, 512), (161, 99)])
@pytest.mark.parametrize("depth_m", [2.0, 12.0, math.inf])
def test_a_map_between_nodes_is_that_of_every_pixel(size: Size | None, depth_m: float) -> None:
    rig = full_rig()
    grid = output_grid(rig.rgb_size, size)
    exact = build_warp(rig, grid, depth_m, calibration="", revision=0)
    quick = DepthMaps(rig, grid, "").warp(Geometry(depth_m), 1)
    both = exact.valid & quick.valid
    assert both.mean() > 0.5
    np.testing.assert_allclose(quick.thermal_from_output[both], exact.thermal_from_output[both], atol=0.05)
    assert (exact.valid == quick.valid).mean() > 0.998


def test_a_planar_map_is_exact() -> None:
    rig = planar_rig(((2, 0.1, 3), (-0.1, 2, 5)))
    grid = output_grid(rig.rgb_size)
    exact = build_warp(rig, grid, None, calibration="", revision=0)
    quick = DepthMaps(rig, grid, "").warp(Geometry(), 1)
    both = exact.valid & quick.valid
    np.testing.assert_allclose(quick.thermal_from_output[both], exact.thermal_from_output[both], atol=1e-3)


def test_of_two_regions_that_overlap_the_later_counts() -> None:
    rig = full_rig()
    maps = DepthMaps(rig, output_grid(rig.rgb_size), "")
    box = (100.0, 60.0, 60.0, 40.0)
    both = maps.warp(Geometry(12.0, ((box, 3.0), (box, 6.0))), 1)
    later = maps.warp(Geometry(12.0, ((box, 6.0),)), 1)
    inside = np.s_[60:100, 100:160]
    np.testing.assert_allclose(both.thermal_from_output[inside], later.thermal_from_output[inside], atol=1e-3)
