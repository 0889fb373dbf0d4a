"""The contract between a recording's files and its replay: pictures in order, whatever they are stored as."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamfuse.frames import Pixels, Size


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture that exists but cannot be decoded, and why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a recorded stream is like, seen from its first readable picture.

    `bits` per stored component; `colourfulness` = mean spread of red, green and blue, in levels of 255 (0 = grey).
    """

    description: str
    size: Size
    bits: int
    colourfulness: float


class Pictures(Protocol):
    """One recorded stream: as many pictures as names, in the order they were taken.

    `times_ns` are the file's own times, None where it has none. `read` starts from the beginning, holds a file open
    only while it is iterated, and yields thermal as H W uint8 or uint16, RGB as H W 3 uint8.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def times_ns(self) -> tuple[int, ...] | None: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def read(self) -> Generator[Pixels | Unreadable]: ...

    def look(self) -> Look:
        """Raises UserError where no picture can be read."""
        ...


def colourfulness(image: Pixels) -> float:
    """Mean of (largest - smallest channel) per pixel, in levels of 255; 0.0 for one channel."""
    if image.ndim == 2:
        return 0.0
    spread = float(np.ptp(image, axis=2).mean())
    return spread / 257 if image.dtype == np.uint16 else spread
