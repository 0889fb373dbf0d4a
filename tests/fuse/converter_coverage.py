"""Which of our graph's operators torch-tensorrt can convert, without a GPU: python converter_coverage.py MODEL ...

It needs torch-tensorrt and TensorRT's Python bindings, beside PyTorch for the CPU, without what they depend on:

    pip install --no-deps --target DIR torch-tensorrt==2.13.0 tensorrt_cu13_bindings==11.0.0.114 dllist
    PYTHONPATH=DIR python tests/fuse/converter_coverage.py streamfuse-s streamfuse-q

TensorRT's own libraries are stood in for by functions that return nothing (a C compiler makes them), torch-tensorrt's
are left out, and PyTorch says that it has an H100. What is told is therefore lowering, coverage and partition: no
kernel is chosen, no engine built. It rests on the innards of these versions and is no part of the tests.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from streamfuse.fuse.planar import Buffers
from streamfuse.fuse.tensorrt.torch_tensorrt import WholeNumbers
from streamfuse.models import build

LIBRARIES = {
    "nvinfer": (
        *(f"createInfer{part}_INTERNAL" for part in ("Builder", "Refitter", "Runtime")),
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": (
        "createNvOnnxParser_INTERNAL",
        "createNvOnnxParserRefitter_INTERNAL",
        "getNvOnnxParserVersion",
    ),
}
"""What the bindings call by name."""
GPU = SimpleNamespace(name="stand-in", major=9, minor=0, total_memory=80 << 30, multi_processor_count=132)
SIZE = (640, 512)
TELLING = ("Total Operators", "torch.ops.", "TRT Engine #", "Operators in Engine")


def stand_in_libraries(folder: Path) -> None:
    """Load libraries by whose names the bindings look for TensorRT."""
    for library, functions in LIBRARIES.items():
        name, source = f"lib{library}.so.11", folder / f"{library}.c"
        source.write_text("".join(f"void *{function}(void) {{ return 0; }}\n" for function in functions))
        subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source], check=True)
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    package = folder / "tensorrt"
    package.mkdir()
    (package / "__init__.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n")
    sys.path[0] = str(folder)  # instead of this script's, where a module has the bindings' name


def stand_in_gpu() -> None:
    told: dict[str, Callable[..., Any]] = {
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "get_device_capability": lambda *_: (GPU.major, GPU.minor),
        "get_device_properties": lambda *_: GPU,
        "mem_get_info": lambda *_: (GPU.total_memory, GPU.total_memory),
        "synchronize": lambda *_: None,
    }
    for name, answer in told.items():
        setattr(torch.cuda, name, answer)
    torch.version.cuda = "13.0"
    torch._C._CudaDeviceProperties = SimpleNamespace  # named in a signature


def load_torch_tensorrt() -> Any:
    real = os.path.isfile
    with patch("os.path.isfile", lambda path: "libtorchtrt" not in str(path) and real(path)):
        import torch_tensorrt
        from torch_tensorrt.dynamo import _compiler
    _compiler.to_torch_device = lambda _: torch.device("cpu")  # what stays in PyTorch would go to the GPU
    return torch_tensorrt


def coverage(library: Any, model: str) -> str:
    """What torch-tensorrt says of the graph as our builder gives it: operators, those without a converter, engines."""
    inputs = tuple(torch.from_numpy(array) for array in Buffers.of(SIZE, SIZE).fusion.values())
    with torch.no_grad(), redirect_stdout(StringIO()) as said:
        program = torch.export.export(WholeNumbers(build(model)).eval(), inputs)
        library.dynamo.compile(program, inputs, dryrun=True, min_block_size=1)
    return "\n".join(line for line in said.getvalue().splitlines() if any(word in line for word in TELLING))


def main() -> None:
    with TemporaryDirectory() as folder:
        stand_in_libraries(Path(folder))
        stand_in_gpu()
        library = load_torch_tensorrt()
        print(f"torch-tensorrt {library.__version__}, PyTorch {torch.__version__}")
        for model in sys.argv[1:] or ["streamfuse-s", "streamfuse-q"]:
            print(f"{model}:\n{coverage(library, model)}", flush=True)


if __name__ == "__main__":
    main()
