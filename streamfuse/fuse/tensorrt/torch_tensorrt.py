"""Builder: the exported graph through torch-tensorrt, as on servers. This is the one place that loads it."""

from __future__ import annotations

import inspect
import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from streamfuse.errors import EngineError
from streamfuse.fuse.device_graph import TYPES
from streamfuse.fuse.planar import Buffers, PlanarGraph, whole
from streamfuse.fuse.tensorrt.order import Order


class WholeNumbers(PlanarGraph):
    """PlanarGraph that ends in float32: torch-tensorrt (2.13) has no converter to uint8, and the runner casts."""

    def forward(self, counts: Tensor, lut: Tensor, grid: Tensor, strength: Tensor, planes: Tensor) -> Tensor:
        return whole(self.mix(counts, lut, grid, strength, planes))


def load_torch_tensorrt() -> Any:
    """The library. Raises EngineError where it is missing or broken, which it says by a plain Exception."""
    try:
        import torch_tensorrt
    except Exception as error:
        raise EngineError(f"torch-tensorrt does not load here ({' '.join(str(error).split())[:200]})") from error
    return torch_tensorrt


def build(library: Any, order: Order, device: str = "cuda") -> bytes:
    """The engine's content. Raises EngineError with the reason."""
    if order.precision == "int8":
        raise EngineError("int8 engines are built through ONNX; torch-tensorrt is not used for them")
    arrays = Buffers.of(order.thermal_size, order.output_size).fusion.values()
    inputs = [torch.from_numpy(array).to(device) for array in arrays]
    order.progress("torch-tensorrt builds", 0, 1)
    try:
        convert = library.dynamo.convert_exported_program_to_serialized_trt_engine  # missing in early versions
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = WholeNumbers(deepcopy(order.network)).eval().to(device)  # the order's may be built another way yet
            program = torch.export.export(graph, tuple(inputs))
            content = convert(program, inputs=inputs, **options(convert, order.precision))
    except Exception as error:  # converters raise anything
        raise EngineError(f"torch-tensorrt built no engine: {' '.join(str(error).split())[:300]}") from error
    order.progress("torch-tensorrt builds", 1, 1)
    return bytes(content)


def options(convert: Any, precision: str) -> dict[str, Any]:
    """The whole graph as one engine; the types that stand in it, which newer versions take in any case."""
    known = inspect.signature(convert).parameters
    wanted: dict[str, Any] = {
        "require_full_compilation": True,
        "disable_tf32": precision == "fp32",
        "use_explicit_typing": True,
    }
    if "use_explicit_typing" not in known:
        wanted["enabled_precisions"] = {torch.float32, TYPES[precision]}
    return {name: value for name, value in wanted.items() if name in known}
