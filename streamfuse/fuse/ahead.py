"""`streamfuse compile`: an engine built before it is needed, so that a start on this machine waits for nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import Size
from streamfuse.fuse.available import lacks, remedy
from streamfuse.fuse.engine_files import EngineFile, cache_folder, noted
from streamfuse.fuse.process import prepare_process
from streamfuse.fuse.rungs import check_choice, existing, open_engine
from streamfuse.models import build, identity
from streamfuse.stretch import StretchRegistrar
from streamfuse.terminal import passing_bar

if TYPE_CHECKING:
    from streamfuse.fuse.planar import Inputs
    from streamfuse.fuse.tensorrt.order import Progress as Hear

CALIBRATED = ("tensorrt", "openvino")


def compile_ahead(
    model: str,
    *,
    engine: str,
    size: Size,
    thermal_size: Size | None,
    precision: str,
    calibration: tuple[Path, Path] | None,
    console: Console,
) -> dict[str, Any]:
    """Build what a run with these would build, and say where it lies, how long it took and how large it is.

    `size`: the output grid; `thermal_size`: of the thermal camera, None = the same. `calibration`: thermal and visible
    folder, for int8. Raises UserError for what does not go together, EngineError with the remedy for what is missing.
    """
    check_choice(engine, precision)
    chosen = existing(precision)[0] if engine == "auto" else engine
    check_can_compile(chosen, precision, calibration)
    prepare_process()
    network, warp = build(model), StretchRegistrar(thermal_size or size, size).warp
    pairs = examples(calibration, warp.thermal_size, size)
    started, clock = time.time(), time.monotonic()
    with noted() as files, progress(console) as hear:
        made = open_engine(chosen, network, precision, 1, calibration=pairs, hear=hear)
        try:
            made.set_warp(warp)
        finally:
            made.close()
    told = {
        "model": identity(model),
        "engine": made.name,
        "size": list(size),
        "thermal_size": list(warp.thermal_size),
        "seconds": round(time.monotonic() - clock, 2),
        "files": [kept(file.path, started) for file in unique(files)] or [kept_by_pytorch()],
    }
    say(console, told)
    return told


def check_can_compile(engine: str, precision: str, calibration: tuple[Path, Path] | None) -> None:
    """Raises UserError where nothing is compiled, and where pairs are given to who has no use for them."""
    if engine == "eager":
        raise UserError("engine eager runs the graph as it stands: there is nothing to compile")
    if lack := lacks(engine):
        raise EngineError(f"engine {engine} cannot be built here: {lack}; {remedy(lack)}")
    if calibration and (precision != "int8" or engine not in CALIBRATED):
        raise UserError(
            f"--calibration is for --precision int8 of {' and '.join(CALIBRATED)}; asked for was {engine}, {precision}"
        )


def examples(calibration: tuple[Path, Path] | None, thermal_size: Size, size: Size) -> list[Inputs]:
    if calibration is None:
        return []
    from streamfuse.fuse.examples import recorded_examples

    return recorded_examples(*calibration, thermal_size, size)


def size_of(text: str, option: str) -> Size:
    """ "640x512" -> (640, 512). Raises UserError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", text.strip())
    if match is None:
        raise UserError(f"{option} {text!r} is no size; write width x height, e.g. 640x512")
    return int(match[1]), int(match[2])


def unique(files: list[EngineFile]) -> list[EngineFile]:
    """Each once, and only what was written."""
    return [file for file in dict.fromkeys(files) if file.path.exists()]


def kept(path: Path, started: float) -> dict[str, Any]:
    state = path.stat()
    return {"path": str(path), "bytes": state.st_size, "built": state.st_mtime >= started - 1}


def kept_by_pytorch() -> dict[str, Any]:
    """Inductor's kernels: PyTorch keeps them in a folder for all of its graphs."""
    folder = cache_folder() / "inductor"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"path": str(folder), "bytes": size, "built": True}


def say(console: Console, told: dict[str, Any]) -> None:
    sizes = " on ".join("x".join(map(str, told[name])) for name in ("thermal_size", "size"))
    console.print(f"{told['model']} on {told['engine']}, thermal {sizes}: {told['seconds']:.1f} s", markup=False)
    for file in told["files"]:
        how = "built" if file["built"] else "was there already"
        console.print(f"  {file['path']} ({file['bytes'] / 1e6:.2f} MB, {how})", markup=False, highlight=False)


@contextmanager
def progress(console: Console) -> Generator[Hear]:
    """A line that lives while something is built; TensorRT says phases and steps, the others only that they work."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with passing_bar(console, *columns) as shown:
        task = shown.add_task("compiling", total=None)

        def hear(phase: str, done: int, total: int) -> None:
            shown.update(task, description=phase[:60], completed=done, total=total or None)

        yield hear
