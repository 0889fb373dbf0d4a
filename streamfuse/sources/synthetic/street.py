"""The backdrop: a street at night (or by day), painted once in colour, emission and temperature.

It shows what each camera alone would miss: lettering and lit windows that have no temperature of their own, and warm
walls, tyre tracks and people where no lamp reaches. Knows nothing of cameras.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.sources.synthetic.paint import GAMMA, Canvas, cloud
from streamfuse.sources.synthetic.scene import CANVAS_PX_PER_M, Backdrop, Colour, Floats, Point, ellipse, limb

LEFT, TOP, RIGHT, BOTTOM = -10.6, -8.0, 10.6, 8.0
HOUSES_M, KERB_M, NEAR_KERB_M, SHOP_TOP_M = 1.25, 1.95, 4.40, -2.7
LAMPS: tuple[Point, ...] = ((-4.9, -2.7), (5.5, -2.7))
LAMP_LIGHT = (1.0, 0.74, 0.42)
SHOP_LIGHT = (0.9, 0.62, 0.34)
MOONLIGHT = (0.008, 0.010, 0.016)
DAYLIGHT = (0.62, 0.64, 0.68)
WINDOW_TINTS: tuple[Colour, ...] = ((226, 170, 92), (210, 190, 140), (120, 150, 190), (200, 130, 70))
MARKER_RADIUS_M, MARKER_KELVIN = 0.16, 312.0


def paint_street(seed: int, *, night: bool, markers_m: Floats) -> Backdrop:
    """The street as both cameras find it; `markers_m` (N 2, plane metres) get a bright, warm disc each."""
    rng = np.random.default_rng([seed, 1])
    canvas = Canvas(LEFT, TOP, RIGHT, BOTTOM)
    _sky(canvas, rng, night=night)
    _houses(canvas, rng, night=night)
    _shop(canvas, night=night)
    _ground(canvas)
    _pavement_things(canvas, rng, night=night)
    canvas.roughen(rng)
    light = _light(canvas, night=night)
    if night:
        _wet_road(canvas, light)
    backdrop = canvas.lit(light)
    for centre in markers_m:
        _marker(backdrop, (float(centre[0]), float(centre[1])))
    return backdrop


def _marker(backdrop: Backdrop, centre: Point) -> None:
    """A white, warm disc without any halo and with soft edges, so that its middle is exactly where it is said to be."""
    column, row = backdrop.canvas_from_plane(np.array(centre))
    radius = MARKER_RADIUS_M * CANVAS_PX_PER_M
    top, left = int(row - radius - 1), int(column - radius - 1)
    window = slice(top, top + int(2 * radius + 4)), slice(left, left + int(2 * radius + 4))
    y, x = np.mgrid[window]
    cover = (radius + 0.5 - np.hypot(x - column, y - row)).clip(0, 1)
    backdrop.visible[window] += ((255 - backdrop.visible[window]) * cover[..., None]).astype(np.uint8)
    backdrop.kelvin[window] += (MARKER_KELVIN - backdrop.kelvin[window]) * cover


def _sky(canvas: Canvas, rng: np.random.Generator, *, night: bool) -> None:
    rows = canvas.rows(TOP, HOUSES_M)
    height = np.linspace(0, 1, rows.stop)[:, None]
    high, low = ((5, 7, 16), (38, 32, 40)) if night else ((120, 160, 215), (205, 215, 225))
    canvas.glow[rows] = (np.array(high) + height[..., None] ** 1.6 * (np.array(low) - np.array(high))).astype(np.uint8)
    canvas.kelvin[rows] = 264 + 8 * height + 1.2 * cloud(rng, (rows.stop, canvas.shape[1]), (90, 240))
    for _ in range(90 if night else 0):
        star = (float(rng.uniform(LEFT, RIGHT)), float(rng.uniform(TOP, -2.0)))
        shade = int(rng.integers(50, 130))
        canvas.shape_at(ellipse(star, 0.012, 0.012, corners=6), glow=(shade, shade, shade))
    for x in np.arange(LEFT, RIGHT, 0.9):
        top = float(rng.uniform(-3.6, -2.6))
        canvas.box((x, top, x + 0.95, HOUSES_M), (40, 42, 52), 276.5)
        for y in np.arange(top + 0.2, -1.9, 0.28):
            if rng.random() < 0.35:
                spot = x + float(rng.uniform(0.1, 0.7))
                canvas.box((spot, y, spot + 0.1, y + 0.1), glow=(120, 96, 60) if night else (90, 96, 110))


def _houses(canvas: Canvas, rng: np.random.Generator, *, night: bool) -> None:
    walls: tuple[tuple[float, float, float, Colour, float], ...] = (
        (LEFT, -3.35, -6.4, (140, 84, 66), 283.6),
        (-3.35, 2.75, SHOP_TOP_M, (168, 156, 134), 284.8),
        (2.75, 6.7, -5.3, (112, 108, 116), 283.2),
        (8.15, RIGHT, -4.4, (132, 104, 84), 283.9),
    )
    canvas.box((6.7, -3.0, 8.15, HOUSES_M), (52, 52, 56), 280.6)
    for left, right, top, colour, kelvin in walls:
        canvas.box((left, top, right, HOUSES_M), colour, kelvin)
        _bricks(canvas, left, right, top, colour)
        canvas.box((left - 0.05, top - 0.12, right + 0.05, top + 0.06), (96, 92, 88), kelvin - 2.2)
        canvas.box((left, 0.95, right, HOUSES_M), (84, 80, 76), kelvin + 0.7)
        if top != SHOP_TOP_M:
            _windows(canvas, rng, left, right, top, kelvin, night=night)


def _bricks(canvas: Canvas, left: float, right: float, top: float, colour: Colour) -> None:
    joint: Colour = (colour[0] * 4 // 5, colour[1] * 4 // 5, colour[2] * 4 // 5)
    for row, y in enumerate(np.arange(top, HOUSES_M, 0.16)):
        canvas.box((left, y, right, y + 0.014), joint)
        for x in np.arange(left + (0.2 if row % 2 else 0.0), right, 0.4):
            canvas.box((x, y, x + 0.012, min(y + 0.16, HOUSES_M)), joint)


def _windows(
    canvas: Canvas, rng: np.random.Generator, left: float, right: float, top: float, wall_k: float, *, night: bool
) -> None:
    columns = max(1, int((right - left - 0.5) / 1.55))
    margin = (right - left - columns * 0.92 - (columns - 1) * 0.6) / 2
    floors = [y for y in (-7.3, -4.75, -2.1, -0.55) if y > top + 0.35]
    for y in floors:
        for column in range(columns):
            x = left + margin + column * 1.52
            lit = night and rng.random() < 0.45
            tint = WINDOW_TINTS[int(rng.integers(len(WINDOW_TINTS)))]
            _window(canvas, x, y, wall_k, tint if lit else None)


def _window(canvas: Canvas, x: float, y: float, wall_k: float, tint: Colour | None) -> None:
    """A frame with four panes; a radiator warms the wall below, the glass mirrors the cold sky."""
    canvas.box((x - 0.1, y + 1.38, x + 1.02, y + 1.46), (170, 166, 158), wall_k + 0.6)
    canvas.box((x + 0.08, y + 1.47, x + 0.84, y + 1.85), kelvin=wall_k + 1.3)
    canvas.box((x - 0.06, y - 0.06, x + 0.98, y + 1.38), (188, 184, 176), wall_k + 0.9)
    for pane_x in (x, x + 0.49):
        for pane_y, tall in ((y, 0.42), (y + 0.48, 0.84)):
            pane = (pane_x, pane_y, pane_x + 0.43, pane_y + tall)
            canvas.box(pane, (26, 32, 42), wall_k + (1.8 if tint else -3.0), tint)
    if tint:
        curtain: Colour = (tint[0] * 3 // 5, tint[1] // 2, tint[2] // 2)
        canvas.box((x, y, x + 0.13, y + 1.32), glow=curtain)
        canvas.box((x + 0.79, y, x + 0.92, y + 1.32), glow=curtain)


def _shop(canvas: Canvas, *, night: bool) -> None:
    """The corner cafe: neon letters only the RGB camera can read, a warm door both can see."""
    warm: Colour | None = (238, 182, 104) if night else None
    canvas.box((-3.0, -0.72, 0.75, 0.95), (70, 52, 40), 284.0)
    canvas.box((-2.9, -0.62, 0.65, 0.85), (60, 56, 50), 287.4, warm)
    for x in np.arange(-2.7, 0.5, 0.62):
        canvas.box((x, -0.62, x + 0.02, -0.3), (30, 26, 22), None, (90, 60, 36) if night else None)
        canvas.shape_at(ellipse((x, -0.24), 0.09, 0.07), glow=(255, 240, 205) if night else None)
        canvas.box((x - 0.16, 0.45, x + 0.2, 0.85), (66, 40, 26), 286.4, (110, 66, 36) if night else None)
    canvas.box((-1.15, -0.62, -1.1, 0.85), (40, 32, 26), 285.0)
    for stripe, x in enumerate(np.arange(-3.2, 0.95, 0.3)):
        colour: Colour = (172, 44, 40) if stripe % 2 else (214, 206, 190)
        slope = np.array([(x, -1.05), (x + 0.3, -1.05), (x + 0.3, -0.66), (x, -0.66)])
        canvas.shape_at(slope, colour, 281.6)
    canvas.box((-2.75, -1.98, 0.5, -1.2), (34, 30, 34), 283.2)
    canvas.write("CAFE LUNA", (-2.5, -1.41), 0.36, (255, 92, 110) if night else (220, 60, 80), shines=night)
    canvas.box((1.25, -1.05, 2.3, HOUSES_M), (92, 62, 40), 286.0)
    canvas.box((1.37, -0.9, 2.18, 1.1), (70, 62, 50), 288.6, (224, 172, 104) if night else None)
    canvas.box((1.37, 0.1, 2.18, 0.16), (92, 62, 40), 286.0)
    canvas.write("OPEN", (1.49, -0.35), 0.15, (176, 40, 32), shines=night)


def _ground(canvas: Canvas) -> None:
    canvas.box((LEFT, HOUSES_M, RIGHT, KERB_M), (146, 142, 134), 284.3)
    canvas.box((LEFT, KERB_M, RIGHT, KERB_M + 0.1), (176, 172, 164), 283.6)
    canvas.box((LEFT, KERB_M + 0.1, RIGHT, NEAR_KERB_M), (84, 85, 90), 286.8)
    canvas.box((LEFT, NEAR_KERB_M, RIGHT, NEAR_KERB_M + 0.15), (176, 172, 164), 283.9)
    canvas.box((LEFT, NEAR_KERB_M + 0.15, RIGHT, BOTTOM), (150, 145, 136), 284.6)
    for y, tall in ((2.82, 0.1), (3.1, 0.12), (3.92, 0.14), (4.2, 0.12)):
        canvas.box((LEFT, y, RIGHT, y + tall), (77, 78, 83), 287.7)
    for x in np.arange(LEFT, RIGHT, 1.9):
        canvas.box((x, 3.46, x + 0.95, 3.55), (205, 202, 190), 286.3)
    for x in np.arange(LEFT, RIGHT, 0.75):
        canvas.shape_at(
            np.array([(x, HOUSES_M), (x + 0.02, HOUSES_M), (x * 1.03, KERB_M), (x * 1.03 - 0.02, KERB_M)]),
            (118, 114, 108),
            284.0,
        )
    for row, y in enumerate(np.arange(NEAR_KERB_M + 0.15, BOTTOM, 0.62)):
        canvas.box((LEFT, y, RIGHT, y + 0.02), (122, 118, 110), 284.2)
        for x in np.arange(LEFT + 0.4 * (row % 2), RIGHT, 1.1):
            canvas.box((x, y, x + 0.02, min(BOTTOM, y + 0.62)), (122, 118, 110), 284.2)
    canvas.shape_at(ellipse((-3.9, 3.78), 0.46, 0.12, corners=28), (46, 46, 48), 293.5)
    canvas.shape_at(ellipse((-3.9, 3.78), 0.38, 0.09, corners=28), (66, 64, 62), 295.0)
    canvas.shape_at(ellipse((3.3, 4.02), 1.1, 0.13, corners=32), (40, 44, 52), 281.5)


def _pavement_things(canvas: Canvas, rng: np.random.Generator, *, night: bool) -> None:
    canvas.box((-5.35, -0.75, -4.25, 0.85), (206, 200, 186), 283.2)
    canvas.box((-5.25, -0.65, -4.35, 0.05), (58, 80, 134))
    canvas.shape_at(ellipse((-4.8, -0.3), 0.27, 0.27, corners=28), (236, 196, 84))
    canvas.write("JAZZ", (-5.22, 0.42), 0.25, (160, 36, 40))
    canvas.write("FRIDAY", (-5.14, 0.7), 0.13, (40, 40, 44))
    _tree(canvas, rng, (3.75, -1.25), 1.15)
    _lamp_posts(canvas, night=night)
    canvas.box((8.75, -0.4, 8.81, 1.75), (120, 122, 126), 281.0)
    canvas.shape_at(ellipse((8.78, -0.7), 0.36, 0.36, corners=36), (190, 36, 36), 280.2)
    canvas.shape_at(ellipse((8.78, -0.7), 0.27, 0.27, corners=36), (224, 222, 216), 280.0)
    canvas.write("30", (8.575, -0.59), 0.24, (24, 24, 26))
    for y in (1.18, 1.3, 1.46):
        canvas.box((-1.9, y, -0.3, y + 0.07), (120, 82, 50), 282.2)
    for x in (-1.75, -0.5):
        canvas.box((x, 1.18, x + 0.06, 1.74), (56, 56, 60), 281.2)


def _tree(canvas: Canvas, rng: np.random.Generator, crown: Point, radius: float) -> None:
    trunk = limb((crown[0] + 0.05, 1.7), (crown[0], crown[1]), 0.13, 0.07)
    canvas.shape_at(trunk, (84, 66, 50), 283.4)
    for depth in np.sort(rng.random(650)):
        angle, away = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.random())
        leaf = (crown[0] + away * np.cos(angle) * 1.1, crown[1] + away * np.sin(angle) * 0.85)
        size, shade = rng.uniform(0.04, 0.1), 0.45 + 0.55 * depth
        tint: Colour = (int(78 * shade), int(104 * shade), int(54 * shade))
        canvas.shape_at(ellipse(leaf, size, size * 0.7, corners=7), tint, 281.4 + float(rng.uniform(-0.5, 0.5)))


def _lamp_posts(canvas: Canvas, *, night: bool) -> None:
    for x, y in LAMPS:
        canvas.shape_at(limb((x - 0.75, 1.75), (x - 0.75, y - 0.3), 0.07, 0.045), (62, 66, 66), 282.4)
        canvas.shape_at(limb((x - 0.75, y - 0.3), (x - 0.1, y - 0.16), 0.045, 0.035), (62, 66, 66), 282.4)
        canvas.shape_at(limb((x - 0.25, y - 0.12), (x + 0.25, y - 0.08), 0.09, 0.07), (70, 72, 72), 299.0)
        bulb = ellipse((x + 0.02, y - 0.02), 0.22, 0.055)
        canvas.shape_at(bulb, (200, 200, 200), 309.0, (255, 236, 190) if night else None)


def _light(canvas: Canvas, *, night: bool) -> NDArray[np.uint8]:
    """Display value of a white surface everywhere, H W 3 uint8; also adds the lamps' cones in the damp air."""
    small = (canvas.shape[1] // 4, canvas.shape[0] // 4)
    x, y = np.meshgrid(np.linspace(LEFT, RIGHT, small[0]), np.linspace(TOP, BOTTOM, small[1]))
    light = np.zeros((*x.shape, 3)) + (MOONLIGHT if night else DAYLIGHT)
    if night:
        shop = np.exp(-(((x + 1.0) / 2.4) ** 2) - (((y - 1.75) / (0.8 + 0.9 * (y < 1.75))) ** 2))
        light += 0.5 * shop[..., None] * np.array(SHOP_LIGHT)
        for lamp in LAMPS:
            cone = _cone(x, y, lamp)[..., None] * np.array(LAMP_LIGHT)
            light += np.where((x > 6.7) & (x < 8.15) & (y < HOUSES_M + 0.1), 0.06, 1.0)[..., None] * cone
            haze = cv2.resize((26 * np.sqrt(cone)).astype(np.uint8), canvas.shape[::-1])
            cv2.add(canvas.glow, haze, dst=canvas.glow)
    shown = (255 * light.clip(0, 1) ** (1 / GAMMA)).astype(np.uint8)
    return np.asarray(cv2.resize(shown, canvas.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _cone(x: Floats, y: Floats, lamp: Point) -> Floats:
    """How strongly a street lamp lights the plane: a soft-edged cone downwards that fades with distance."""
    down, aside = np.maximum(y - lamp[1], 0.0), np.abs(x - lamp[0])
    width = 0.25 + 0.62 * down
    edge = 1 / (1 + np.exp(np.clip(9 * (aside / width - 1), -30, 30)))
    return 1.15 * edge / (1 + (down**2 + aside**2) / 14.0) * (down > 0)


def _wet_road(canvas: Canvas, light: NDArray[np.uint8]) -> None:
    """Mirror what shines above the road in its wet surface, drawn out downwards."""
    source, road = canvas.rows(-2.4, 2.0), canvas.rows(KERB_M + 0.1, NEAR_KERB_M)
    lit = cv2.add(canvas.glow[source], cv2.multiply(canvas.albedo[source], light[source], scale=0.4 / 255))
    flipped = cv2.resize(lit[::-1], (canvas.shape[1], road.stop - road.start), interpolation=cv2.INTER_AREA)
    smeared = cv2.GaussianBlur(flipped, (0, 0), sigmaX=5, sigmaY=26)
    canvas.glow[road] = cv2.add(canvas.glow[road], (smeared * 0.3).astype(np.uint8))
