"""Writes down which names TensorRT's Python bindings have, so that the fake of tests/fuse can be held against them.

    python tests/fuse/tensorrt_bindings.py FOLDER/tensorrt.so 10.15.1 > tests/fuse/tensorrt_names/10.15.1.txt

`tensorrt.so` comes out of a bindings wheel (tensorrt_cu13_bindings, tensorrt_cu12_bindings, tensorrt_bindings; up to
8.5 the tensorrt wheel itself) for the Python that runs this. The vendor's libraries behind it are not needed: empty
functions of the same names stand in (gcc, nm and readelf make them), which suffices to load the module and to read
what it says of itself. Nothing can be built or run that way. Only names are kept.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

CLASSES = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "IInt8EntropyCalibrator2",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "LayerType",
    "Logger",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "Runtime",
    "TensorIOMode",
    "TensorLocation",
]
VENDOR = re.compile(r"(create|getNv|getPlugin|getBuilder|getInfer|initLib|_ZN11nvuff|_ZN14nvcaffe)")


def load_bindings(library: Path) -> ModuleType:
    """The bindings' module over stand-ins for the vendor's libraries."""
    needs = re.findall(r"\(NEEDED\).*\[(libnv[^\]]*|libcu[^\]]*)\]", said("readelf", "-d", library))
    symbols = re.findall(r"U (\w+)", said("nm", "-D", "--undefined-only", library))
    functions = [name for name in symbols if VENDOR.match(name)]
    folder = Path(tempfile.mkdtemp())
    source = folder / "stand_in.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions))
    for name in needs:
        subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source], check=True)
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    sys.setdlopenflags(os.RTLD_LAZY)
    loader = importlib.machinery.ExtensionFileLoader("tensorrt", str(library))
    spec = importlib.util.spec_from_loader("tensorrt", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def names_of(owner: type) -> list[str]:
    """`Owner.attribute`, and `Owner.method(parameter, parameter)` for each way of calling it."""
    told: list[str] = []
    for name in dir(owner):
        if name.startswith("_") and name != "__init__":
            continue
        document = str(getattr(owner, name).__doc__ or "")
        calls = re.findall(rf"\b{name}\(self: [\w.:]+(.*)\) -> ", document)
        taken = [", ".join(re.findall(r", (\w+):", call)) for call in calls]
        told += [f"{owner.__name__}.{name}({parameters})" for parameters in taken]
        told += [] if calls else [f"{owner.__name__}.{name}"]
    return told


def said(*command: object) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    found = load_bindings(Path(sys.argv[1]))
    print(f"# Names in the Python bindings of TensorRT {sys.argv[2]}, written by tests/fuse/tensorrt_bindings.py")
    for each in CLASSES:
        if hasattr(found, each):
            print("\n".join(names_of(getattr(found, each))))
