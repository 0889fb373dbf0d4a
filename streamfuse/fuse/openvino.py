"""The OpenVINO engine: the whole graph compiled for this CPU, computing in bf16 where the CPU does.

What changes from frame to frame and from map to map is an input of the compiled graph, so that neither a new tone
curve nor a new map of the same size compiles anything. Compiling needs PyTorch's exporter and takes seconds; its
result is kept on disk and found again in a fraction of one. This is the one place that loads OpenVINO.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn

from streamfuse.clock import now_ns
from streamfuse.errors import EngineError
from streamfuse.frames import Pixels, Size, WarpMap
from streamfuse.fuse.engine_files import EngineFile, engine_file, hash_of_code, hash_of_weights
from streamfuse.fuse.planar import AlignedGraph, Buffers, Inputs, PlanarGraph, exported
from streamfuse.thermal import ToneCurve

log = logging.getLogger(__name__)

CPU_IDENTITY = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
HINTS = {"bf16": "bf16", "fp32": "f32"}
NAMES = {"bf16": "bf16", "f16": "fp16"}
_CONVERTING = threading.Lock()
"""Two at once would each restore what the other one found."""


class OpenVinoEngine:
    """Runs the graph on `threads` cores of the CPU.

    `precision`: "auto" = what this CPU computes fastest without int8, "bf16", "fp32", or "int8" (the convolutions;
    the rest as with "auto"); `name` says what it became once the first map is known ("openvino-bf16"; models without
    convolutions compute in fp32 in any case). `calibration`: the graph's inputs (planar.Buffers.fusion), a mapping
    for each recorded pair, from which int8 is built, and built again where they are given anew; without them from a
    synthetic street. `cache`: the folder of compiled engines, None = the user's. Raises EngineError where OpenVINO is
    missing or broken, or NNCF is when int8 has to be built.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        threads: int = 1,
        precision: str = "auto",
        calibration: Iterable[Inputs] = (),
        cache: Path | None = None,
    ) -> None:
        self.name = "openvino"
        self._openvino = load_openvino()
        self._core = self._openvino.Core()
        self._settings = settings(threads, precision)
        self._precision = precision
        self._calibration = list(calibration)
        self._fusing, self._aligning = PlanarGraph(network).eval(), AlignedGraph().eval()
        self._cache = cache
        self._sizes: tuple[Size, Size] | None = None
        self._curve: ToneCurve | None = None
        self._marks: dict[str, int] = {}

    def set_warp(self, warp: WarpMap) -> None:
        """Take over a map; only one of other sizes than before opens other graphs."""
        sizes = (warp.thermal_size, warp.grid.size)
        if sizes != self._sizes:
            self._buffers = Buffers.of(*sizes)
            self._fusion = self._opened("fusion", self._fusing, self._buffers.fusion)
            self._alignment = self._opened("alignment", self._aligning, self._buffers.alignment)
            self.name = f"openvino-{executed_precision(self._fusion.get_compiled_model())}"
            self._sizes, self._curve = sizes, None
        self._buffers.set_warp(warp)

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        begun_ns = now_ns()
        self._take_in(thermal, curve)
        self._buffers.set_rgb(rgb)
        filled_ns = now_ns()
        self._fusion.infer()
        inferred_ns = now_ns()
        fused = cv2.merge(list(self._fusion.get_output_tensor(0).data[0]))
        self._marks = {"fill": filled_ns - begun_ns, "graph": inferred_ns - filled_ns, "merge": now_ns() - inferred_ns}
        return fused

    def marks_ns(self) -> Mapping[str, int]:
        """What the parts of the last `fuse` took: filling the inputs, the compiled graph, merging its planes."""
        return self._marks

    def align(self, thermal: Pixels, curve: ToneCurve) -> Pixels:
        self._take_in(thermal, curve)
        self._alignment.infer()
        return self._alignment.get_output_tensor(0).data[0, 0].copy()

    def close(self) -> None:
        """Memory goes with the engine."""

    def _take_in(self, thermal: Pixels, curve: ToneCurve) -> None:
        self._buffers.set_thermal(thermal)
        if self._curve is not curve:
            self._buffers.set_curve(curve)
            self._curve = curve

    def _opened(self, kind: str, module: nn.Module, inputs: Inputs) -> Any:
        """A request that reads `inputs` where they lie; its graph from disk, or compiled and written there."""
        file = engine_file(f"openvino-{kind}", self._made_from(module, inputs), self._cache)
        compiled = None if self._calibration and module is self._fusing else self._from_disk(file)
        if compiled is None:
            log.info("compiling the %s graph for this CPU; done once, takes some seconds", kind)
            compiled = self._core.compile_model(self._model(module, inputs), "CPU", self._settings)
            file.write(compiled.export_model().getvalue())
        request = compiled.create_infer_request()
        for index, array in enumerate(inputs.values()):
            request.set_input_tensor(index, self._openvino.Tensor(array, shared_memory=True))
        return request

    def _model(self, module: nn.Module, inputs: Inputs) -> Any:
        model = converted(module, inputs)
        if self._precision != "int8" or module is not self._fusing:
            return model
        from streamfuse.fuse.examples import synthetic_examples
        from streamfuse.fuse.quantise import quantised

        sides = inputs["counts"].shape, inputs["planes"].shape
        thermal, output = ((shape[3], shape[2]) for shape in sides)
        return quantised(model, self._calibration or synthetic_examples(thermal, output))

    def _from_disk(self, file: EngineFile) -> Any | None:
        content = file.read()
        if content is None:
            return None
        try:
            return self._core.import_model(io.BytesIO(content), "CPU", self._settings)
        except RuntimeError:
            file.refuse("OpenVINO cannot read it")
            return None

    def _made_from(self, module: nn.Module, inputs: Inputs) -> dict[str, str]:
        """Everything a compiled graph depends on."""
        return {
            "code": hash_of_code(),
            "network": str(module),
            "weights": hash_of_weights(module),
            "inputs": ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in inputs.items()),
            "settings": str(sorted(self._settings.items())),
            "quantised": str(self._precision == "int8"),
            "versions": f"openvino {self._openvino.__version__}, torch {torch.__version__}",
            "cpu": " ".join(str(self._core.get_property("CPU", name)) for name in CPU_IDENTITY),
        }


def load_openvino() -> Any:
    """The library, kept from reporting its use to its maker, which it otherwise does on import.

    Raises EngineError with the remedy where it is missing or does not load.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        remedy = "pip install 'streamfuse[openvino]'"
        raise EngineError(f"OpenVINO does not load here ({error}); for this engine: {remedy}") from error
    return openvino


def settings(threads: int, precision: str) -> dict[str, Any]:
    """For one frame at a time, on few threads that go where the system puts them."""
    hint = {"INFERENCE_PRECISION_HINT": HINTS[precision]} if precision in HINTS else {}
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False, **hint}


def executed_precision(compiled: Any) -> str:
    """The lowest precision that a compiled graph really computes in; int8 where convolutions do."""
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    runs = {(each["layerType"].astype(str), each["runtimePrecision"].astype(str)) for each in told}
    if runs & {("Convolution", "u8"), ("Convolution", "i8")}:
        return "int8"
    kinds = {kind for _, kind in runs}
    return next((name for kind, name in NAMES.items() if kind in kinds), "fp32")


def converted(module: nn.Module, inputs: Inputs) -> Any:
    """The module as OpenVINO has it, for these sizes and no others. Raises EngineError where OpenVINO is missing."""
    openvino = load_openvino()
    with _CONVERTING, _log_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch and OpenVINO about each other
        model = openvino.convert_model(exported(module, inputs))
    model.reshape({index: list(array.shape) for index, array in enumerate(inputs.values())})
    return model


@contextmanager
def _log_kept() -> Generator[None]:
    """OpenVINO's converter lets the whole process log nothing below ERROR while it runs, and where it fails ever after.

    Ours is heard all the while, everybody else's again in the end.
    """
    root, ours = logging.getLogger(), logging.getLogger("streamfuse")
    level, filters, handlers, own = root.level, list(root.filters), list(root.handlers), ours.level
    ours.setLevel(ours.getEffectiveLevel())
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers
        ours.setLevel(own)
