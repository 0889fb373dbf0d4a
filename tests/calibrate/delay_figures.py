"""How well an injected delay is found again: python tests/calibrate/delay_figures.py --seeds 30

For each seed another street, a delay of up to 80 ms either way, another phase, lost frames, jittering stamps; with
equal clocks and with a thermal clock that runs 400 ppm fast; a hand-held rig, and a lamp that blinks (watched within a
region around it). Each camera is watched once, shorter records are the beginning of longer ones. Last, the thermal
camera of one seed against the RGB camera of the next, which must be refused. Pictures are small (thermal 80x64, RGB
160x96): about 5 s of CPU a seed; every fifth seed tells what was found so far.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from delay_scenes import blinking, hand_held, scene, shot

from streamfuse.calibrate.delay import Signal
from streamfuse.calibrate.delay_record import Watched, measure
from streamfuse.calibrate.delay_watch import Watch
from streamfuse.frames import Modality
from streamfuse.sources.synthetic import SyntheticPair

DRIFT_PPM = 400.0
SMALL: dict[str, Any] = {"thermal_size": (80, 64), "rgb_size": (160, 96)}
KINDS = {"hand-held": (hand_held, (20.0,), (40.0,)), "lamp": (blinking, (20.0, 40.0), (40.0,))}
"""What to show, the lengths of the records with equal clocks, and those with a fast one."""
LAMP = {Modality.THERMAL: (32, 14, 24, 24), Modality.RGB: (64, 22, 48, 36)}  # as --thermal-region, --rgb-region
UNRELATED_S = 20.0


@dataclass(frozen=True)
class Part:
    """The first `seconds` of what a camera showed."""

    whole: Watch
    seconds: float

    def signals(self, origin_ns: int) -> dict[str, Signal]:
        return {
            kind: Signal(one.times_s[one.times_s < self.seconds], one.values[one.times_s < self.seconds])
            for kind, one in self.whole.signals(origin_ns).items()
        }


@dataclass
class Tally:
    """One case over all seeds."""

    off_ms: list[float] = field(default_factory=list)
    inside: int = 0
    refused: int = 0
    drifts: list[float] = field(default_factory=list)

    def told(self) -> str:
        low, high = min(self.drifts), max(self.drifts)
        return (
            f"off by median {np.median(self.off_ms):.2f}, worst {max(self.off_ms):.2f} ms; "
            f"<= 2 ms in {sum(one <= 2 for one in self.off_ms)} of {len(self.off_ms)}; "
            f"inside the told error {self.inside}; refused {self.refused}; drift told {low:.0f} to {high:.0f} ppm"
        )


def delay_of(seed: int) -> float:
    return float(np.random.default_rng([seed, 1]).uniform(-80, 80))


def both(thermal: Watch, rgb: Watch, seconds: float) -> Watched:
    parts: Any = Part(thermal, seconds), Part(rgb, seconds)
    return Watched(*parts, 0, ())


def watched(pair: SyntheticPair, seed: int, what: str) -> dict[tuple[Modality, float], Watch]:
    """Both cameras with equal clocks, and the thermal one with a fast clock (RGB is the same)."""
    make, equal, fast = KINDS[what]
    seen = {}
    for source, drift_ppm, seconds in (
        (pair.rgb, 0.0, max(*equal, *fast)),
        (pair.thermal, 0.0, max(equal)),
        (pair.thermal, DRIFT_PPM, max(fast)),
    ):
        timing = replace(pair.truth.timings[source.modality], drift_ppm=drift_ppm)
        watch = Watch(LAMP[source.modality] if what == "lamp" else None)
        for pixels, stamp_ns in shot(source, timing, round(seconds * timing.rate_hz), make(seed), seed).frames():
            watch.add(pixels, stamp_ns)
        seen[source.modality, drift_ppm] = watch
    return seen


def judge(tally: Tally, seed: int, watched: Watched, seconds: float, drift_ppm: float) -> None:
    found = measure(watched).delay
    off_ms = abs(found.delay_ms - delay_of(seed) - drift_ppm * seconds / 2e3)
    tally.off_ms.append(off_ms)
    tally.inside += off_ms <= found.error_ms
    tally.refused += bool(found.refused)
    tally.drifts.append(found.drift_ppm)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    seeds = parser.parse_args().seeds
    cv2.setNumThreads(1)
    tallies: dict[tuple[str, float, float], Tally] = {}
    before: dict[str, Watch] = {}
    unrelated = taken = 0
    for seed in range(seeds):
        pair = scene(seed, delay_ms=delay_of(seed), **SMALL)
        for what, (_, equal, fast) in KINDS.items():
            seen = watched(pair, seed, what)
            rgb = seen[Modality.RGB, 0.0]
            for drift_ppm, seconds in [(0.0, one) for one in equal] + [(DRIFT_PPM, one) for one in fast]:
                tally = tallies.setdefault((what, seconds, drift_ppm), Tally())
                judge(tally, seed, both(seen[Modality.THERMAL, drift_ppm], rgb, seconds), seconds, drift_ppm)
            if what in before:
                unrelated += 1
                taken += not measure(both(before[what], rgb, UNRELATED_S)).delay.refused
            before[what] = seen[Modality.THERMAL, 0.0]
        if (seed + 1) % 5 == 0 or seed + 1 == seeds:
            print(f"{seed + 1} seeds, {time.process_time():.0f} s of CPU")
            for (what, seconds, drift_ppm), tally in tallies.items():
                print(f"  {what}, {seconds:g} s, drift {drift_ppm:g} ppm: {tally.told()}")
            print(f"  unrelated scenes of {UNRELATED_S:g} s: {taken} of {unrelated} not refused", flush=True)


if __name__ == "__main__":
    main()
