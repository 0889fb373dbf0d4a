"""A target as a page to print or cut: filled shapes in millimetres, written as SVG or PDF at true scale.

Every page carries a 100 mm ruler (a printer that "fits to page" shows there) and the target's own words for the command
line. Knows nothing of images.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import cast

from streamfuse.calibrate.outline import outlines
from streamfuse.calibrate.target import Target
from streamfuse.errors import UserError

PAPERS_MM = {
    "A4": (210.0, 297.0),
    "A3": (297.0, 420.0),
    "A2": (420.0, 594.0),
    "A1": (594.0, 841.0),
    "A0": (841.0, 1189.0),
    "letter": (215.9, 279.4),
}
EDGE_MM, FOOT_MM = 8.0, 16.0
POINTS_PER_MM = 72 / 25.4
ROUND = 0.5523
"""Control points of a Bezier curve that follows a quarter of a circle."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Circle:
    """`cut`: an outline to cut along, else filled."""

    x: float
    y: float
    radius: float
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """Filled between its closed loops by the even-odd rule."""

    loops: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Text:
    x: float
    y: float
    size: float
    words: str


Face = Rectangle | Circle | Outline


@dataclass(frozen=True, slots=True)
class Page:
    """`size` and all places in millimetres, y down; `origin`: where the target's first point lies."""

    size: tuple[float, float]
    origin: tuple[float, float]
    shapes: tuple[Face | Text, ...]


def write_page(path: Path, page: Page) -> None:
    """SVG or PDF by the file's ending. Raises UserError for another ending or an unwritable place."""
    writers = {".svg": lambda: to_svg(page).encode(), ".pdf": lambda: to_pdf(page)}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise UserError(f"{path}: a target is written as .svg or .pdf; name the file so")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(writer())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another folder") from error


def lay_out(target: Target, paper: str = "A4", *, cut_out: bool = False) -> Page:
    """The target in the middle of a sheet, turned as it fits. Raises UserError where it does not."""
    if paper not in PAPERS_MM:
        raise UserError(f"paper {paper!r} is unknown; allowed: {', '.join(PAPERS_MM)}")
    if cut_out and target.kind != "circles":
        raise UserError(f"a cut-out {target.kind} would fall apart; --cut-out goes with --kind circles")
    shapes = _face(target, cut_out)
    left, top, right, bottom = _bounds(shapes)
    width, height = right - left, bottom - top
    sheet = next((size for size in _both_ways(PAPERS_MM[paper]) if _fits(width, height, size)), None)
    if sheet is None:
        raise UserError(_too_large(target, paper, width, height))
    x = (sheet[0] - width) / 2 - left
    y = (sheet[1] - FOOT_MM - height) / 2 - top
    return Page(sheet, (x, y), (*(_moved(shape, x, y) for shape in shapes), *_foot(target, sheet)))


def _face(target: Target, cut_out: bool) -> list[Face]:
    """The black parts, in millimetres from the target's first point."""
    across, down = (pitch * 1000 for pitch in target.pitch_m)
    if target.kind == "circles":
        return [Circle(x * 1000, y * 1000, across / 2, cut_out) for x, y, _ in target.points_m]
    if target.kind in ("checkerboard", "charuco"):
        inner = target.kind == "checkerboard"
        columns, rows = (target.columns + 1, target.rows + 1) if inner else (target.columns, target.rows)
        cells = [(c, r) for r in range(rows) for c in range(columns) if (c + r) % 2 == 0]
        squares = [Rectangle((c - 1) * across, (r - 1) * down, across, down) for c, r in cells]
        return [*squares, *([] if inner else _tags(target))]
    return _tags(target)


def _tags(target: Target) -> list[Face]:
    from streamfuse.calibrate.detect.tags import tags_of

    tags = tags_of(target, 2 if target.kind == "aprilgrid" else 1)
    found: list[Face] = []
    for number, corners in enumerate(tags.corners * 1000):
        bit, (x, y) = (corners[1, 0] - corners[0, 0]) / tags.cells, corners[0]
        loops = outlines(tags.bits(number) < 0)
        found.append(Outline(tuple(tuple((float(x + c * bit), float(y + r * bit)) for c, r in loop) for loop in loops)))
    return [*found, *(_joints(target) if target.kind == "aprilgrid" else [])]


def _joints(target: Target) -> list[Face]:
    """Kalibr's small squares between the tags: they make every tag's corner a crossing of two black corners."""
    pitch, gap = target.spacing_m * 1000, (target.spacing_m - cast(float, target.marker_m)) * 1000
    places = [(c, r) for r in range(target.rows + 1) for c in range(target.columns + 1)]
    return [Rectangle(c * pitch - gap, r * pitch - gap, gap, gap) for c, r in places]


def _foot(target: Target, sheet: tuple[float, float]) -> list[Face | Text]:
    """The ruler and the words below the target."""
    y = sheet[1] - EDGE_MM
    ticks = [Rectangle(EDGE_MM + mm - 0.1, y - (4 if mm % 50 == 0 else 2), 0.2, 4.0) for mm in range(0, 101, 10)]
    return [
        Rectangle(EDGE_MM, y, 100, 0.3),
        *(Rectangle(tick.x, tick.y, tick.width, y - tick.y) for tick in ticks),
        Text(EDGE_MM + 102, y, 3.0, "100 mm: measure it, print at 100 %"),
        Text(EDGE_MM, y + 5, 3.2, f"streamfuse {target.name}   --target {spelled(target)}"),
    ]


def spelled(target: Target) -> str:
    """The target as the command line takes it."""
    pitch = "x".join(f"{length * 1000:g}" for length in dict.fromkeys(target.pitch_m))
    parts = [target.kind, f"{target.columns}x{target.rows}", pitch]
    if target.has_markers:
        parts += [f"{cast(float, target.marker_m) * 1000:.6g}", str(target.dictionary), str(target.first_id)]
    return ":".join(parts)


def to_svg(page: Page) -> str:
    width, height = page.size
    body = "\n".join(_svg(shape) for shape in page.shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _svg(shape: Face | Text) -> str:
    if isinstance(shape, Rectangle):
        return f'<rect x="{shape.x:.4f}" y="{shape.y:.4f}" width="{shape.width:.4f}" height="{shape.height:.4f}"/>'
    if isinstance(shape, Circle):
        look = ' fill="none" stroke="black" stroke-width="0.1"' if shape.cut else ""
        return f'<circle cx="{shape.x:.4f}" cy="{shape.y:.4f}" r="{shape.radius:.4f}"{look}/>'
    if isinstance(shape, Outline):
        loops = ("M" + " ".join(f"{x:.4f},{y:.4f}" for x, y in loop) + "Z" for loop in shape.loops)
        return f'<path fill-rule="evenodd" d="{"".join(loops)}"/>'
    style = f'font-family="Helvetica, Arial, sans-serif" font-size="{shape.size:g}"'
    return f'<text x="{shape.x:.3f}" y="{shape.y:.3f}" {style}>{escape(shape.words)}</text>'


def to_pdf(page: Page) -> bytes:
    """One page of filled shapes in PDF 1.4; lengths in points, y up."""
    height = page.size[1]
    scale = f"{POINTS_PER_MM:.8f} 0 0 {POINTS_PER_MM:.8f} 0 0 cm"
    drawn = zlib.compress("\n".join([scale, "0 g", *(_pdf(shape, height) for shape in page.shapes)]).encode("latin-1"))
    box = " ".join(f"{length * POINTS_PER_MM:.4f}" for length in page.size)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {box}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        f"<< /Length {len(drawn)} /Filter /FlateDecode >>\nstream\n".encode() + drawn + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", list[int]()
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def _pdf(shape: Face | Text, height: float) -> str:
    if isinstance(shape, Rectangle):
        return f"{shape.x:.4f} {height - shape.y - shape.height:.4f} {shape.width:.4f} {shape.height:.4f} re f"
    if isinstance(shape, Text):
        words = shape.words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        return f"BT /F1 {shape.size:g} Tf {shape.x:.4f} {height - shape.y:.4f} Td ({words}) Tj ET"
    if isinstance(shape, Outline):
        loops = (" l ".join(f"{x:.4f} {height - y:.4f}" for x, y in loop) for loop in shape.loops)
        return " ".join(loop.replace(" l ", " m ", 1) + " l h" for loop in loops) + " f*"
    x, y, r, k = shape.x, height - shape.y, shape.radius, ROUND * shape.radius
    arcs = [
        (x + r, y + k, x + k, y + r, x, y + r),
        (x - k, y + r, x - r, y + k, x - r, y),
        (x - r, y - k, x - k, y - r, x, y - r),
        (x + k, y - r, x + r, y - k, x + r, y),
    ]
    curves = " ".join(" ".join(f"{value:.4f}" for value in arc) + " c" for arc in arcs)
    return f"{x + r:.4f} {y:.4f} m {curves} {'0.1 w s' if shape.cut else 'f'}"


def _bounds(shapes: list[Face]) -> tuple[float, float, float, float]:
    lefts, tops, rights, bottoms = zip(*map(_box, shapes), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _box(shape: Face) -> tuple[float, float, float, float]:
    if isinstance(shape, Circle):
        return shape.x - shape.radius, shape.y - shape.radius, shape.x + shape.radius, shape.y + shape.radius
    if isinstance(shape, Outline):
        across, down = zip(*(corner for loop in shape.loops for corner in loop), strict=True)
        return min(across), min(down), max(across), max(down)
    return shape.x, shape.y, shape.x + shape.width, shape.y + shape.height


def _moved(shape: Face, x: float, y: float) -> Face:
    if isinstance(shape, Circle):
        return Circle(shape.x + x, shape.y + y, shape.radius, shape.cut)
    if isinstance(shape, Outline):
        return Outline(tuple(tuple((left + x, top + y) for left, top in loop) for loop in shape.loops))
    return Rectangle(shape.x + x, shape.y + y, shape.width, shape.height)


def _both_ways(sheet: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    return sheet, (sheet[1], sheet[0])


def _fits(width: float, height: float, sheet: tuple[float, float]) -> bool:
    return width <= sheet[0] - 2 * EDGE_MM and height <= sheet[1] - EDGE_MM - FOOT_MM


def _too_large(target: Target, paper: str, width: float, height: float) -> str:
    shares = [
        min((sheet[0] - 2 * EDGE_MM) / width, (sheet[1] - EDGE_MM - FOOT_MM) / height)
        for sheet in _both_ways(PAPERS_MM[paper])
    ]
    largest = int(max(shares) * target.spacing_m * 10_000) / 10
    return (
        f"{target.name} is {width:.0f} x {height:.0f} mm and does not fit {paper}; "
        f"take larger paper, or --spacing-mm {largest:g} at most"
    )
