"""What is judged, one case at a time: a pair and the fused images of it, read from files or made by models.

Folders, single images and videos; images belong together by name. Nothing is held but the case at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.evaluation.grey import Grey, as_grey
from streamfuse.frames import Modality, Pixels
from streamfuse.models import WEIGHTS, build
from streamfuse.sources.pairing import Ranks, pair_by_names
from streamfuse.sources.pictures import Pictures, Unreadable
from streamfuse.sources.recording_folder import is_image, open_folder
from streamfuse.terminal import counted
from streamfuse.thermal import ToneMapper

FRAME_NS = 33_333_333
NAMED = 3

Fuse = Callable[[Grey, Grey], Grey]
"""Thermal and visible, H W uint8, to fused."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One pair and its fused images by label: thermal H W uint8, visible H W 3, fused H W or H W 3."""

    name: str
    thermal: Grey
    visible: Pixels
    fused: dict[str, Pixels]


@dataclass(frozen=True, slots=True)
class Stream:
    """One of the inputs: which of its pictures take part, and what the user calls it."""

    what: str
    path: Path
    pictures: Pictures
    kept: tuple[int, ...] = ()

    def read(self) -> Generator[Pixels]:
        """Its pictures that take part, in order. Raises UserError for one that cannot be read."""
        wanted = set(self.kept)
        with closing(self.pictures.read()) as pictures:
            for index, picture in enumerate(pictures):
                if index not in wanted:
                    continue
                if isinstance(picture, Unreadable):
                    raise UserError(f"{self.what} {self.path}: {picture.detail}; replace it or take its pair away")
                yield picture


@dataclass(frozen=True, slots=True)
class Cases:
    """Iterate it for the cases, in the order of their names; `labels` = whose fused images each holds."""

    names: tuple[str, ...]
    thermal: Stream
    visible: Stream
    fused: Stream | None
    fusers: dict[str, Fuse]
    warnings: tuple[str, ...]
    in_time: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        if self.fused is None:
            return tuple(self.fusers)
        path = self.fused.path
        label = path.stem if path.is_file() else path.resolve().name
        return (f"{label} (files)" if label in self.fusers else label, *self.fusers)

    def __iter__(self) -> Iterator[Case]:
        tone = ToneMapper(time_constant_s=1.0 if self.in_time else 0.0)
        streams = [stream.read() for stream in (self.thermal, self.visible, self.fused) if stream]
        for index, (name, counts, visible, *made) in enumerate(zip(self.names, *streams, strict=True)):
            thermal = counts if counts.dtype == np.uint8 else tone.update(counts, index * FRAME_NS).apply(counts) * 255
            yield self._case(name, as_grey(thermal), visible, made)

    def _case(self, name: str, thermal: Grey, visible: Pixels, made: list[Pixels]) -> Case:
        _check_sizes(name, {"thermal": thermal, "visible": visible, **({"fused": made[0]} if made else {})})
        grey = as_grey(visible)
        fused: dict[str, Pixels] = dict(zip(self.labels, made, strict=False))
        for label, fuse in self.fusers.items():
            fused[label] = fuse(thermal, grey)
        return Case(name, thermal, visible, fused)


def open_cases(paths: Sequence[Path], models: Sequence[str], *, device: str = "cpu", in_time: bool = False) -> Cases:
    """(thermal, visible) for models, or (fused, thermal, visible), models beside it if any are named.

    Raises UserError: nothing to judge, missing, empty or unreadable inputs, partners that are missing.
    """
    if len(paths) not in (2, 3) or (len(paths) == 2 and not models):
        raise UserError(
            f"found {len(paths)} paths and {len(models)} models; give FUSED THERMAL VISIBLE, "
            "or THERMAL VISIBLE and at least one --model that fuses them"
        )
    fusers = {label: model_fuser(name, device) for label, name in _model_labels(models).items()}
    thermal = _stream("thermal", paths[-2], Modality.THERMAL)
    visible = _stream("visible", paths[-1], Modality.RGB)
    fused = _stream("fused", paths[0], Modality.RGB) if len(paths) == 3 else None
    return _matched(thermal, visible, fused, fusers, in_time)


def model_fuser(name: str, device: str) -> Fuse:
    """The model of this name (or weights file) as a function on grey images. Raises UserError for an unknown one."""
    network = build(name).to(device)

    def fuse(thermal: Grey, visible: Grey) -> Grey:
        pair = [torch.from_numpy(np.ascontiguousarray(image)).to(device) for image in (thermal, visible)]
        try:
            with torch.inference_mode():
                fused = network(*(image[None, None].float() / 255 for image in pair))
                return (fused[0, 0] * 255).round().clamp(0, 255).byte().cpu().numpy()
        except torch.cuda.OutOfMemoryError as error:
            raise StreamfuseError(
                f"{name} does not fit the GPU's memory at {visible.shape}; try --device cpu"
            ) from error

    return fuse


def _model_labels(models: Sequence[str]) -> dict[str, str]:
    """Label -> model: a weights file is called by its stem, by its whole path where stems repeat."""
    short = [Path(name).name.replace(WEIGHTS, "") for name in models]  # the rule after a colon stays
    return {(name if short.count(label) > 1 else label): name for label, name in zip(short, models, strict=True)}


def _stream(what: str, path: Path, modality: Modality) -> Stream:
    if not path.exists():
        raise UserError(f"{what} {path}: not found; give a folder of images, an image or a video")
    if path.is_dir() or is_image(path):
        return Stream(what, path, open_folder(path, modality))
    from streamfuse.sources.recording_video import open_video

    return Stream(what, path, open_video(path, modality))


def _matched(thermal: Stream, visible: Stream, fused: Stream | None, fusers: dict[str, Fuse], in_time: bool) -> Cases:
    ranks = pair_by_names(thermal.pictures.names, visible.pictures.names)
    hot, seen = ({rank: index for index, rank in enumerate(of_one)} for of_one in (ranks.thermal, ranks.rgb))
    both = sorted(hot.keys() & seen.keys())
    if not both:
        raise UserError(f"{thermal.path} and {visible.path} have no pair in common: {'; '.join(ranks.warnings)}")
    lone = len(both) < max(len(hot), len(seen))
    if lone and (fused is None or by_order(ranks)):
        raise UserError(f"{'; '.join(ranks.warnings)}; add the missing images or take these away")
    pairs = [(hot[rank], seen[rank]) for rank in both]
    warnings = [*ranks.warnings, *thermal.pictures.warnings, *visible.pictures.warnings]
    if fused:
        pairs, told = _with_fused(fused, pairs, thermal.pictures.names, visible.pictures.names)
        fused = Stream(fused.what, fused.path, fused.pictures, tuple(range(len(pairs))))
        warnings += told
    return Cases(
        tuple(visible.pictures.names[index] for _, index in pairs),
        Stream(thermal.what, thermal.path, thermal.pictures, tuple(index for index, _ in pairs)),
        Stream(visible.what, visible.path, visible.pictures, tuple(index for _, index in pairs)),
        fused,
        fusers,
        tuple(warnings),
        in_time,
    )


def _with_fused(
    fused: Stream, pairs: list[tuple[int, int]], thermal: Sequence[str], visible: Sequence[str]
) -> tuple[list[tuple[int, int]], list[str]]:
    """The pair of each fused image, in the order of the fused images, which are called like either source."""
    names = fused.pictures.names
    by_source = ([visible[index] for _, index in pairs], [thermal[index] for index, _ in pairs])
    ranks = min((pair_by_names(names, others) for others in by_source), key=lambda one: len(one.warnings))
    pair_at = dict(zip(ranks.rgb, pairs, strict=True))
    uncertain = by_order(ranks) and len(names) != len(pairs)
    lone = [name for name, rank in zip(names, ranks.thermal, strict=True) if uncertain or rank not in pair_at]
    if lone:
        raise UserError(
            f"{counted(len(lone), 'fused image')} of {fused.path} {'has' if len(lone) == 1 else 'have'} no pair: "
            f"{', '.join(lone[:NAMED])}"
            f"{' ...' if len(lone) > NAMED else ''}; name them like the thermal or visible image they were made from"
        )
    told = (
        [f"not judged, for want of a fused image: {len(pairs) - len(names)} of {len(pairs)} pairs"]
        if len(pairs) > len(names)
        else []
    )
    if by_order(ranks):
        told = [f"fused images and pairs share no names (first: {names[0]}): they are taken in their order"]
    return [pair_at[rank] for rank in ranks.thermal], told


def by_order(ranks: Ranks) -> bool:
    """Whether names share nothing, so that only their order says what belongs together."""
    return any("paired by their order" in warning for warning in ranks.warnings)


def _check_sizes(name: str, images: dict[str, Pixels]) -> None:
    sizes = {what: f"{image.shape[1]}x{image.shape[0]}" for what, image in images.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{what} {size}" for what, size in sizes.items())
        raise UserError(f"{name}: images of one pair must have one size, found {told}; register or resize them first")
