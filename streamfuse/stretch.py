"""Registration without a rig: pairs that count as registered already, of whatever sizes come.

The plain twin of `register.Registrar` for data sets, whose images may all differ in size.
"""

from __future__ import annotations

from streamfuse.frames import AlignedPair, FramePair, LoneFrame, Size, WarpMap
from streamfuse.register import Registrar
from streamfuse.rig import Rig


class StretchRegistrar:
    """Stretches each thermal image over its whole RGB image. A lone frame takes the sizes of the pair before it."""

    def __init__(self, thermal_size: Size, rgb_size: Size, *, size: Size | None = None, fit: str = "crop") -> None:
        self._sizes = (thermal_size, rgb_size)
        self._size = size
        self._fit = fit
        self._known: tuple[tuple[Size, Size], Registrar] | None = None

    @property
    def warp(self) -> WarpMap:
        """The map of the sizes that came last, at first of those that were announced."""
        return self._registrar().warp

    def register(self, frames: FramePair | LoneFrame) -> AlignedPair:
        """The frames with a map for their own sizes; the map is kept while the sizes stay."""
        thermal, rgb = frames.thermal, frames.rgb
        self._sizes = (thermal.size if thermal else self._sizes[0], rgb.size if rgb else self._sizes[1])
        return self._registrar().register(frames)

    def _registrar(self) -> Registrar:
        if self._known is None or self._known[0] != self._sizes:
            rig = Rig.identity(*self._sizes)
            self._known = self._sizes, Registrar(rig, size=self._size, fit=self._fit)
        return self._known[1]
