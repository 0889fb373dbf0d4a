"""Which engines can exist on this machine, and why the others cannot: asked before one is opened, told by doctor.

An engine that lacks something is no failure: nobody is warned of a GPU that is not there.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec

CPU_BUILD = "this PyTorch is a CPU build"
NO_DEVICE = "PyTorch finds no NVIDIA driver or no device"
NO_TENSORRT = "neither tensorrt nor torch-tensorrt is installed"
NO_TRITON = "Triton is not installed"
NO_COMPILER = "there is no C++ compiler"
REMEDIES = {
    CPU_BUILD: "on a machine with an NVIDIA GPU install PyTorch's CUDA build (pytorch.org)",
    NO_DEVICE: "install the NVIDIA driver; in a container pass the GPU through (--gpus all)",
    NO_TENSORRT: "pip install 'streamfuse[tensorrt]'; on a Jetson see docs/jetson.md",
    NO_TRITON: "pip install triton",
    NO_COMPILER: "apt-get install g++",
}


def lacks(engine: str) -> str:
    """Why this engine cannot exist here; empty where nothing speaks against it. Loads no vendor library."""
    match engine:
        case "tensorrt":
            return cuda_lacks() or ("" if find_spec("tensorrt") or find_spec("torch_tensorrt") else NO_TENSORRT)
        case "inductor":
            return inductor_lacks("cuda")
        case _:
            return ""


def inductor_lacks(device: str) -> str:
    """Why torch.compile cannot be used for this device ("cuda" or "cpu")."""
    if device == "cuda":
        return cuda_lacks() or ("" if find_spec("triton") else NO_TRITON)
    return "" if shutil.which("g++") or shutil.which("clang++") else NO_COMPILER


def cuda_lacks() -> str:
    """Why PyTorch has no GPU; empty where it has one."""
    import torch

    if torch.cuda.is_available():
        return ""
    return CPU_BUILD if torch.version.cuda is None else NO_DEVICE


def remedy(lack: str) -> str:
    """What to do about it."""
    return REMEDIES.get(lack, "")
