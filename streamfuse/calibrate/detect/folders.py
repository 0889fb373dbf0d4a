"""Detection over folders of recorded pairs: a table of what showed the target where, pictures, and a sightings file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamfuse.calibrate.detect.detect import Look, look_for
from streamfuse.calibrate.detect.overlay import write_overlay
from streamfuse.calibrate.detect.pairs import ImagePair, check_size, find_pairs, read_image
from streamfuse.calibrate.detect.stored import save
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import Sighting, View
from streamfuse.errors import UserError
from streamfuse.frames import Modality, Size

POOR = 0.6
"""Median quality below which an image is called faint or blurred."""
WHOLE = (
    "checkerboards and circle grids must be seen whole, for their points look alike; use charuco or aprilgrid where "
    "the board does not fit the image"
)


@dataclass(slots=True)
class _Camera:
    """What became of one camera's images."""

    modality: Modality
    looks: dict[str, Look] = field(default_factory=dict[str, Look])
    first: tuple[Path, Size] | None = None

    @property
    def found(self) -> int:
        return sum(look.sighting is not None for look in self.looks.values())

    def look(self, name: str, file: Path | None, target: Target, overlays: Path) -> Sighting | None:
        if file is None:
            return None
        image = read_image(file)
        size = image.shape[1], image.shape[0]
        check_size(file, size, self.first)
        self.first = self.first or (file, size)
        look = self.looks[name] = look_for(image, target)
        write_overlay(overlays / f"{name}_{self.modality.value}.png", image, look.sighting)
        return look.sighting

    def verdict(self) -> str:
        return f"{self.found} of {len(self.looks)}"


def detect_folders(folders: Sequence[Path], target: Target, out: Path, console: Console) -> dict[str, Any]:
    """Look for `target` in every image; writes `sightings.json` and `overlays/` into `out`.

    Raises UserError: no images, two sizes in one camera, a target that no image shows, or only one camera's.
    """
    paired = find_pairs(folders)
    for warning in paired.warnings:
        console.print(warning, markup=False, highlight=False)
    _make(out)
    cameras = _Camera(Modality.THERMAL), _Camera(Modality.RGB)
    views = [_view(pair, cameras, target, out) for pair in track(paired.pairs, "detecting", console=console)]
    console.print(_table(views, cameras, target))
    _check(cameras, target, out)
    if any(look.part and not look.sighting for camera in cameras for look in camera.looks.values()):
        console.print(f"images that show only a part of the board were left out: {WHOLE}", highlight=False)
    file = out / "sightings.json"
    save(file, target, views)
    both = sum(view.thermal is not None and view.rgb is not None for view in views)
    console.print(f"{file}: both cameras saw the target in {both} of {len(views)} poses", markup=False, highlight=False)
    told = {camera.modality.value: {"found": camera.found, "of": len(camera.looks)} for camera in cameras}
    return {"sightings": str(file), "target": target.name, **told, "both": both, "poses": len(views)}


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}; name another folder with --out") from error


def _view(pair: ImagePair, cameras: tuple[_Camera, _Camera], target: Target, out: Path) -> View:
    thermal, rgb = cameras
    overlays = out / "overlays"
    return View(
        pair.name,
        thermal.look(pair.name, pair.thermal, target, overlays),
        rgb.look(pair.name, pair.rgb, target, overlays),
    )


def _table(views: Sequence[View], cameras: tuple[_Camera, _Camera], target: Target) -> Table:
    table = Table("pose", title=f"{target.name}: what showed it")
    for camera in cameras:
        table.add_column(f"{camera.modality.value} {camera.verdict()}")
    for view in views:
        table.add_row(view.name, *(_cell(camera.looks.get(view.name), target) for camera in cameras))
    return table


def _cell(look: Look | None, target: Target) -> str:
    if look is None:
        return "-"
    if look.other_size:
        return f"[yellow]a board of {look.other_size[0]}x{look.other_size[1]}[/]"
    if look.sighting is None:
        return f"[yellow]only {look.part[0]}x{look.part[1]} corners[/]" if look.part else "[red]not found[/]"
    seen = look.sighting
    share = "" if len(seen.indices) == len(target.points_m) else f"{len(seen.indices)} of {len(target.points_m)}, "
    poor = ", [yellow]faint or blurred[/]" if float(np.median(seen.quality)) < POOR else ""
    return f"{share}{seen.shown_by}{poor}"


def _check(cameras: tuple[_Camera, _Camera], target: Target, out: Path) -> None:
    looks = [look for camera in cameras for look in camera.looks.values()]
    blind = [camera for camera in cameras if not camera.found]
    sizes = [look.other_size for look in looks if look.other_size]
    whole = any(look.sighting and not look.part for look in looks)
    if sizes and (blind or not whole):
        columns, rows = max(set(sizes), key=sizes.count)
        raise UserError(
            f"{target.name} was asked for; {len(sizes)} images show a board of {columns}x{rows} instead: "
            f"give that size (inner corners, not squares), e.g. --target {target.kind}:{columns}x{rows}:..."
        )
    if not blind:
        return
    who = " and ".join(camera.modality.value for camera in blind)
    seen = ", ".join(f"{camera.modality.value} {camera.verdict()}" for camera in cameras)
    in_part = [look.part for camera in blind for look in camera.looks.values() if look.part]
    if in_part:
        remedy = f"{len(in_part)} images show only a part of a board: {WHOLE}"
    elif len(blind) == 1:
        remedy = (
            f"it has too little contrast for the {who} camera, or is blurred there: heat or light it as "
            "calibration/README.md shows, hold it still, focus"
        )
    else:
        remedy = "check kind and size of the target" + ("" if target.has_markers else f"; {WHOLE}")
    raise UserError(f"no {who} image shows the {target.name} ({seen}); {remedy}; pictures in {out / 'overlays'}")
