"""How well an injected delay is found again: python tests/calibrate/delay_figures.py --seeds 30

For each seed a delay of up to 80 ms either way, another phase, lost frames, jittering stamps; then the same with a
thermal clock that runs 400 ppm fast; then two scenes that have nothing to do with each other, which must be refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from delay_scenes import blinking, hand_held, scene, shots

from streamfuse.calibrate.delay_record import Watched, measure
from streamfuse.calibrate.delay_watch import Watch
from streamfuse.frames import Modality


def watched(seed: int, delay_ms: float, seconds: float, what: str, drift_ppm: float = 0.0) -> dict[Modality, Watch]:
    pair = scene(seed, delay_ms=delay_ms, seconds=seconds, drift_ppm=drift_ppm)
    show = hand_held(seed) if what == "hand-held" else blinking(seed)
    watches = {}
    for modality, shot in shots(pair, show, seed).items():
        watches[modality] = Watch()
        for pixels, stamp_ns in shot.frames():
            watches[modality].add(pixels, stamp_ns)
    return watches


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    seeds = range(parser.parse_args().seeds)
    cv2.setNumThreads(1)
    kept = {}
    for what, seconds, drift_ppm in (
        ("hand-held", 20.0, 0.0),
        ("blinking lamp", 60.0, 0.0),
        ("hand-held", 40.0, 400.0),
        ("blinking lamp", 60.0, 400.0),
    ):
        offs, inside, drifts, refused = [], 0, [], 0
        for seed in seeds:
            delay_ms = float(np.random.default_rng([seed, 1]).uniform(-80, 80))
            both = watched(seed, delay_ms, seconds, what, drift_ppm)
            kept[what, seconds, drift_ppm, seed] = both
            found = measure(Watched(both[Modality.THERMAL], both[Modality.RGB], 0, ())).delay
            off = found.delay_ms - delay_ms - drift_ppm * seconds / 2e3
            refused += bool(found.refused)
            inside += abs(off) <= found.error_ms
            offs.append(abs(off))
            drifts.append(abs(found.drift_ppm - drift_ppm))
        print(
            f"{what}, {seconds:g} s, drift {drift_ppm:g} ppm: off by median {np.median(offs):.2f}, "
            f"worst {max(offs):.2f} ms; <= 2 ms in {sum(o <= 2 for o in offs)} of {len(seeds)}; "
            f"inside the told error {inside}; refused {refused}; "
            f"drift off by median {np.median(drifts):.0f}, worst {max(drifts):.0f} ppm",
            flush=True,
        )
    wrong = 0
    pairs = [(one, (one + 1) % len(seeds)) for one in seeds]
    for what, seconds in (("hand-held", 20.0), ("blinking lamp", 60.0)):
        for one, other in pairs:
            mixed = Watched(
                kept[what, seconds, 0.0, one][Modality.THERMAL], kept[what, seconds, 0.0, other][Modality.RGB], 0, ()
            )
            wrong += not measure(mixed).delay.refused
    print(f"unrelated scenes: {wrong} of {2 * len(pairs)} not refused")


if __name__ == "__main__":
    main()
