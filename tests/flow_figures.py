"""What dense flow does to pairs whose parallax is known: nothing injected, and near objects injected.

`python tests/flow_figures.py DATA --pairs 60` takes registered pairs of the second half (by name) of each set (the
first halves were used to choose the constants), evenly over the sets, 640 wide, and prints one table. Each pair is
seen by a made-up rig with a baseline to the left, set to infinity. Injected: a slope of 0 to at most 2 to 6 px (a
polynomial of degree 2 in the image: ground, walls) and on it a rectangle 4 to 8 px nearer. Peers: OpenCV's DIS flow on
the grey images, and on the gradients with forward-backward check, falling back to nothing.

Errors of a pair count where the thermal image shows what the visible one does (not where the near object hides it).
They hold the misalignment of the data set itself, 1 to 3 px of edges, which no method is to be blamed for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamfuse.correct import log_gradient
from streamfuse.flow import ParallaxFlow
from streamfuse.register import Registrar
from streamfuse.rig import Lens, Pose, Rig

SETS = ("msrs", "roadscene", "llvip", "vifb", "m3fd", "mfnet", "kaist")
WIDTH = 640
MOST_PX = 16
Array = Any
Method = Callable[[Array, Array], Array]
"""Thermal H W and RGB H W 3, both uint8, to thermal_from_visible displacements H W 2, pixels."""


@dataclass(frozen=True, slots=True)
class Injected:
    """A thermal image with parallax in it, the true thermal_from_visible displacement (H W 2), and where it is seen."""

    thermal: Array
    truth: Array
    seen: Array


def flat_rig(size: tuple[int, int], **changes: Any) -> Rig:
    """Two equal lenses; what is nearer than infinity lies farther right in the thermal image, by width x 5 cm / Z."""
    width, height = size
    lens = Lens(size=size, fx=width, fy=width, cx=(width - 1) / 2, cy=(height - 1) / 2)
    pose = Pose(rotation=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), translation=(-0.05, 0.0, 0.0))
    parts = {"thermal": lens, "rgb": lens, "rgb_from_thermal": pose, "working_depth_m": float("inf")}
    return Rig(name="flat", **{**parts, **changes})


def inject(thermal: Array, draw: np.random.Generator) -> Injected:
    """Parallax to the right: a slope over the image, and a rectangle in front of it."""
    height, width = thermal.shape
    near, box = int(draw.integers(4, 9)), (draw.uniform(0.15, 0.4, 2) * (width, 1.5 * height)).astype(int)
    left, top = (int(draw.integers(20, end - 20)) for end in (width - box[0], height - box[1]))
    rows, columns = slice(top, top + box[1]), slice(left, left + box[0])
    shown = thermal.copy()
    shown[rows, left + near : left + near + box[0]] = thermal[rows, columns]
    inside, hidden = np.zeros((2, height, width), bool)
    inside[rows, columns] = hidden[rows, left + near : left + near + box[0]] = True
    slope = _slope(draw, height, width) * np.float32(draw.uniform(2, 6))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shown = cv2.remap(shown, x - slope, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    there = x + np.float32(near) * inside.astype(np.float32)
    truth = np.zeros_like(x)
    for _ in range(20):  # where a pixel lands is where the slope is read
        truth = cv2.remap(slope, there + truth, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    truth = truth + there - x
    seen = (inside | ~hidden) & (x + truth <= width - 1)
    return Injected(shown, np.stack([truth, np.zeros_like(truth)], axis=-1), seen)


def _slope(draw: np.random.Generator, height: int, width: int) -> Array:
    """A polynomial of degree 2 over the image, from 0 to 1."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    surface = np.stack([x, y, x * x, x * y, y * y], axis=-1) @ draw.normal(0, 1, 5)
    return ((surface - surface.min()) / np.ptp(surface)).astype(np.float32)


def by_rig(thermal: Array, rgb: Array) -> Array:
    """streamfuse's: along the parallax only."""
    size = rgb.shape[1], rgb.shape[0]
    rig = flat_rig(size)
    warp = ParallaxFlow(rig, Registrar(rig).warp).flow(thermal, rgb).warp
    return warp.thermal_from_output - np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size)), axis=-1)


def dis_grey(thermal: Array, rgb: Array) -> Array:
    return _dis(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), thermal)


def dis_gradients(thermal: Array, rgb: Array) -> Array:
    """Checked forwards and backwards, at most 16 px, smoothed by 12 px with what is not trusted counting as nothing."""
    images = [np.clip(80 * log_gradient(image), 0, 255).astype(np.uint8) for image in (_grey(rgb), thermal)]
    forward, backward = _dis(images[0], images[1]), _dis(images[1], images[0])
    y, x = np.mgrid[: thermal.shape[0], : thermal.shape[1]].astype(np.float32)
    back = cv2.remap(backward, x + forward[..., 0], y + forward[..., 1], cv2.INTER_LINEAR)
    trusted = (_length(forward + back) < 1.5) & (_length(forward) < MOST_PX)
    trust = trusted.astype(np.float32)
    weight = cv2.GaussianBlur(trust, (0, 0), 12) + 0.15
    return cv2.GaussianBlur(forward * trust[..., None], (0, 0), 12) / weight[..., None]


def _dis(still: Array, moved: Array) -> Array:
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(still, moved, None)


def _grey(rgb: Array) -> Array:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def _length(flow: Array) -> Array:
    return np.hypot(flow[..., 0], flow[..., 1])


METHODS: dict[str, Method] = {"DIS, grey": dis_grey, "DIS, gradients, checked": dis_gradients, "--flow": by_rig}


def registered_pairs(data: Path, count: int, half: int = 1) -> list[tuple[str, Array, Array]]:
    """Name, thermal and RGB of `count` pairs, taken in turn from the sets."""
    queues = [_half(data / name, half) for name in SETS]
    turns = [queue[k] for k in range(max(map(len, queues))) for queue in queues if k < len(queue)]
    return [_opened(thermal, visible) for thermal, visible in turns[:count]]


def _half(folder: Path, half: int) -> list[tuple[Path, Path]]:
    visible = {path.stem: path for path in (folder / "vis").iterdir()}
    pairs = [(path, visible[path.stem]) for path in sorted((folder / "ir").iterdir()) if path.stem in visible]
    part = pairs[len(pairs) // 2 :] if half else pairs[: len(pairs) // 2]
    return part[:: max(1, len(part) // 15)]


def _opened(thermal: Path, visible: Path) -> tuple[str, Array, Array]:
    grey, rgb = cv2.imread(str(thermal), cv2.IMREAD_GRAYSCALE), cv2.imread(str(visible))[..., ::-1]
    size = WIDTH, round(WIDTH * grey.shape[0] / grey.shape[1])
    how = cv2.INTER_AREA if grey.shape[1] > WIDTH else cv2.INTER_LINEAR
    resized = (cv2.resize(np.ascontiguousarray(image), size, interpolation=how) for image in (grey, rgb))
    return f"{thermal.parent.parent.name} {thermal.stem}", *resized


def likeness(thermal: Array, rgb: Array, flow: Array) -> float:
    """Correlation of the gradients once the flow is undone."""
    y, x = np.mgrid[: thermal.shape[0], : thermal.shape[1]].astype(np.float32)
    undone = cv2.remap(thermal, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.corrcoef(log_gradient(undone).ravel(), log_gradient(_grey(rgb)).ravel())[0, 1])


def measured(method: Method, thermal: Array, rgb: Array, case: Injected) -> list[float]:
    """Applied to the registered pair: mean, 99th percentile, gained likeness. Then errors before and after, mean and
    90th percentile, gained likeness, and the CPU time of both flows."""
    started = time.process_time()
    idle, flow = method(thermal, rgb), method(case.thermal, rgb)
    cpu_s = (time.process_time() - started) / 2
    nothing = np.zeros_like(idle)
    applied, before, after = _length(idle), _length(case.truth)[case.seen], _length(flow - case.truth)[case.seen]
    gained = [
        likeness(image, rgb, moved) - likeness(image, rgb, nothing)
        for image, moved in ((thermal, idle), (case.thermal, flow))
    ]
    of_pair = [applied.mean(), np.percentile(applied, 99), gained[0]]
    of_case = [before.mean(), after.mean(), np.percentile(before, 90), np.percentile(after, 90), gained[1], cpu_s]
    return [float(value) for value in (*of_pair, *of_case)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--half", type=int, default=1, choices=(0, 1), help="0: the pairs that chose the constants")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = registered_pairs(asked.data, asked.pairs, asked.half)
    rows: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    for k, (_, thermal, rgb) in enumerate(pairs):
        case = inject(thermal, np.random.default_rng(k))
        for name, method in METHODS.items():
            rows[name].append(measured(method, thermal, rgb, case))
    print(f"{len(pairs)} pairs; px; medians over the pairs unless said otherwise")
    for name, values in rows.items():
        print(f"{name}: {_told(np.array(values))}")


def _told(table: Array) -> str:
    middle, applied = np.median(table, axis=0), table[:, 0]
    better, worse = (table[:, 4] < table[:, 3] - 0.1).sum(), (table[:, 4] > table[:, 3] + 0.1).sum()
    idle = (
        f"applied mean {middle[0]:.2f}, p99 {middle[1]:.2f}; mean of the pair at 90 % of all "
        f"{np.percentile(applied, 90):.2f}, of the worst {applied.max():.2f}; pairs above 0.1: "
        f"{(applied > 0.1).sum()}, their gradient NCC {table[applied > 0.1, 2].mean():+.3f}"
    )
    injected = (
        f"error mean {middle[3]:.2f} -> {middle[4]:.2f}, p90 {middle[5]:.2f} -> {middle[6]:.2f}, "
        f"gradient NCC {middle[7]:+.3f}, pairs better {better}, worse {worse}"
    )
    return f"nothing injected: {idle}. Injected: {injected}. CPU {middle[8]:.2f} s a pair"


if __name__ == "__main__":
    main()
