"""Registration without a rig: pairs that count as registered already, of whatever sizes come.

The plain twin of `register.Registrar` for data sets, whose images may all differ in size.
"""

from __future__ import annotations

from streamfuse.frames import AlignedPair, FramePair, LoneFrame, Size, WarpMap, wxh
from streamfuse.register import Registrar
from streamfuse.rig import Rig
from streamfuse.terminal import counted

UNLIKE = 1.05
"""Ratio of two shapes (width / height) from which on two images do not show the same: more than a resampling rounds."""


class StretchRegistrar:
    """Stretches each thermal image over its whole RGB image. A lone frame takes the sizes of the pair before it."""

    def __init__(self, thermal_size: Size, rgb_size: Size, *, size: Size | None = None, fit: str = "crop") -> None:
        self._sizes = (thermal_size, rgb_size)
        self._size = size
        self._fit = fit
        self._known: tuple[tuple[Size, Size], Registrar] | None = None
        self._unlike, self._first_unlike = 0, ""

    @property
    def warp(self) -> WarpMap:
        """The map of the sizes that came last, at first of those that were announced."""
        return self._registrar().warp

    def register(self, frames: FramePair | LoneFrame) -> AlignedPair:
        """The frames with a map for their own sizes; the map is kept while the sizes stay."""
        thermal, rgb = frames.thermal, frames.rgb
        self._sizes = (thermal.size if thermal else self._sizes[0], rgb.size if rgb else self._sizes[1])
        if isinstance(frames, FramePair):
            self._compare(frames)
        return self._registrar().register(frames)

    def warnings(self) -> tuple[str, ...]:
        """What the report says of pairs whose images have unlike shapes: registered they cannot be."""
        if not self._unlike:
            return ()
        return (
            f"{counted(self._unlike, 'pair')} of two shapes, the first {self._first_unlike}: thermal was stretched to "
            "the visible image's; cut both to one field of view, or name a rig",
        )

    def _compare(self, pair: FramePair) -> None:
        (wide, high), (rgb_wide, rgb_high) = pair.thermal.size, pair.rgb.size
        ratio = wide * rgb_high / (high * rgb_wide)
        if max(ratio, 1 / ratio) > UNLIKE:
            self._unlike += 1
            name = pair.rgb.name or str(pair.rgb.sequence)
            self._first_unlike = self._first_unlike or f"{name} ({wxh(pair.thermal.size)}, {wxh(pair.rgb.size)})"

    def _registrar(self) -> Registrar:
        if self._known is None or self._known[0] != self._sizes:
            rig = Rig.identity(*self._sizes)
            self._known = self._sizes, Registrar(rig, size=self._size, fit=self._fit)
        return self._known[1]
