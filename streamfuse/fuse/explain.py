"""For each engine whether it can run on this machine, with which versions, or why not and what to do: for doctor.

Unlike `available.py`, which a start asks, this loads what it tells of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from streamfuse.errors import EngineError
from streamfuse.fuse.available import lacks, remedy

NO_BUILDER = "neither torch-tensorrt nor the ONNX exporter loads, so engine files can be run and not built"


@dataclass(frozen=True, slots=True)
class Explained:
    """`found`: what runs it, or why it does not run; `remedy` is empty where there is nothing to do."""

    runs: bool
    found: str
    remedy: str = ""


def explain(engine: str) -> Explained:
    """Of the engine of this name. Raises what vendor libraries raise, which may be anything."""
    if lack := lacks(engine):
        return Explained(False, lack, remedy(lack))
    try:
        match engine:
            case "tensorrt":
                return _tensorrt()
            case "inductor":
                return Explained(True, f"PyTorch {metadata.version('torch')}, {_gpu()}")
            case "openvino":
                return _openvino()
            case _:
                return Explained(True, f"PyTorch {metadata.version('torch')} on the CPU: the reference, runs anywhere")
    except EngineError as error:
        found, _, what_to_do = str(error).partition("; for this engine: ")
        return Explained(False, found, what_to_do)


def _tensorrt() -> Explained:
    from streamfuse.fuse.tensorrt.library import load_tensorrt

    version = f"TensorRT {load_tensorrt().__version__}, {_gpu()}"
    builders = _builders()
    if not builders:
        return Explained(False, f"{version}; {NO_BUILDER}", "pip install 'streamfuse[onnx]'")
    return Explained(True, f"{version}, built by {' or '.join(builders)}")


def _builders() -> list[str]:
    from streamfuse.fuse.onnx_export import load_onnx
    from streamfuse.fuse.tensorrt.torch_tensorrt import load_torch_tensorrt

    builders = {"torch-tensorrt": load_torch_tensorrt, "its ONNX parser": load_onnx}
    return [name for name, load in builders.items() if _loads(load)]


def _loads(load: Callable[[], Any]) -> bool:
    try:
        load()
    except EngineError:
        return False
    return True


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


def _openvino() -> Explained:
    from streamfuse.fuse.openvino import load_openvino

    load_openvino()
    return Explained(True, f"OpenVINO {metadata.version('openvino')}")
