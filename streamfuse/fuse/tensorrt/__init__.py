"""The TensorRT engine: the whole graph as one engine file, built here once, replayed per frame as a CUDA graph.

Two builders make the file (torch_tensorrt.py, onnx_parser.py), one runner (runner.py) runs it. Building takes minutes
and is kept on disk; a file of another TensorRT, GPU, size or network has another name, and one that turns out not to
fit is refused and built again. Not yet run on a GPU with TensorRT 10 or 11: what was checked is in docs/jetson.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import Size
from streamfuse.fuse.available import cuda_lacks, remedy
from streamfuse.fuse.device_graph import in_precision, interleaved, planes, widened
from streamfuse.fuse.engine_files import EngineFile, engine_file, hash_of_code, hash_of_weights
from streamfuse.fuse.lane import Inputs, Prepare, Work
from streamfuse.fuse.lane_engine import LaneEngine
from streamfuse.fuse.planar import Buffers
from streamfuse.fuse.planar import Inputs as Arrays
from streamfuse.fuse.streams import CudaStreams, Streams
from streamfuse.fuse.tensorrt import onnx_parser, torch_tensorrt
from streamfuse.fuse.tensorrt.library import load_tensorrt
from streamfuse.fuse.tensorrt.order import Order, Progress
from streamfuse.fuse.tensorrt.runner import Runner

log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


class TensorRtEngine(LaneEngine):
    """Runs an engine file of this network; builds it where there is none.

    `precision`: "auto" = fp16. `calibration`: the graph's inputs (planar.Buffers.fusion), a mapping for each recorded
    pair; int8 is built from them, and again where they are given anew; without them from a synthetic street.
    `progress` hears how far a build is. `cache`: the folder of engine files, None = the user's. Raises EngineError
    where TensorRT or a GPU is missing.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        precision: str = "auto",
        slots: int = 1,
        calibration: Iterable[Arrays] = (),
        progress: Progress | None = None,
        cache: Path | None = None,
        streams: Streams | None = None,
    ) -> None:
        if precision not in ("auto", *PRECISIONS):
            raise UserError(
                f"engine tensorrt does not compute in {precision!r}; it offers: auto, {', '.join(PRECISIONS)}"
            )
        self._library = load_tensorrt()
        if streams is None and (lack := cuda_lacks()):
            raise EngineError(f"engine tensorrt cannot run here: {lack}; {remedy(lack)}")
        self.precision = "fp16" if precision == "auto" else precision
        self.name = f"tensorrt-{self.precision}"
        self.slots = slots
        self.streams = streams or CudaStreams()
        self._network = in_precision(network, "fp32" if self.precision == "int8" else self.precision)
        self._calibration = list(calibration)
        self._progress = progress
        self._cache = cache
        self._stop = threading.Event()

    def file(self, sizes: tuple[Size, Size]) -> EngineFile:
        """Where the engine for these sizes (thermal, output) is or will be."""
        made_from = {
            "code": hash_of_code(),
            "network": str(self._network),
            "weights": hash_of_weights(self._network),
            "sizes": str(sizes),
            "precision": self.precision,
        }
        return engine_file("tensorrt", {**made_from, **self._machine()}, self._cache)

    def prepare(self, sizes: tuple[Size, Size]) -> Prepare:
        file = self.file(sizes)
        content = None if self._calibration else file.read()
        if content is not None:
            try:
                return self._prepared(Runner(self._library, content), sizes)
            except EngineError as error:
                file.refuse(str(error))
        content = self._built(sizes)
        file.write(content)
        return self._prepared(Runner(self._library, content), sizes)

    def close(self) -> None:
        """Also ends a build that is under way in another thread."""
        self._stop.set()
        super().close()

    def _machine(self) -> dict[str, str]:
        return {"tensorrt": self._library.__version__, "gpu": gpu_identity(self.streams.device)}

    def _built(self, sizes: tuple[Size, Size]) -> bytes:
        """By the first builder that manages: torch-tensorrt where it is installed, else TensorRT's ONNX parser."""
        order = self._order(sizes)
        (columns, rows), (width, height) = sizes
        log.warning(
            "building the %s engine for thermal %dx%d on output %dx%d; done once, takes minutes",
            *(self.name, columns, rows, width, height),
        )
        try:
            return self._by_torch_tensorrt(order)
        except EngineError as without:
            try:
                return self._by_onnx(order)
            except EngineError as error:
                raise EngineError(f"{error} ({without})") from error

    def _by_torch_tensorrt(self, order: Order) -> bytes:
        return torch_tensorrt.build(torch_tensorrt.load_torch_tensorrt(), order, self.streams.device)

    def _by_onnx(self, order: Order) -> bytes:
        return onnx_parser.build(self._library, order, self.streams.device)

    def _order(self, sizes: tuple[Size, Size]) -> Order:
        self._stop.clear()
        given = {"progress": self._progress} if self._progress else {}
        return Order(
            network=self._network,
            thermal_size=sizes[0],
            output_size=sizes[1],
            precision=self.precision,
            timings=engine_file("tensorrt-timings", self._machine(), self._cache),
            calibration=self._examples(sizes),
            stop=self._stop,
            **given,
        )

    def _examples(self, sizes: tuple[Size, Size]) -> Sequence[Arrays]:
        """What int8 is calibrated with: the pairs that were given, else a street that streamfuse paints."""
        if self._calibration or self.precision != "int8":
            return self._calibration
        from streamfuse.fuse.examples import synthetic_examples

        log.warning("int8 is calibrated with synthetic pairs; better with yours: streamfuse compile --calibration")
        return synthetic_examples(*sizes)

    def _prepared(self, runner: Runner, sizes: tuple[Size, Size]) -> Prepare:
        _check_opens(runner, sizes, self.streams.device)

        def work_on(inputs: Inputs) -> Work:
            return bound_work(runner, inputs, self.streams)

        return work_on


def bound_work(runner: Runner, inputs: Inputs, streams: Streams) -> Work:
    """The engine between raw bytes and raw bytes; what it reads and writes in between belongs to the work."""
    counts = torch.zeros_like(inputs.counts, dtype=torch.int32)
    colour = torch.zeros_like(planes(inputs.rgb), memory_format=torch.contiguous_format)
    fused = torch.zeros_like(colour, dtype=runner.output_type())
    geometry = inputs.geometry
    names: dict[str, Tensor] = {
        "counts": counts,
        "lut": inputs.lut,
        "grid": geometry.grid,
        "strength": geometry.strength,
        "planes": colour,
    }
    bound = runner.bound(names, fused)

    def work() -> Tensor:
        counts.copy_(widened(inputs.counts))
        colour.copy_(planes(inputs.rgb))
        bound.enqueue(streams.handle())
        return interleaved(fused.to(torch.uint8))

    return work


def _check_opens(runner: Runner, sizes: tuple[Size, Size], device: str) -> None:
    """Refuse an engine of other names, sizes or types before anything is made for it."""
    buffers = Buffers.of(*sizes).fusion
    tensors = {name: torch.from_numpy(array).to(device) for name, array in buffers.items()}
    runner.bound(tensors, torch.zeros_like(tensors["planes"], dtype=runner.output_type()))


def gpu_identity(device: str) -> str:
    """An engine file is good for one kind of GPU."""
    if device != "cuda":
        return "none"
    return f"{torch.cuda.get_device_name()} {torch.cuda.get_device_capability()}"
