"""What the seven views of `calib_speakingfaces` tell: python tests/calibrate/speakingfaces_figures.py SIGHTINGS.json

SIGHTINGS.json: `streamfuse calibrate detect calib_speakingfaces/ir calib_speakingfaces/vis --target
aruco:3x4:133.4x142.4:100:DICT_ARUCO_ORIGINAL:1`. No drawing of the board is known, so it is measured in the views
themselves: each point's middle place over the views, each view brought onto the board by a homography; the board's
shape across against along from the markers, which count as square. Thermal has a layout of its own, for heat runs
over a marker's edge, fastened to the RGB one by the markers' centres. Lengths count in markers of 100 mm, which is
a guess: directions and pixels do not depend on it.

Held out, always in RGB pixels: every fourth marker of a view, under a homography of that view's others; each view in
turn, under one homography of all the others; each view in turn, under a rig of the others (board, lenses and pose
from them alone; the view is posed by its thermal points, and where RGB should show its points is compared with where
it does).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from streamfuse.calibrate.boardless import transfer
from streamfuse.calibrate.detect.stored import load
from streamfuse.calibrate.solve_bundle import Seen, State, errors_of
from streamfuse.calibrate.solve_joint import Joint, join, measured
from streamfuse.calibrate.solve_robust import fit
from streamfuse.calibrate.solve_start import first_camera, posed
from streamfuse.calibrate.solve_views import gather, sizes_of

MODEL = "pinhole"


def rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).sum(axis=1).mean()))


def homography(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    return cv2.findHomography(here, there, 0)[0]


def views_of(seen: Seen) -> list[Seen]:
    return [seen.only(seen.view == view) for view in np.unique(seen.view)]


def middle_layout(seen: Seen, layout: np.ndarray) -> np.ndarray:
    """Each point's middle place (P 2) over the views; `layout` gives the start, and how the board lies."""
    nominal = layout
    for _ in range(3):
        places = np.full((len(np.unique(seen.view)), *layout.shape), np.nan)
        for number, one in enumerate(views_of(seen)):
            places[number, one.point] = transfer(homography(one.pixels, layout[one.point]), one.pixels)
        layout = np.nanmedian(places, axis=0)
    return transfer(homography(layout, nominal), layout)


def centres(layout: np.ndarray) -> np.ndarray:
    return layout.reshape(-1, 4, 2).mean(axis=1)


def layouts(seen: tuple[Seen, Seen], nominal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thermal and RGB places of the points on the board (P 2)."""
    thermal, rgb = (middle_layout(one, nominal) for one in seen)
    corner = (rgb.reshape(-1, 4, 2) - centres(rgb)[:, None]).mean(axis=0)
    across, along = (np.ptp(corner[:, axis]) for axis in (0, 1))
    rgb = rgb * (1, across / along)
    return transfer(homography(centres(thermal), centres(rgb)), thermal), rgb


def on_layout(seen: Seen, layout: np.ndarray) -> Seen:
    flat = np.column_stack([layout, np.zeros(len(layout))])
    return Seen(seen.view, seen.point, flat[seen.point], seen.pixels)


def solved(seen: tuple[Seen, Seen], sizes, views: int) -> Joint:
    """Two pinhole lenses and the pose of one against the other."""
    alone = tuple(fit(first_camera(MODEL, one, size, views), (one,)) for one, size in zip(seen, sizes, strict=True))
    thermal, rgb = (one.state for one in alone)
    both = sorted(set(alone[0].views_used(seen[:1], 0)) & set(alone[1].views_used(seen[1:], 0)))
    turn = rgb.rotations[both] @ np.swapaxes(thermal.rotations[both], 1, 2)
    left, _, right = np.linalg.svd(turn.mean(axis=0))
    shift = np.median(rgb.shifts[both] - thermal.shifts[both] @ (left @ right).T, axis=0)
    start = State(
        (MODEL, MODEL), (thermal.lenses[0], rgb.lenses[0]), thermal.rotations, thermal.shifts, left @ right, shift
    )
    return join(start, alone, seen)


def carried(joint: Joint, thermal: Seen, rgb: Seen, size, views: int) -> np.ndarray:
    """Errors (N 2) in RGB pixels of a view that is posed by its thermal points."""
    state = joint.fitted.state
    alone = posed(state.models[0], state.lenses[0], thermal, size, views)
    both = State(state.models, state.lenses, alone.rotations, alone.shifts, state.rig_rotation, state.rig_shift)
    return errors_of(both, (thermal, rgb))[1]


def matched(seen: tuple[Seen, Seen], view: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points that both cameras saw in a view: which, thermal pixels, RGB pixels."""
    thermal, rgb = (one.only(one.view == view) for one in seen)
    points, here, there = np.intersect1d(thermal.point, rgb.point, return_indices=True)
    return points, thermal.pixels[here], rgb.pixels[there]


def markers_left_out(seen: tuple[Seen, Seen], view: int) -> np.ndarray:
    """Errors of every marker, four times three of them left out of the view's own homography."""
    points, here, there = matched(seen, view)
    parts = [(points // 4) % 4 == part for part in range(4)]
    return np.concatenate([there[out] - transfer(homography(here[~out], there[~out]), here[out]) for out in parts])


def view_left_out_of_one_homography(seen: tuple[Seen, Seen], view: int, views: int) -> np.ndarray:
    others = [matched(seen, other)[1:] for other in range(views) if other != view]
    matrix = homography(*(np.concatenate(pixels) for pixels in zip(*others, strict=True)))
    _, here, there = matched(seen, view)
    return there - transfer(matrix, here)


def view_left_out_of_the_rig(seen: tuple[Seen, Seen], view: int, nominal, sizes, views: int) -> np.ndarray:
    rest = tuple(one.only(one.view != view) for one in seen)
    flat = layouts(rest, nominal)
    pair = solved(tuple(map(on_layout, rest, flat)), sizes, views)
    own = [on_layout(one.only(one.view == view), layout) for one, layout in zip(seen, flat, strict=True)]
    return carried(pair, *own, sizes[0], views)


def tell_the_rig(seen: tuple[Seen, Seen], nominal: np.ndarray, sizes, names: list[str]) -> None:
    flat = layouts(seen, nominal)
    for camera, layout in zip(("thermal", "RGB"), flat, strict=True):
        off = transfer(homography(layout, nominal), layout) - nominal
        print(f"{camera} board: its points lie {1e3 * rms(off):.1f} hundredths of a marker off the drawing (RMS)")
    both = tuple(map(on_layout, seen, flat))
    joint = solved(both, sizes, len(names))
    for camera, one, rows in zip(("thermal", "RGB"), joint.alone, both, strict=True):
        left_out = sorted(set(range(len(names))) - set(one.views_used((rows,), 0)))
        used = one.used[0]
        print(
            f"{camera} lens alone: RMS {rms(one.errors[0][used]):.2f} px, {used.sum()} of {len(used)} points;", end=" "
        )
        print("left out:", ", ".join(names[view] for view in left_out) or "no view")
    known = measured(joint, both)
    for name, value, half in zip(known.names, known.values, known.half_width_95, strict=True):
        if name.split(".")[1] in ("fx", "fy", "cx", "cy"):
            print(f"  {name} {value:.0f} +- {half:.0f}")
    print("the views", "do not share one rig" if joint.loose else "share one rig")
    for view, name in enumerate(names):
        off = joint.fitted.errors[1][both[1].view == view]
        middle = off.mean(axis=0)
        print(f"  {name}: as a whole {middle[0]:+.1f} {middle[1]:+.1f} px, the rest {rms(off - middle):.2f} px RMS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sightings", type=Path)
    stored = load(parser.parse_args().sightings)
    cv2.setNumThreads(1)
    sizes, nominal = sizes_of(stored.views, False), stored.target.points_m[:, :2]
    seen = tuple(gather(stored.views, camera, stored.target)[0] for camera in ("thermal", "rgb"))
    names = [view.name for view in stored.views]
    tell_the_rig(seen, nominal, sizes, names)
    every = [[], [], []]
    for view, name in enumerate(names):
        errors = (
            markers_left_out(seen, view),
            view_left_out_of_one_homography(seen, view, len(names)),
            view_left_out_of_the_rig(seen, view, nominal, sizes, len(names)),
        )
        for known, one in zip(every, errors, strict=True):
            known.append(one)
        print(f"{name} left out: " + ", ".join(f"{rms(one):.2f}" for one in errors), flush=True)
    for what, known in zip(("markers, own homography", "views, one homography", "views, rig"), every, strict=True):
        off = np.concatenate(known)
        print(f"{what}: {rms(off):.2f} px RMS, 95 % within {np.percentile(np.linalg.norm(off, axis=1), 95):.1f}")


if __name__ == "__main__":
    main()
