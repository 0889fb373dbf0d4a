"""TensorRT's Python bindings, loaded late: what this version offers, and its log in ours.

Names were checked against the bindings of 8.5.3, 8.6.1, 10.3, 10.15 and 11.0 (tests/fuse/tensorrt_names). From 10 on a
graph may say its own types, which 11 demands; 11 has no calibrator for int8 any more.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from streamfuse.errors import EngineError

log = logging.getLogger(__name__)

OLDEST = (8, 5)
INSTALL = "pip install 'streamfuse[tensorrt]'; on a Jetson it comes with JetPack, see docs/jetson.md"


def load_tensorrt() -> Any:
    """The bindings: `tensorrt`, or those that torch-tensorrt brings under that name.

    Raises EngineError with the remedy where there are none, they do not load, or they are older than 8.5.
    """
    reasons: list[str] = []
    for name in ("tensorrt", "torch_tensorrt"):
        try:
            __import__(name)
        except Exception as error:  # torch-tensorrt raises a plain Exception where a library is missing
            reasons.append(f"{name}: {' '.join(str(error).split())[:150]}")
        library = sys.modules.get("tensorrt")
        if library is not None and hasattr(library, "Runtime"):
            return _recent(library)
    raise EngineError(f"TensorRT does not load here ({'; '.join(reasons)}); for this engine: {INSTALL}")


def _recent(library: Any) -> Any:
    if tuple(int(part) for part in library.__version__.split(".")[:2]) < OLDEST:
        raise EngineError(f"TensorRT {library.__version__} is too old; 8.5 or newer is needed (JetPack 5.1 brings it)")
    return library


def strongly_typed(library: Any) -> bool:
    """Whether the types that stand in a graph are what it computes in."""
    return hasattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def listener(library: Any) -> Any:
    """A logger for TensorRT: its messages in our log, its errors kept in `errors` for our own messages."""

    class Listener(library.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (library.ILogger.INTERNAL_ERROR, library.ILogger.ERROR):
                self.errors.append(msg)
            log.log(logging.INFO if severity == library.ILogger.WARNING else logging.DEBUG, "TensorRT: %s", msg)

    return Listener()


def last_error(messages: Any) -> str:
    """The latest error that a listener heard, in one line."""
    return " ".join(messages.errors[-1].split())[:300] if messages.errors else "no reason was given"
