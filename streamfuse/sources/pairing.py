"""Which images of two folders belong together, told from their names. Knows nothing of pixels or clocks.

Names are compared as they are, then without what only says the modality (0001v / 0001i, ir_7 / vis_7). Where names
share nothing, rank decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamfuse.sources.recording_folder import natural_key
from streamfuse.terminal import counted

WORDS = "thermal|infrared|visible|lwir|rgb|vis|tir|ir|vi|th|t|v|i"
AFFIX = re.compile(
    rf"^(?:{WORDS})[_\-. ]+|[_\-. ]+(?:{WORDS})$|(?<=\d)(?:ir|vis|vi|v|i|t)$|^(?:ir|vis|vi|v|i|t)(?=\d)", re.I
)
NAMED = 3


@dataclass(frozen=True, slots=True)
class Ranks:
    """Time index of every thermal and every visible image; equal index = one instant."""

    thermal: tuple[int, ...]
    rgb: tuple[int, ...]
    warnings: tuple[str, ...]


def pair_by_names(thermal: Sequence[str], rgb: Sequence[str]) -> Ranks:
    """Time indices for two naturally sorted lists of stems; what has no partner is told in `warnings`."""
    for key in (str, _without_modality):
        ranks = _ranks_by(key, thermal, rgb)
        if ranks:
            return ranks
    return _ranks_by_position(thermal, rgb)


def _without_modality(stem: str) -> str:
    return AFFIX.sub("", stem, count=1) or stem


def _ranks_by(key: Callable[[str], str], thermal: Sequence[str], rgb: Sequence[str]) -> Ranks | None:
    thermal_keys, rgb_keys = [key(stem) for stem in thermal], [key(stem) for stem in rgb]
    known_thermal, known_rgb = set(thermal_keys), set(rgb_keys)
    ambiguous = len(known_thermal) < len(thermal) or len(known_rgb) < len(rgb)
    if ambiguous or not known_thermal & known_rgb:
        return None
    rank = {name: index for index, name in enumerate(sorted(known_thermal | known_rgb, key=natural_key))}
    lone_thermal = [stem for stem, name in zip(thermal, thermal_keys, strict=True) if name not in known_rgb]
    lone_rgb = [stem for stem, name in zip(rgb, rgb_keys, strict=True) if name not in known_thermal]
    return Ranks(
        tuple(rank[name] for name in thermal_keys),
        tuple(rank[name] for name in rgb_keys),
        (*_lone("thermal", lone_thermal, "visible"), *_lone("visible", lone_rgb, "thermal")),
    )


def _ranks_by_position(thermal: Sequence[str], rgb: Sequence[str]) -> Ranks:
    shared = min(len(thermal), len(rgb))
    by_rank = (f"no common names (thermal {thermal[0]}, visible {rgb[0]}): images are paired by their order",)
    return Ranks(
        tuple(range(len(thermal))),
        tuple(range(len(rgb))),
        (
            *(by_rank if max(len(thermal), len(rgb)) > 1 else ()),
            *_lone("thermal", thermal[shared:], "visible"),
            *_lone("visible", rgb[shared:], "thermal"),
        ),
    )


def _lone(kind: str, stems: Sequence[str], other: str) -> tuple[str, ...]:
    if not stems:
        return ()
    more = f" and {len(stems) - NAMED} more" if len(stems) > NAMED else ""
    have = "has" if len(stems) == 1 else "have"
    return (f"{counted(len(stems), f'{kind} image')} {have} no {other} partner: {', '.join(stems[:NAMED])}{more}",)
