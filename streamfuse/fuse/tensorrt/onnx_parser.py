"""Builder: the graph as an ONNX file through TensorRT's own parser. All that it needs is `tensorrt`, as on a Jetson.

Half precision stands in the graph, as casts around the network. From TensorRT 10 on the graph's types are law; before,
a flag allows them. int8 is the one precision that TensorRT chooses itself, after calibration, and only for
convolutions: tone curve, warp and colour stay as they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from streamfuse.errors import EngineError
from streamfuse.fuse.onnx_export import export_onnx
from streamfuse.fuse.planar import Inputs
from streamfuse.fuse.tensorrt.library import last_error, listener, strongly_typed
from streamfuse.fuse.tensorrt.order import Order

FLAGS = {"fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8", "FP16", "PREFER_PRECISION_CONSTRAINTS")}


def build(library: Any, order: Order, device: str = "cuda") -> bytes:
    """The engine's content. Raises EngineError with TensorRT's reason, or when it was stopped."""
    messages = listener(library)
    builder = library.Builder(messages)
    network = builder.create_network(network_flags(library, order.precision))
    parse(library, network, messages, order)
    config = configured(library, builder, order.precision)
    if order.precision == "int8":
        keep_floats(library, network)
        config.int8_calibrator = calibrator(library, iter(order.calibration), device)
    timings = with_timings(config, order)
    if hasattr(library, "IProgressMonitor"):
        config.progress_monitor = monitor(library, order)
    content = builder.build_serialized_network(network, config)
    if content is None:
        why = "it was stopped" if order.stop.is_set() else last_error(messages)
        raise EngineError(f"TensorRT {library.__version__} built no {order.precision} engine: {why}")
    order.timings.write(bytes(timings.serialize()))
    return bytes(content)


def network_flags(library: Any, precision: str) -> int:
    """Bits for create_network: an explicit batch where that is a choice; the graph's own types except for int8."""
    known = library.NetworkDefinitionCreationFlag
    flags = 0
    if hasattr(known, "EXPLICIT_BATCH"):
        flags |= 1 << int(known.EXPLICIT_BATCH)
    if strongly_typed(library) and precision != "int8":
        flags |= 1 << int(known.STRONGLY_TYPED)
    return flags


def parse(library: Any, network: Any, messages: Any, order: Order) -> None:
    """Fill the network from an ONNX file in opset 17, which every TensorRT since 8.5 reads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        export_onnx(order.network, thermal_size=order.thermal_size, output_size=order.output_size, path=path, opset=17)
        content = path.read_bytes()
    parser = library.OnnxParser(network, messages)
    if not parser.parse(content):
        found = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(f"TensorRT {library.__version__} cannot read the graph: {found or last_error(messages)}")


def configured(library: Any, builder: Any, precision: str) -> Any:
    """Flags of the precision, where the graph's types are not enough. fp32 is fp32, not NVIDIA's shorter TF32."""
    config = builder.create_builder_config()
    if precision == "fp32":
        config.clear_flag(library.BuilderFlag.TF32)
    elif precision == "int8" or not strongly_typed(library):
        for name in FLAGS[precision]:
            if not hasattr(library.BuilderFlag, name):
                raise EngineError(f"TensorRT {library.__version__} builds no {precision} engines; take fp16")
            config.set_flag(getattr(library.BuilderFlag, name))
    return config


def keep_floats(library: Any, network: Any) -> None:
    """Let int8 in only where weights are multiplied: a tone curve or a grid of 256 values shows."""
    multiplies = (library.LayerType.CONVOLUTION, library.LayerType.DECONVOLUTION)
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        if layer.type not in multiplies and layer.get_output(0).dtype == library.DataType.FLOAT:
            layer.precision = library.DataType.FLOAT


def with_timings(config: Any, order: Order) -> Any:
    """Start from what earlier builds measured; from nothing where TensorRT does not want that."""
    timings = config.create_timing_cache(order.timings.read() or b"")
    if not config.set_timing_cache(timings, False):
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return timings


def monitor(library: Any, order: Order) -> Any:
    """TensorRT's progress as calls of `order.progress`; the way in which it hears of a stop."""
    totals: dict[str, int] = {}

    class Monitor(library.IProgressMonitor):
        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            totals[phase_name] = num_steps
            order.progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            order.progress(phase_name, step + 1, totals.get(phase_name, step + 1))
            return not order.stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            total = totals.pop(phase_name, 0)
            order.progress(phase_name, total, total)

    return Monitor()


def calibrator(library: Any, pairs: Iterator[Inputs], device: str) -> Any:
    """Feeds recorded pairs to the calibration, one at a time, from memory of the device that lives until the next."""
    if not hasattr(library, "IInt8EntropyCalibrator2"):
        raise EngineError(f"TensorRT {library.__version__} has no calibration for int8 any more; take fp16")

    class Calibrator(library.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            super().__init__()
            self.held: dict[str, torch.Tensor] = {}

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            pair = next(pairs, None)
            if pair is None:
                return None
            self.held = {name: torch.from_numpy(pair[name]).clone().to(device) for name in names}
            return [self.held[name].data_ptr() for name in names]

        def read_calibration_cache(self) -> bytes | None:
            return None

        def write_calibration_cache(self, cache: bytes) -> None:
            """Not kept: the engine itself is."""

    return Calibrator()
