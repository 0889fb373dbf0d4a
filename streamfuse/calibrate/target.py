"""Target: what a calibration target looks like, in metres; knows nothing of images or printing.

Convention: x right, y down as one looks at the target's face, Z = 0. A target is named on the command line by
`kind:COLUMNSxROWS:spacing_mm[:marker_mm[:dictionary[:first_id]]]` (`XxY` where columns and rows lie apart
differently) or by a YAML file (see `target_file`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError

Floats = NDArray[np.float64]
Kind = Literal["checkerboard", "circles", "charuco", "aprilgrid", "aruco"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DICTIONARIES: dict[Kind, str] = {
    "charuco": "DICT_4X4_250",
    "aprilgrid": "DICT_APRILTAG_36h11",
    "aruco": "DICT_4X4_250",
}
MARKER_SHARES: dict[Kind, float] = {"charuco": 0.75, "aprilgrid": 1 / 1.3, "aruco": 0.8}
"""Side of a marker / spacing where nothing else is said; 1 / 1.3 is Kalibr's usual tagSpacing of 0.3."""
CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
"""Corners of one marker in the order of OpenCV: top left, top right, bottom right, bottom left."""
HOW = "write kind:COLUMNSxROWS:spacing_mm, e.g. checkerboard:9x6:40 or circles:4x11:20, or name a YAML file"


@dataclass(frozen=True, slots=True)
class Target:
    """A flat calibration target.

    `columns`, `rows`: inner corners of a checkerboard, circles of an asymmetric grid (OpenCV's counting: circles in one
    row, rows), squares of a ChArUco board, tags of an AprilGrid or ArUco board. `spacing_m`: side of a square, half the
    distance of circles in one row, or distance between the same corner of neighbouring tags; `row_spacing_m` where
    the rows lie at another distance. `marker_m`: outer side of a tag. `scale_known` False: lengths count in
    spacings and metres mean nothing. Raises UserError for a target that cannot be.
    """

    kind: Kind
    columns: int
    rows: int
    spacing_m: float = 1.0
    marker_m: float | None = None
    dictionary: str | None = None
    row_spacing_m: float | None = None
    first_id: int = 0
    scale_known: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"target kind {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        fewest = 3 if self.kind in ("checkerboard", "circles", "charuco") else 1
        if min(self.columns, self.rows) < fewest:
            raise UserError(f"a {self.kind} target of {self.columns}x{self.rows}: it needs at least {fewest}x{fewest}")
        if not 0 < self.spacing_m < 100:
            raise UserError(f"target spacing {self.spacing_m} m; give it in millimetres, above 0")
        if self.kind in MARKER_SHARES:
            object.__setattr__(self, "marker_m", self.marker_m or self.spacing_m * MARKER_SHARES[self.kind])
            object.__setattr__(self, "dictionary", self.dictionary or DICTIONARIES[self.kind])
        if self.row_spacing_m is not None and self.kind not in ("checkerboard", "aruco"):
            raise UserError(f"a {self.kind} target has one spacing; found {self.pitch_m} m")
        if self.marker_m is not None and not 0 < self.marker_m < min(self.pitch_m):
            raise UserError(
                f"markers of {self.marker_m * 1000:g} mm do not fit a spacing of {self.spacing_m * 1000:g} mm; "
                "the spacing counts from one marker's corner to the same corner of the next"
            )

    @property
    def name(self) -> str:
        size = f"{self.spacing_m * 1000:g} mm" if self.scale_known else "of unknown size"
        return f"{self.kind} {self.columns}x{self.rows} {size}"

    @property
    def pitch_m(self) -> tuple[float, float]:
        """Distance of neighbours in x and y, metres."""
        return self.spacing_m, self.row_spacing_m or self.spacing_m

    @property
    def has_markers(self) -> bool:
        """Whether each point can be told apart alone, so that a partly seen target is of use."""
        return self.kind in MARKER_SHARES

    @property
    def points_m(self) -> Floats:
        """N 3, Z = 0: inner corners or circle centres row by row; four corners per tag in the order of their ids."""
        if self.kind == "circles":
            flat = [((2 * c + r % 2) * self.spacing_m, r * self.spacing_m) for r, c in self._cells()]
        elif self.kind in ("aprilgrid", "aruco"):
            flat = [corner for at in self._tag_origins() for corner in at + CORNERS * cast(float, self.marker_m)]
        else:
            flat = [(c * self.pitch_m[0], r * self.pitch_m[1]) for r, c in self._cells()]
        return np.column_stack([np.array(flat, np.float64), np.zeros(len(flat))])

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows of `points_m` where these form one grid; of tags otherwise."""
        return (self.columns - 1, self.rows - 1) if self.kind == "charuco" else (self.columns, self.rows)

    def _cells(self) -> list[tuple[int, int]]:
        columns, rows = self.shape
        return [(row, column) for row in range(rows) for column in range(columns)]

    def _tag_origins(self) -> list[Floats]:
        """Top left corner of each tag; Kalibr numbers the tags of an AprilGrid from the bottom row upwards."""
        upwards = self.kind == "aprilgrid"
        step = np.array(self.pitch_m)
        return [np.array([c, self.rows - 1 - r if upwards else r]) * step for r, c in self._cells()]


def parse_target(text: str) -> Target:
    """The target that a command line means: a YAML file, or `kind:COLUMNSxROWS[:spacing_mm[:marker_mm[:...]]]`.

    Without a spacing the size counts as unknown. Raises UserError.
    """
    if text.endswith((".yaml", ".yml")):
        from streamfuse.calibrate.target_file import read_target

        return read_target(Path(text))
    kind, *rest = text.split(":")
    if kind not in KINDS:
        raise UserError(f"target {text!r}: kind {kind!r} is unknown; allowed: {', '.join(KINDS)}; {HOW}")
    try:
        columns, rows = (int(number) for number in rest[0].lower().split("x"))
        spacings = [float(length) / 1000 for length in rest[1].split("x")] if len(rest) > 1 else []
        marker_m = float(rest[2]) / 1000 if len(rest) > 2 else None
        first_id = int(rest[4]) if len(rest) > 4 else 0
    except (ValueError, IndexError):
        raise UserError(f"target {text!r} cannot be read; {HOW}") from None
    return Target(
        kind=kind,
        columns=columns,
        rows=rows,
        spacing_m=spacings[0] if spacings else 1.0,
        row_spacing_m=spacings[1] if len(spacings) > 1 else None,
        marker_m=marker_m,
        dictionary=rest[3] if len(rest) > 3 else None,
        first_id=first_id,
        scale_known=bool(spacings),
    )
