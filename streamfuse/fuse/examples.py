"""Example frames for quantisation: what the graph's inputs look like on pairs as cameras take them.

From recorded folders, which is what a user with a rig should give, or from the synthetic street, which needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2

from streamfuse.errors import UserError
from streamfuse.frames import Frame, Modality, Pixels, Size, WarpMap
from streamfuse.fuse.planar import Buffers, Inputs
from streamfuse.register import Registrar
from streamfuse.sources.pairing import pair_by_names
from streamfuse.sources.pictures import Pictures, Unreadable
from streamfuse.sources.recording_folder import open_folder
from streamfuse.sources.synthetic import SceneConfig, open_synthetic
from streamfuse.stretch import StretchRegistrar
from streamfuse.thermal import ToneMapper

MOST = 32
"""Pairs are enough; more only take longer."""
RATE_HZ = 2.0
"""Synthetic examples lie so far apart that what moves has moved."""


def recorded_examples(
    thermal: Path, visible: Path, thermal_size: Size, output_size: Size, most: int = MOST
) -> list[Inputs]:
    """The graph's inputs for up to `most` pairs of two folders, every so many; names pair them, sizes are made to fit.

    Raises UserError where the folders hold no pair, or a picture cannot be read.
    """
    hot, seen = open_folder(thermal, Modality.THERMAL), open_folder(visible, Modality.RGB)
    ranks = pair_by_names(hot.names, seen.names)
    at = [{rank: index for index, rank in enumerate(of_one)} for of_one in (ranks.thermal, ranks.rgb)]
    both = sorted(at[0].keys() & at[1].keys())
    if not both:
        raise UserError(f"{thermal} and {visible} have no pair in common: {'; '.join(ranks.warnings)}")
    chosen = both[:: -(-len(both) // most)]
    streams = [_read(one, {of[rank] for rank in chosen}) for one, of in zip((hot, seen), at, strict=True)]
    geometry = StretchRegistrar(thermal_size, output_size).warp
    return [
        _inputs(_fit(counts, thermal_size), _fit(rgb, output_size), geometry)
        for counts, rgb in zip(*streams, strict=True)
    ]


def synthetic_examples(thermal_size: Size, output_size: Size, most: int = MOST) -> list[Inputs]:
    """The same of a street that streamfuse paints itself, half of them by night."""
    made: list[Inputs] = []
    for night, count in ((True, most - most // 2), (False, most // 2)):
        scene = SceneConfig(
            thermal_size=thermal_size,
            rgb_size=output_size,
            thermal_rate_hz=RATE_HZ,
            rgb_rate_hz=RATE_HZ,
            night=night,
        )
        sources = open_synthetic(scene, pace="fast")
        geometry = Registrar(sources.rig, size=output_size, thermal_size=thermal_size, rgb_size=output_size).warp
        with sources.thermal as thermal, sources.rgb as rgb:
            both = islice(zip(_frames(thermal), _frames(rgb), strict=False), count)
            made += [_inputs(hot, seen, geometry) for hot, seen in both]
    return made


def _frames(source: Iterable[object]) -> Iterator[Pixels]:
    return (item.pixels for item in source if isinstance(item, Frame))


def _read(pictures: Pictures, wanted: set[int]) -> Iterator[Pixels]:
    with closing(pictures.read()) as read:
        for index, picture in enumerate(read):
            if index not in wanted:
                continue
            if isinstance(picture, Unreadable):
                raise UserError(f"{pictures.names[index]}: {picture.detail}; replace it or take its pair away")
            yield picture


def _fit(picture: Pixels, size: Size) -> Pixels:
    return picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _inputs(counts: Pixels, rgb: Pixels, geometry: WarpMap) -> Inputs:
    buffers = Buffers.of(geometry.thermal_size, geometry.grid.size)
    buffers.set_warp(geometry)
    buffers.set_thermal(counts)
    buffers.set_curve(ToneMapper(time_constant_s=0.0).update(counts, 0))
    buffers.set_rgb(rgb)
    return buffers.fusion
