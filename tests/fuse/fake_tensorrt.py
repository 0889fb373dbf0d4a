"""A TensorRT without a GPU: its interface, as the real bindings have it, over ONNX Runtime and the host's memory.

An "engine" is the ONNX file that the parser was given, in an envelope that names version and precision. Running it
reads and writes at the addresses that were set, so that what comes out is right only if names, shapes, types, addresses
and lifetimes are. `version` chooses which names exist. tests/fuse/test_tensorrt_names.py holds it against the bindings.
"""

from __future__ import annotations

import ctypes
import json
from enum import Enum, IntEnum
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime

MAGIC = b"fake-trt:"
KINDS = {"INT32": np.int32, "FLOAT": np.float32, "UINT8": np.uint8}
FLAGS = ("FP16", "INT8", "TF32", "PREFER_PRECISION_CONSTRAINTS")


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    UINT8 = 5


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(Enum):
    DEVICE = 0
    HOST = 1


class LayerType(Enum):
    CONVOLUTION = 0
    DECONVOLUTION = 1
    ELEMENTWISE = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity, msg) -> None:
        raise NotImplementedError


class IProgressMonitor:
    pass


class IInt8EntropyCalibrator2:
    pass


class IHostMemory:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content

    @property
    def nbytes(self) -> int:
        return len(self._content)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.content + b"+measured")


class IBuilderConfig:
    def __init__(self) -> None:
        self.set, self.cleared, self.offered = [], [], []

    def set_flag(self, flag) -> None:
        self.set.append(flag.name)

    def clear_flag(self, flag) -> None:
        self.cleared.append(flag.name)

    def create_timing_cache(self, serialized_timing_cache) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch) -> bool:
        self.offered.append(cache.content)
        return b"foreign" not in cache.content


class ILayer:
    def __init__(self, node) -> None:
        self.type = LayerType.CONVOLUTION if node.op_type == "Conv" else LayerType.ELEMENTWISE
        self.precision = None

    def get_output(self, index) -> SimpleNamespace:
        return SimpleNamespace(dtype=DataType.FLOAT)


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags, self.content, self.layers = flags, b"", []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index) -> ILayer:
        return self.layers[index]


class OnnxParser:
    refuses = ""

    def __init__(self, network, logger) -> None:
        self._network = network

    def parse(self, model, path=None) -> bool:
        self._network.content = bytes(model)
        loaded = onnx.load_from_string(bytes(model))
        assert loaded.opset_import[0].version == 17
        self._network.layers = [ILayer(node) for node in loaded.graph.node]
        return not self.refuses

    @property
    def num_errors(self) -> int:
        return 1

    def get_error(self, index) -> str:
        return self.refuses


class Builder:
    fails = ""
    built: list[SimpleNamespace] = []  # noqa: RUF012  (of the class: the test reads it)

    def __init__(self, logger) -> None:
        self._logger = logger

    def create_network(self, flags=0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network, config) -> IHostMemory | None:
        calibrated = []
        calibrator = getattr(config, "int8_calibrator", None)
        while calibrator is not None and (addresses := calibrator.get_batch(["counts", "planes"])):
            calibrated.append([ctypes.string_at(address, 4) for address in addresses])
        Builder.built.append(SimpleNamespace(network=network, config=config, calibrated=calibrated))
        monitor = getattr(config, "progress_monitor", None)
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            if not all(monitor.step_complete("Building", step) for step in range(2)):
                return None
            monitor.phase_finish("Building")
        if self.fails:
            self._logger.log(ILogger.ERROR, self.fails)
            return None
        return IHostMemory(envelope(network.content))


def envelope(content: bytes, version: str = "fake") -> bytes:
    return MAGIC + json.dumps({"version": version}).encode() + b"\n" + content


class Runtime:
    def __init__(self, logger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine) -> ICudaEngine | None:
        head, _, content = bytes(serialized_engine).partition(b"\n")
        if not head.startswith(MAGIC) or json.loads(head[len(MAGIC) :])["version"] != "fake":
            self._logger.log(ILogger.ERROR, "serialized with another version")
            return None
        return ICudaEngine(content, self)


class ICudaEngine:
    host_tensors: tuple[str, ...] = ()

    def __init__(self, content: bytes, runtime: Runtime) -> None:
        self.runtime = runtime
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.inputs = {each.name: each for each in self.session.get_inputs()}
        self.outputs = {each.name: each for each in self.session.get_outputs()}

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name) -> list[int]:
        return [size if isinstance(size, int) else -1 for size in {**self.inputs, **self.outputs}[name].shape]

    def get_tensor_dtype(self, name) -> DataType:
        kind = {**self.inputs, **self.outputs}[name].type
        return {"tensor(int32)": DataType.INT32, "tensor(float)": DataType.FLOAT, "tensor(uint8)": DataType.UINT8}[kind]

    def get_tensor_location(self, name) -> TensorLocation:
        return TensorLocation.HOST if name in self.host_tensors else TensorLocation.DEVICE

    def create_execution_context(self) -> IExecutionContext | None:
        return IExecutionContext(self)


class IExecutionContext:
    fails = False

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._addresses = engine, {}

    def set_tensor_address(self, name, memory) -> bool:
        self._addresses[name] = memory
        return memory != 0

    def execute_async_v3(self, stream_handle) -> bool:
        if self.fails:
            return False
        feeds = {name: self._at(name).copy() for name in self._engine.inputs}
        (made,) = self._engine.session.run(None, feeds)
        self._at(*self._engine.outputs)[...] = made
        return True

    def _at(self, name) -> np.ndarray:
        shape = self._engine.get_tensor_shape(name)
        kind = np.dtype(KINDS[self._engine.get_tensor_dtype(name).name])
        memory = (ctypes.c_char * (int(np.prod(shape)) * kind.itemsize)).from_address(self._addresses[name])
        return np.frombuffer(memory, kind).reshape(shape)


def fake(version: str = "10.15.1") -> SimpleNamespace:
    """The library as that version has it."""
    major = int(version.split(".", maxsplit=1)[0])
    flags = [name for name in FLAGS if major < 11 or name == "TF32"] + (["BF16"] if major == 10 else [])
    creation = (["EXPLICIT_BATCH"] if major < 11 else []) + (["STRONGLY_TYPED"] if major >= 10 else [])
    Builder.built.clear()
    classes = [Builder, DataType, ILogger, LayerType, OnnxParser, Runtime, TensorIOMode, TensorLocation]
    classes += [IProgressMonitor] if major >= 10 else []
    classes += [IInt8EntropyCalibrator2] if major < 11 else []
    return SimpleNamespace(
        __version__=version,
        __spec__=ModuleSpec("tensorrt", None),  # PyTorch's tracer asks every module for it
        BuilderFlag=IntEnum("BuilderFlag", flags, start=0),
        NetworkDefinitionCreationFlag=IntEnum("NetworkDefinitionCreationFlag", creation, start=0),
        **{each.__name__: each for each in classes},
    )
