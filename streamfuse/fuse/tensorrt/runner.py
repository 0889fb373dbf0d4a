"""One engine file at work: deserialised, its names, shapes and types checked, its tensors where PyTorch put them.

All memory belongs to PyTorch; TensorRT is told addresses. A `Bound` keeps everything alive that those addresses and
its context need. It knows neither builders nor files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from streamfuse.errors import EngineError
from streamfuse.fuse.tensorrt.library import last_error, listener

TYPES = {torch.int32: "INT32", torch.float32: "FLOAT", torch.uint8: "UINT8"}
"""What our graph's ends are made of, in TensorRT's words."""


@dataclass(frozen=True)
class Bound:
    """A context whose tensors lie at fixed addresses."""

    context: Any
    tensors: Mapping[str, Tensor]
    runner: Runner

    def enqueue(self, stream: int) -> None:
        """Run once on a CUDA stream. Raises EngineError where TensorRT refuses."""
        if not self.context.execute_async_v3(stream):
            raise EngineError(f"TensorRT could not run the engine: {last_error(self.runner.messages)}")


class Runner:
    """An engine, open. Raises EngineError for content that this TensorRT on this GPU cannot open."""

    def __init__(self, library: Any, content: bytes) -> None:
        self.library = library
        self.messages = listener(library)
        self._runtime = library.Runtime(self.messages)
        self.engine = self._runtime.deserialize_cuda_engine(content)
        if self.engine is None:
            raise EngineError(f"TensorRT {library.__version__} cannot open it: {last_error(self.messages)}")

    def bound(self, inputs: Mapping[str, Tensor], output: Tensor) -> Bound:
        """A context that reads these inputs, by name, and writes this output, the engine's only one.

        Raises EngineError where the engine's ends are not these, and where there is no memory for a context.
        """
        tensors = {**inputs, self._output_name(): output}
        self._check(tensors)
        context = self.engine.create_execution_context()
        if context is None:
            raise EngineError(f"TensorRT has no memory for a context: {last_error(self.messages)}")
        for name, tensor in tensors.items():
            if not context.set_tensor_address(name, tensor.data_ptr()):
                raise EngineError(f"TensorRT refuses the address of {name}: {last_error(self.messages)}")
        return Bound(context, tensors, self)

    def output_type(self) -> torch.dtype:
        """What the engine's only output is made of: builders differ. Raises EngineError for a type we do not use."""
        name = self._output_name()
        kind = self.engine.get_tensor_dtype(name)
        for number, called in TYPES.items():
            if kind == getattr(self.library.DataType, called):
                return number
        raise EngineError(f"the engine gives {name} as {kind}; here it is one of {', '.join(TYPES.values())}")

    def _output_name(self) -> str:
        """Whatever its builder called it."""
        modes = self.library.TensorIOMode
        outputs = [name for name in self._names() if self.engine.get_tensor_mode(name) == modes.OUTPUT]
        if len(outputs) != 1:
            raise EngineError(f"the engine has the outputs {outputs}; one is expected")
        return outputs[0]

    def _names(self) -> list[str]:
        return [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        found, wanted = set(self._names()), set(tensors)
        if found != wanted:
            raise EngineError(f"the engine's tensors are {sorted(found)}; expected are {sorted(wanted)}")
        for name, tensor in tensors.items():
            if not tensor.is_contiguous():
                raise ValueError(f"{name} is not contiguous: TensorRT reads rows one after another")
            self._check_one(name, tensor)

    def _check_one(self, name: str, tensor: Tensor) -> None:
        """Static shapes only: a side that is open (-1) is another engine than ours."""
        shape, kind = tuple(self.engine.get_tensor_shape(name)), self.engine.get_tensor_dtype(name)
        if shape != tuple(tensor.shape):
            raise EngineError(f"the engine takes {name} as {shape}; here it is {tuple(tensor.shape)}")
        if kind != getattr(self.library.DataType, TYPES[tensor.dtype]):
            raise EngineError(f"the engine takes {name} as {kind}; here it is {tensor.dtype}")
        if self.engine.get_tensor_location(name) != self.library.TensorLocation.DEVICE:
            raise EngineError(f"the engine takes {name} in the host's memory; it is in the GPU's")
