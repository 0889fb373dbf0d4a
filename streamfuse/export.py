"""`streamfuse export`: the fusion graph of a model as a file for other people's compilers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from streamfuse.errors import UserError
from streamfuse.fuse.ahead import size_of
from streamfuse.models import build, identity

SUFFIX = ".onnx"


def export_model(
    model: str, out: Path | None, *, size: str, thermal_size: str | None, opset: int, dynamic: bool, console: Console
) -> dict[str, Any]:
    """Write `model`'s graph as ONNX to `out` (None: MODEL-SIZE.onnx here); what was written, as a dictionary.

    Raises UserError for an unknown model, size or opset and a place where nothing can be written.
    """
    output = size_of(size, "--size")
    thermal = size_of(thermal_size, "--thermal-size") if thermal_size else output
    called = identity(model).replace(":", "-").replace(os.sep, "-")
    path = out or Path(f"{called}-{'open' if dynamic else f'{output[0]}x{output[1]}'}{SUFFIX}")
    if path.is_dir() or path.suffix != SUFFIX:
        raise UserError(f"--out {path}: name a file that ends in {SUFFIX}")
    from streamfuse.fuse.onnx_export import export_onnx, operators_of

    network = build(model)
    try:
        export_onnx(network, thermal_size=thermal, output_size=output, path=path, opset=opset, dynamic=dynamic)
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written: {error.strerror}") from error
    used = operators_of(path)
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opset {opset}, {len(used)} operators", markup=False)
    console.print(
        f"inputs counts, lut, grid, strength, planes; output fused. Operators: {', '.join(used)}", soft_wrap=True
    )
    return {
        "model": identity(model),
        "file": str(path),
        "bytes": path.stat().st_size,
        "opset": opset,
        "dynamic": dynamic,
        "thermal_size": thermal,
        "size": output,
        "operators": used,
    }
