"""A rough place made exact: patches of the thermal image are correlated around where it puts them.

The transform is not fitted to the patches' peaks: it climbs the sum of all patches' correlation surfaces. A patch with
one straight edge then holds the transform across that edge only, one with nothing to say is flat and holds nothing, and
one that sees something else (parallax, a moving object) pulls no more than its surface is steep where the others agree.
The patches' own peaks, which had no part in that, then say whether the answer is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.calibrate.align_fields import Complex, Floats, Image, field, shrunk
from streamfuse.calibrate.align_search import Pair, corners, stretch

PATCH = 32
STRIDE = 16
LEAST_SEEN = 0.7  # of a patch
STEPS = 12
DAMPING = 0.02
USUAL = np.array([0.01, 0.01, 0.02, 0.02])
"""Usual oddness (unequal scale, skew, perspective over half a side); gives way as Cauchy's law does where the patches
insist."""
NOISE = 0.0045  # of the patches' common answer, in half sides: how little they are believed against the usual
ODD = np.array(
    [[0, 0, 0.5, 0, 0, -0.5, 0, 0], [0, 0, 0, 0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1.0]]
)
STIFFNESS = np.array([0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0])
"""How little each parameter gives way: shift easily, perspective last."""


@dataclass(frozen=True, slots=True)
class Level:
    """How fine, how far and how freely: long side of the overlap, reach of the patches in pixels, free parameters."""

    side: int
    reach: int
    freedom: int  # 4 similarity, 6 affine, 8 homography


LEVELS = (Level(160, 12, 4), Level(256, 10, 6), Level(448, 8, 8))


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Correlation surfaces (N 2r+1 2r+1) of patches at `at` (N 2), -1 to 1 around where each image lies in the frame.

    at: -1 to 1 on the long side of the frame, origin in its middle; a shift of one surface pixel is `unit` of that.
    """

    surfaces: NDArray[np.float32]
    at: Floats
    unit: float

    @property
    def reach(self) -> int:
        return self.surfaces.shape[1] // 2


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The part of the visible image that both see, at one scale: `size`, and frame_from_rgb (3x3)."""

    size: tuple[int, int]
    from_rgb: Floats


def frame(matrix: Floats, pair: Pair, side: int) -> Frame:
    """The overlap at `side` pixels, or fewer where an image has fewer."""
    width, height = pair[1].size
    ends = corners(matrix, pair[0].size)
    low = np.maximum(ends.min(axis=0), 0)
    high = np.minimum(ends.max(axis=0), (width - 1, height - 1))
    long = max(float((high - low).max()), 16.0)
    thermal_px = long / float(np.linalg.norm(ends[1] - ends[0])) * (pair[0].size[0] - 1)
    factor = min(side, 1.25 * thermal_px, 1.0 * long) / long
    size = cast("tuple[int, int]", tuple(int(v) + 1 for v in np.maximum(high - low, 8) * factor))
    return Frame(size, np.array([[factor, 0, -low[0] * factor], [0, factor, -low[1] * factor], [0, 0, 1.0]]))


def cut(matrix: Floats, pairs: Sequence[Pair], level: Level) -> tuple[Patches, Frame]:
    """The surfaces of all patches, with what all pairs say added up."""
    shown = frame(matrix, pairs[0], level.side)
    grid = _grid(shown.size)
    across = 2 * level.reach + 1
    height = np.zeros((len(grid), across, across))
    power = np.zeros((len(grid), across, across))
    seen = np.zeros(len(grid))
    for pair in pairs:
        (thermal, there), (visible, here) = _shown(matrix, pair, shown)
        both, strength = there * here, _strength(visible, level.reach)
        for index, (x, y) in enumerate(grid):
            covered = float(both[y : y + PATCH, x : x + PATCH].mean())
            if covered >= LEAST_SEEN:
                up, by = _correlated(thermal, visible, strength, (x, y), level.reach)
                height[index] += up
                power[index] += by
                seen[index] += covered
    used = seen > 0
    surfaces = height[used] / np.sqrt(power[used] + 1e-9)
    middle = np.array(shown.size) / 2 - 0.5
    half = max(shown.size) / 2
    at = (np.array(grid, dtype=np.float64).reshape(-1, 2)[used] + PATCH / 2 - 0.5 - middle) / half
    return Patches(surfaces.astype(np.float32), at, 1 / half), shown


def refine(matrix: Floats, pairs: Sequence[Pair], levels: Sequence[Level] = LEVELS) -> Floats:
    for level in levels:
        for _ in range(2):
            patches, shown = cut(matrix, pairs, level)
            if len(patches.at) < 4:
                return matrix
            matrix = moved(matrix, climb(patches, level.freedom, start=oddness(matrix, shown, pairs[0])), shown)
    return matrix


def moved(matrix: Floats, parameters: Floats, shown: Frame) -> Floats:
    """`matrix` followed by the change that the patches ask for."""
    to_unit = _to_unit(shown)
    a0, b0, a1, b1, a2, b2, g, h = parameters
    change = np.array([[1 + a1, a2, a0], [b1, 1 + b2, b0], [-g, -h, 1]])
    result = np.linalg.inv(shown.from_rgb) @ np.linalg.inv(to_unit) @ change @ to_unit @ shown.from_rgb @ matrix
    return result / result[2, 2]


def oddness(matrix: Floats, shown: Frame, pair: Pair) -> Floats:
    """How far a transform is from turning, scaling and shifting: unequal scale, skew, perspective x and y.

    Two cameras side by side with square pixels have little of these, so that large values need good reasons.
    """
    ends = corners(matrix, pair[0].size) @ np.array([1, 1j])
    square = corners(np.eye(3), pair[0].size) @ np.array([1, 1j])
    middles = square.mean(), ends.mean()
    around = square - middles[0]
    turn = complex(cast(Any, np.vdot(around, ends - middles[1]) / np.vdot(around, around)))
    shift = complex(middles[1] - turn * middles[0])
    plain = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag], [0, 0, 1]])
    rest = _to_unit(shown) @ shown.from_rgb @ matrix
    rest = rest @ np.linalg.inv(_to_unit(shown) @ shown.from_rgb @ plain)
    rest = rest / rest[2, 2]
    rest = rest - np.outer(rest[:, 2], rest[2]) * np.array([[1.0], [1.0], [0.0]])
    return np.array([(rest[0, 0] - rest[1, 1]) / 2, (rest[0, 1] + rest[1, 0]) / 2, -rest[2, 0], -rest[2, 1]])


def climb(patches: Patches, freedom: int, weights: Floats | None = None, start: Floats | None = None) -> Floats:
    """The 8 parameters (shift, linear part, perspective) at which the evidence of all patches is highest.

    Evidence for a shift: the square of its correlation, as for a normal variable's likelihood ratio; negative counts 0.
    `start`: the oddness of the transform that the patches were cut for; what it becomes is held down.
    """
    basis = _basis(patches.at, freedom)
    weights = np.ones(len(patches.at)) if weights is None else weights
    evidence: NDArray[np.float32] = np.maximum(patches.surfaces, 0) ** 2
    blurred = [cast(Image, cv2.GaussianBlur(each, (0, 0), 1.2)) for each in evidence]
    soft: NDArray[np.float32] = np.stack(blurred)
    free = _scattered(soft, basis, patches.unit, weights)
    start = np.zeros(4) if start is None else start
    for surfaces in (soft, evidence):
        for _ in range(STEPS):
            free = free + _step(surfaces, basis, free, patches.unit, weights, start)
    return _eight(free, freedom)


def _to_unit(shown: Frame) -> Floats:
    half = max(shown.size) / 2
    middle = np.array(shown.size) / 2 - 0.5
    return np.array([[1 / half, 0, -middle[0] / half], [0, 1 / half, -middle[1] / half], [0, 0, 1]])


def _scattered(surfaces: NDArray[np.float32], basis: Floats, unit: float, weights: Floats) -> Floats:
    """The best of many parameter sets drawn ever nearer around the best so far; the same draws every time."""
    draws = np.random.default_rng(0)
    reach = surfaces.shape[1] // 2
    count = basis.shape[2]
    spread = np.array([1.0, 1.0, 0.7, 0.7, 0.7, 0.7, 0.35, 0.35])[:count] * 0.5 * reach * unit
    best, best_sum = np.zeros(count), -1.0
    each = np.arange(len(surfaces))[:, None]
    for narrow in (1.0, 0.5, 0.25):
        tried = best + draws.normal(size=(1200, count)) * spread * narrow
        tried[0] = best
        shift = (basis.reshape(-1, count) @ tried.T / unit).reshape(len(basis), 2, -1).transpose(0, 2, 1)
        whole = np.rint(shift).astype(np.int64)
        inside = np.abs(whole).max(axis=2) <= reach
        whole = np.clip(whole, -reach, reach) + reach
        unlikely = 0.5 * ((tried / (2 * spread)) ** 2).sum(axis=1)
        total = (surfaces[each, whole[..., 1], whole[..., 0]] * inside * weights[:, None]).sum(axis=0)
        total = total * (1 - 0.02 * unlikely)
        if total.max() > best_sum:
            best, best_sum = tried[int(total.argmax())], float(total.max())
    return best


def _step(
    surfaces: NDArray[np.float32], basis: Floats, free: Floats, unit: float, weights: Floats, start: Floats
) -> Floats:
    """One damped Newton step on the sum; patches that have left their surface pause."""
    reach = surfaces.shape[1] // 2
    shift = basis @ free / unit
    slope, bend = _shape(surfaces, shift)
    inside = (np.abs(shift).max(axis=1) < reach - 1) * weights
    flat = basis.reshape(-1, len(free))
    onto = np.transpose(flat) / unit
    pull = onto @ (slope * inside[:, None]).ravel()
    stiff = onto @ (bend * inside[:, None, None] @ basis).reshape(-1, len(free)) / unit
    odd = ODD[:, : len(free)] if len(free) > 4 else ODD[:, :4] * 0
    total = start + odd @ free
    usual = np.trace(stiff[:2, :2]) / 2 * NOISE**2 / (USUAL**2 + total**2)
    held = np.transpose(odd) * usual
    pull, stiff = pull - held @ total, stiff + held @ odd
    damp = DAMPING * np.trace(stiff) / len(free) * STIFFNESS[: len(free)]
    step = cast(Floats, np.linalg.solve(stiff + np.diag(damp + 1e-6), pull))
    longest = float(np.abs(basis @ step).max()) / unit
    return step * min(1.0, 1.5 / max(longest, 1e-9))


def _shape(surfaces: NDArray[np.float32], shift: Floats) -> tuple[Floats, Floats]:
    """Slope (N 2) and downward bend (N 2 2, never negative) of every surface at its shift, from the 3x3 around it."""
    reach = surfaces.shape[1] // 2
    whole = np.clip(np.rint(shift), 1 - reach, reach - 1).astype(np.int64)
    rest = np.clip(shift - whole, -0.75, 0.75)
    rows, columns = whole[:, 1] + reach, whole[:, 0] + reach
    each = np.arange(len(surfaces))

    def value(x: int, y: int) -> Floats:
        return surfaces[each, rows + y, columns + x].astype(np.float64)

    sxx = value(1, 0) - 2 * value(0, 0) + value(-1, 0)
    syy = value(0, 1) - 2 * value(0, 0) + value(0, -1)
    sxy = (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / 4
    sx, sy = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    slope = np.stack([sx + sxx * rest[:, 0] + sxy * rest[:, 1], sy + sxy * rest[:, 0] + syy * rest[:, 1]], axis=-1)
    values, vectors = np.linalg.eigh(-np.stack([np.stack([sxx, sxy], -1), np.stack([sxy, syy], -1)], axis=-2))
    return slope, np.einsum("nij,nj,nkj->nik", vectors, np.maximum(values, 0.0), vectors)


def _basis(at: Floats, freedom: int) -> Floats:
    """How each free parameter moves each patch: (N 2 K)."""
    x, y = at[:, 0], at[:, 1]
    one, none = np.ones_like(x), np.zeros_like(x)
    if freedom == 4:
        return np.stack([np.stack([one, none, x, -y], -1), np.stack([none, one, y, x], -1)], axis=1)
    columns_x = [one, none, x, none, y, none, x * x, x * y]
    columns_y = [none, one, none, x, none, y, x * y, y * y]
    return np.stack([np.stack(columns_x[:freedom], -1), np.stack(columns_y[:freedom], -1)], axis=1)


def _eight(free: Floats, freedom: int) -> Floats:
    if freedom == 4:
        return np.array([free[0], free[1], free[2], free[3], -free[3], free[2], 0, 0])
    return np.concatenate([free, np.zeros(8 - freedom)])


def _grid(size: tuple[int, int]) -> list[tuple[int, int]]:
    ends = [np.linspace(0, max(0, side - PATCH), max(1, (side - PATCH) // STRIDE + 1)).astype(int) for side in size]
    return [(int(x), int(y)) for y in ends[1] for x in ends[0] if min(size) >= PATCH]


def _shown(matrix: Floats, pair: Pair, shown: Frame) -> tuple[tuple[Complex, Image], tuple[Complex, Image]]:
    """Fields of both images in the frame."""
    fields: list[tuple[Complex, Image]] = []
    for one, to_frame in ((pair[0], shown.from_rgb @ matrix), (pair[1], shown.from_rgb)):
        ends = corners(to_frame, one.size)
        factor = float(np.linalg.norm(ends[1] - ends[0])) / (one.size[0] - 1)
        grey, seen = one.grey, one.seen
        if factor < 0.75:
            grey, seen = shrunk(grey, factor), shrunk(seen, factor)
        onto = to_frame @ np.linalg.inv(stretch(one.size, (grey.shape[1], grey.shape[0])))
        warped = cv2.warpPerspective(grey, onto, shown.size, borderMode=cv2.BORDER_REPLICATE)
        fields.append(field(cast(Image, warped), cast(Image, cv2.warpPerspective(seen, onto, shown.size))))
    return fields[0], fields[1]


def _strength(visible: Complex, reach: int) -> Image:
    """Summed power of the visible field under a patch, by the patch's upper left corner, `reach` around the frame."""
    power = np.zeros((visible.shape[0] + 2 * reach, visible.shape[1] + 2 * reach), dtype=np.float32)
    power[reach:-reach, reach:-reach] = np.abs(visible) ** 2
    zero = cv2.BORDER_CONSTANT
    return cast(Image, cv2.boxFilter(power, cv2.CV_32F, (PATCH, PATCH), None, (0, 0), False, zero))


def _correlated(
    thermal: Complex, visible: Complex, strength: Image, at: tuple[int, int], reach: int
) -> tuple[Image, Image]:
    """Correlation of one thermal patch with the visible field around it, and the product of both powers."""
    x, y = at
    patch = _planes(thermal[y : y + PATCH, x : x + PATCH])
    window = _planes(visible[max(0, y - reach) : y + PATCH + reach, max(0, x - reach) : x + PATCH + reach])
    top, left = max(0, reach - y), max(0, reach - x)
    bottom = PATCH + 2 * reach - top - window.shape[0]
    right = PATCH + 2 * reach - left - window.shape[1]
    window = cv2.copyMakeBorder(window, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    height = cast(Image, cv2.matchTemplate(window, patch, cv2.TM_CCORR))
    around = strength[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
    # half of the strongest: a weak edge beside a strong one must not win by its small power alone
    strongest = np.maximum(around, np.float32(0.5 * float(around.max())))
    return height, strongest * np.float32((patch**2).sum())


def _planes(values: Complex) -> Image:
    return np.ascontiguousarray(values).view(np.float32).reshape(*values.shape, 2)
