"""Finds targets whose parts can be told apart (ArUco, AprilGrid, ChArUco), also where they are seen only in part.

Tags that OpenCV reads give the plane of the target, of ArUco and AprilGrid a single one: what lies next to it and looks
as it should carries the plane farther. Every tag or corner that must then be in the image is measured there, and kept
where it looks as it should.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np

from streamfuse.calibrate.detect.found import Found
from streamfuse.calibrate.detect.plane import fit_homography, mapped, strays
from streamfuse.calibrate.detect.preparations import Bytes, Prepared
from streamfuse.calibrate.detect.saddles import looks, refined, spacing_px
from streamfuse.calibrate.detect.scalar import Scalars
from streamfuse.calibrate.detect.tags import Tags, corners_refined, likeness, tags_of
from streamfuse.calibrate.target import Floats, Target
from streamfuse.calibrate.views import Indices

FEWEST_TAGS = 3
"""That must be seen; of ArUco and AprilGrid boards two may be found by their bits, beside one that OpenCV reads."""
OFF_PLANE = 0.2
"""Distance from the common plane, in sides of a tag, from which a tag was read wrongly."""
STRAY = 0.08
ODD, LEAST_ODD = 5, 0.05
"""A point is left out that is this many times the median off the plane, and at least this share of a side."""
ALIKE = 0.6
"""Correlation with the ideal tag below which a point is not kept."""
SADDLE = 0.75
"""Saddle share of a corner below which it is not kept; half covered it is 0.58 to 0.71."""


def find(prepared: Prepared, values: Scalars, target: Target) -> Found | None:
    measure = _saddle_points if target.kind == "charuco" else _tag_points
    for tags in _layouts(target):
        read = {number: prepared.recorded(quad) for number, quad in _read(prepared.image, tags).items()}
        if len(read) >= min(FEWEST_TAGS, len(tags.ids)):
            plane = _common_plane(read, tags)
            planes = [] if plane is None else [plane]
        else:
            planes = [] if target.kind == "charuco" else _planes_of_one(read, tags)
        for homography in planes:
            found = measure(values, homography, tags, target)
            if found is not None:
                return found
    return None


def _layouts(target: Target) -> Iterator[Tags]:
    """The ways in which such a board is printed: Kalibr's tags have a border of two bits, others of one."""
    if target.kind == "charuco":
        yield tags_of(target, 1)
        yield tags_of(target, 1, legacy=True)
    elif target.kind == "aprilgrid":
        yield tags_of(target, 2)
        yield tags_of(target, 1)
    else:
        yield tags_of(target, 1)


def _read(image: Bytes, tags: Tags) -> dict[int, Floats]:
    """Number of a tag on the target -> its corners (4 2) in this image, roughly."""
    asked = cv2.aruco.DetectorParameters()
    asked.detectInvertedMarker = True
    asked.markerBorderBits = tags.border
    asked.adaptiveThreshWinSizeMax, asked.adaptiveThreshWinSizeStep = 53, 10
    asked.polygonalApproxAccuracyRate, asked.minMarkerPerimeterRate = 0.05, 0.02
    # small tags are blurred: the middle of each bit counts, and wrong ones are forgiven, for other tags must agree
    asked.perspectiveRemovePixelPerCell, asked.perspectiveRemoveIgnoredMarginPerCell = 8, 0.25
    asked.errorCorrectionRate, asked.maxErroneousBitsInBorderRate = 1.0, 0.5
    corners, ids, _ = cv2.aruco.ArucoDetector(tags.dictionary, asked).detectMarkers(image)
    ids = [] if cast(object, ids) is None else [int(one) for one in np.ravel(ids)]
    quads = [np.asarray(corner, np.float64).reshape(4, 2) for corner in corners]
    known = {tag: number for number, tag in enumerate(tags.ids)}
    return {known[tag]: quad for tag, quad in zip(ids, quads, strict=True) if tag in known and ids.count(tag) == 1}


def _common_plane(read: dict[int, Floats], tags: Tags) -> Floats | None:
    """Homography from the target's plane that most tags agree with; tags may count their corners from another one."""
    numbers = sorted(read)
    plane = tags.corners[numbers]
    quads = np.array([read[number] for number in numbers])
    side = float(np.median(np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1)))
    best: tuple[float, Floats] | None = None
    for turn in range(4):
        pixels = np.roll(quads, turn, axis=1).reshape(-1, 2)
        found = cv2.findHomography(plane.reshape(-1, 2), pixels, cv2.RANSAC, OFF_PLANE * side)
        homography = cast("Floats | None", found[0])
        if homography is None or np.linalg.det(homography[:2, :2]) < 0:
            continue
        away = np.linalg.norm(mapped(homography, plane.reshape(-1, 2)) - pixels, axis=1)
        agreeing = (away < OFF_PLANE * side).reshape(-1, 4).all(axis=1)
        if agreeing.sum() >= min(FEWEST_TAGS, len(tags.ids)) and agreeing.mean() > 0.5:
            error = float(away[np.repeat(agreeing, 4)].mean())
            best = (error, homography) if best is None or error < best[0] else best
    return None if best is None else best[1]


def _planes_of_one(read: dict[int, Floats], tags: Tags) -> list[Floats]:
    """Homographies from the target's plane that each tag alone stands for, its corners counted from any of them."""
    planes = [
        fit_homography(tags.corners[one], np.roll(quad, turn, 0)) for one, quad in read.items() for turn in range(4)
    ]
    return [plane for plane in planes if np.isfinite(plane).all() and np.linalg.det(plane[:2, :2]) > 0]


def _grown(values: Scalars, homography: Floats, tags: Tags, reach: float) -> Floats:
    """The plane that all tags agree with which look as they should, tag by tag from where it is known."""
    numbers, known = list(range(len(tags.ids))), 0
    while True:
        quads = corners_refined(values, mapped(homography, tags.corners), reach)
        good = np.abs(likeness(values, quads, tags, numbers)) > ALIKE
        if good.sum() <= known:
            return homography
        known = int(good.sum())
        homography = fit_homography(tags.corners[good].reshape(-1, 2), quads[good].reshape(-1, 2))


def _tag_points(values: Scalars, homography: Floats, tags: Tags, target: Target) -> Found | None:
    numbers = list(range(len(tags.ids)))
    marker, gap = cast(float, target.marker_m), min(target.pitch_m) - cast(float, target.marker_m)
    reach = 0.8 * min(1 / tags.cells, gap / marker / 2)
    quads = mapped(_grown(values, homography, tags, reach), tags.corners)
    for _ in range(2):
        quads = corners_refined(values, quads, reach)
    alike = likeness(values, quads, tags, numbers)
    alike = alike * (np.sign(np.median(alike[np.abs(alike) > ALIKE])) if (np.abs(alike) > ALIKE).any() else 1)
    kept = alike > ALIKE
    if kept.sum() < min(FEWEST_TAGS, len(numbers)):
        return None
    side = float(np.median(np.linalg.norm(quads[kept, 1] - quads[kept, 0], axis=1)))
    pixels, plane = quads[kept].reshape(-1, 2), tags.corners[kept].reshape(-1, 2)
    indices = np.arange(4 * len(numbers)).reshape(-1, 4)[kept].ravel()
    return _kept(indices, pixels, plane, np.repeat(alike[kept], 4), side)


def _saddle_points(values: Scalars, homography: Floats, _: Tags, target: Target) -> Found | None:
    """Inner corners of a ChArUco board: all of them from the plane, each kept if it looks like one."""
    columns, rows = target.shape
    plane = target.points_m[:, :2]
    clear = 0.8 * (1 - cast(float, target.marker_m) / target.spacing_m) / 2
    grid = refined(values, mapped(homography, plane).reshape(rows, columns, 2), widest=clear)
    cells = plane / target.spacing_m
    seen = looks(values, grid, cells)
    share = np.nan_to_num(seen.saddle * (-1.0) ** cells.sum(axis=1))
    strong = np.abs(share) > SADDLE
    share *= np.sign(share[strong].sum()) if strong.any() else 1
    kept = share > SADDLE
    if kept.sum() < 6:
        return None
    pixels = grid.reshape(-1, 2)[kept]
    return _kept(np.nonzero(kept)[0], pixels, plane[kept], share[kept], spacing_px(grid))


def _kept(indices: Indices, pixels: Floats, plane: Floats, quality: Floats, side: float) -> Found | None:
    """Points that lie on a smooth surface; None where too few or too rough.

    The edge of a hand may stand for a corner that it covers: such a point is off by much more than the usual one.
    """
    homography = cast("Floats | None", cv2.findHomography(plane, pixels, cv2.LMEDS)[0])
    if homography is None:
        return None
    off = np.linalg.norm(mapped(homography, plane) - pixels, axis=1)
    sane = off < max(ODD * float(np.median(off)), LEAST_ODD * side)
    indices, pixels, plane, quality = indices[sane], pixels[sane], plane[sane], quality[sane]
    if len(pixels) < 6:
        return None
    away = np.linalg.norm(strays(plane, pixels), axis=1)
    near = away < 3 * STRAY * side
    if near.sum() < 6 or not np.sqrt((away[near] ** 2).mean()) < STRAY * side:
        return None
    quality = quality * np.exp(-((away / (STRAY * side)) ** 2))
    return Found(indices[near], pixels[near], np.clip(quality[near], 0, 1))
