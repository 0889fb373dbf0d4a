"""Who moves through the scene: people, a dog, vehicles. Each is a pure function from time to warm, coloured parts.

Knows nothing of cameras or of the street they move through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamfuse.sources.synthetic.scene import (
    Actor,
    Colour,
    Floats,
    Light,
    Part,
    Point,
    ellipse,
    limb,
    rectangle,
)

HALF_STAGE_M = 13.0
"""Actors walk off here, unseen, and come in again on the other side."""

SKIN_K, HAND_K, HAIR_K, SHOE_K = 306.0, 303.5, 297.5, 290.5
JACKETS: tuple[Colour, ...] = ((180, 60, 50), (60, 90, 150), (200, 180, 120), (90, 110, 80), (210, 210, 205))
TROUSERS: tuple[Colour, ...] = ((50, 55, 75), (95, 85, 70), (40, 40, 42))
SKINS: tuple[Colour, ...] = ((224, 180, 150), (170, 120, 90), (110, 75, 55))
PAINTS: tuple[Colour, ...] = ((190, 40, 40), (185, 190, 195), (40, 70, 120))
HEADLIGHT: Colour = (255, 244, 214)
TAIL_LIGHT: Colour = (255, 40, 24)


@dataclass(frozen=True, slots=True)
class Path:
    """A straight way along the stage at constant speed (negative = to the left), endless."""

    start_m: float
    speed_mps: float
    ground_m: float

    @property
    def heading(self) -> int:
        return -1 if self.speed_mps < 0 else 1

    def x(self, time_s: float) -> float:
        return (self.start_m + self.speed_mps * time_s + HALF_STAGE_M) % (2 * HALF_STAGE_M) - HALF_STAGE_M


@dataclass(frozen=True, slots=True)
class Person:
    """A walking (or waiting) figure seen from the side, swinging arms and legs."""

    identity: int
    path: Path
    height_m: float
    jacket: Colour
    trousers: Colour
    skin: Colour
    jacket_k: float
    phase: float = 0.0
    kind: str = "person"

    @property
    def ground_m(self) -> float:
        return self.path.ground_m

    def lights(self, time_s: float) -> list[Light]:  # noqa: ARG002
        return []

    def parts(self, time_s: float) -> list[Part]:
        stride = 0.83 * self.height_m
        swing = self.phase + 2 * math.pi * self.path.speed_mps * self.path.heading * time_s / stride
        reach = min(0.46, 0.36 * abs(self.path.speed_mps)) + 0.05
        far, near = self._leg(swing + math.pi, reach), self._leg(swing, reach)
        hip = (self.path.x(time_s), self.ground_m - max(foot[1] for foot in (far[2], near[2])) - 0.04 * self.height_m)
        shoulder = (hip[0] + 0.025 * self.height_m * self.path.heading, hip[1] - 0.29 * self.height_m)
        return [
            *self._arm_parts(shoulder, swing, reach, shade=0.7),
            *self._leg_parts(hip, far, shade=0.7),
            *self._leg_parts(hip, near, shade=1.0),
            *self._body_parts(hip, shoulder),
            *self._arm_parts(shoulder, swing + math.pi, reach, shade=0.88),
        ]

    def _leg(self, swing: float, reach: float) -> tuple[Point, Point, Point]:
        """Hip, knee and ankle, relative to the hip."""
        bone = 0.245 * self.height_m
        thigh = reach * math.sin(swing)
        shin = thigh - 1.9 * reach * max(0.0, math.cos(swing)) ** 2 - 0.08
        knee = self._hang((0.0, 0.0), thigh, bone)
        return (0.0, 0.0), knee, self._hang(knee, shin, bone)

    def _hang(self, joint: Point, angle: float, length: float) -> Point:
        return joint[0] + self.path.heading * length * math.sin(angle), joint[1] + length * math.cos(angle)

    def _leg_parts(self, hip: Point, leg: tuple[Point, Point, Point], shade: float) -> list[Part]:
        h = self.height_m
        top, knee, ankle = ((hip[0] + x, hip[1] + y) for x, y in leg)
        toe = (ankle[0] + 0.085 * h * self.path.heading, ankle[1] + 0.012 * h)
        cloth = shaded(self.trousers, shade)
        return [
            Part(limb(ankle, toe, 0.026 * h, 0.018 * h), shaded((45, 38, 34), shade), SHOE_K),
            Part(limb(knee, ankle, 0.036 * h, 0.026 * h), cloth, 293.5),
            Part(limb(top, knee, 0.055 * h, 0.038 * h), cloth, 295.5),
        ]

    def _arm_parts(self, shoulder: Point, swing: float, reach: float, shade: float) -> list[Part]:
        h = self.height_m
        angle = 0.8 * reach * math.sin(swing)
        elbow = self._hang(shoulder, angle, 0.17 * h)
        wrist = self._hang(elbow, angle + 0.35, 0.145 * h)
        sleeve = shaded(self.jacket, shade)
        return [
            Part(ellipse(wrist, 0.025 * h, 0.028 * h, corners=10), shaded(self.skin, shade), HAND_K),
            Part(limb(elbow, wrist, 0.029 * h, 0.023 * h), sleeve, self.jacket_k - 0.8),
            Part(limb(shoulder, elbow, 0.034 * h, 0.029 * h), sleeve, self.jacket_k),
        ]

    def _body_parts(self, hip: Point, shoulder: Point) -> list[Part]:
        h, ahead = self.height_m, self.path.heading
        neck = (shoulder[0] + 0.008 * h * ahead, shoulder[1] - 0.035 * h)
        head = (neck[0] + 0.018 * h * ahead, neck[1] - 0.073 * h)
        face = (head[0] + 0.014 * h * ahead, head[1] + 0.008 * h)
        return [
            Part(limb(shoulder, neck, 0.035 * h, 0.03 * h), self.skin, SKIN_K - 1.0),
            Part(limb(hip, shoulder, 0.066 * h, 0.066 * h), self.jacket, self.jacket_k),
            Part(ellipse((shoulder[0], shoulder[1] + 0.07 * h), 0.05 * h, 0.075 * h), self.jacket, self.jacket_k + 1.4),
            Part(ellipse(head, 0.054 * h, 0.068 * h), (52, 40, 32), HAIR_K),
            Part(ellipse(face, 0.04 * h, 0.055 * h), self.skin, SKIN_K),
        ]


@dataclass(frozen=True, slots=True)
class Dog:
    """A dog trotting along."""

    identity: int
    path: Path
    length_m: float = 0.75
    kind: str = "dog"

    @property
    def ground_m(self) -> float:
        return self.path.ground_m

    def lights(self, time_s: float) -> list[Light]:  # noqa: ARG002
        return []

    def parts(self, time_s: float) -> list[Part]:
        n, ahead, coat = self.length_m, self.path.heading, (120, 92, 62)
        x, y = self.path.x(time_s), self.ground_m - 0.52 * n
        swing = 2 * math.pi * self.path.speed_mps * ahead * time_s / (1.1 * n)
        rump, chest = (x - 0.4 * n * ahead, y), (x + 0.36 * n * ahead, y + 0.01 * n)
        head = (x + 0.6 * n * ahead, y - 0.24 * n)
        tail = (rump[0] - 0.28 * n * ahead, rump[1] - (0.2 + 0.04 * math.sin(2 * swing)) * n)
        legs = [self._leg(joint, swing + turn) for joint in (rump, chest) for turn in (0.0, math.pi)]
        return [
            Part(limb(rump, tail, 0.045 * n, 0.02 * n), coat, 294.0),
            *(Part(leg, shaded(coat, 0.75), 296.0) for leg in legs),
            Part(limb(rump, chest, 0.13 * n, 0.16 * n), coat, 298.5),
            Part(limb(chest, head, 0.12 * n, 0.08 * n), coat, 300.0),
            Part(ellipse(head, 0.13 * n, 0.11 * n, corners=12), coat, 302.5),
            Part(limb(head, (head[0] + 0.2 * n * ahead, head[1] + 0.06 * n), 0.07 * n, 0.045 * n), coat, 304.5),
        ]

    def _leg(self, joint: Point, swing: float) -> Floats:
        n = self.length_m
        lift = 0.05 * n * max(0.0, math.cos(swing))
        foot = (joint[0] + self.path.heading * 0.16 * n * math.sin(swing), self.ground_m - 0.04 * n - lift)
        return limb(joint, foot, 0.075 * n, 0.038 * n)


@dataclass(frozen=True, slots=True)
class Car:
    """A car seen from the side: warm bonnet, tyres and exhaust, or stone cold when it is parked."""

    identity: int
    path: Path
    paint: Colour
    scale: float = 1.0
    parked: bool = False
    kind: str = "vehicle"

    @property
    def ground_m(self) -> float:
        return self.path.ground_m

    def lights(self, time_s: float) -> list[Light]:
        if self.parked:
            return []
        front, rear = self._at(time_s, [(4.2, 0.64), (0.03, 0.8)])
        return [
            Light((float(front[0]), float(front[1])), HEADLIGHT, 5.5 * self.scale, aim=self.path.heading),
            Light((float(rear[0]), float(rear[1])), TAIL_LIGHT, 0.8 * self.scale),
        ]

    def parts(self, time_s: float) -> list[Part]:
        return [
            self._part(time_s, UNDERSIDE, (8, 8, 9), 290.5),
            *self._bodywork(time_s),
            *(part for hub in WHEELS for part in self._wheel(time_s, hub)),
            self._part(time_s, HEADLAMP, HEADLIGHT, 312.0, shines=True),
            self._part(time_s, TAIL_LAMP, TAIL_LIGHT, 294.0, shines=True),
        ]

    def _bodywork(self, time_s: float) -> list[Part]:
        return [
            self._part(time_s, EXHAUST, (60, 58, 55), 331.0),
            self._part(time_s, CABIN, shaded(self.paint, 0.9), 283.0),
            self._part(time_s, BODY, self.paint, 284.5),
            self._part(time_s, SILL, shaded(self.paint, 0.45), 287.0),
            *(self._part(time_s, _shrunk(BONNET, size), self.paint, kelvin) for size, kelvin in ENGINE_HEAT),
            self._part(time_s, SHOULDER_LINE, shaded(self.paint, 1.35), 285.0),
            *(self._part(time_s, pane, (34, 42, 50), 281.0) for pane in PANES),
            self._part(time_s, DOOR_GAP, shaded(self.paint, 0.4), 284.5),
        ]

    def _wheel(self, time_s: float, hub: Point) -> list[Part]:
        return [self._part(time_s, ellipse(hub, r, r, corners=20), tint, kelvin) for r, tint, kelvin in WHEEL_RINGS]

    def _part(self, time_s: float, outline: Floats, colour: Colour, kelvin: float, *, shines: bool = False) -> Part:
        if self.parked:
            kelvin, shines = 279.5 + 0.02 * (kelvin - 284.5), False
        return Part(self._at(time_s, outline), colour, kelvin, shines)

    def _at(self, time_s: float, outline: Floats | list[Point]) -> Floats:
        """From the car's own drawing (x from the rear bumper forwards, y up) to the plane."""
        drawing = np.asarray(outline) - (MIDDLE_M, 0.0)
        ahead = np.array([self.path.heading, -1]) * self.scale
        return drawing * ahead + (self.path.x(time_s), self.ground_m)


MIDDLE_M = 2.15
WHEELS: tuple[Point, ...] = ((0.85, 0.32), (3.42, 0.32))
WHEEL_RINGS: tuple[tuple[float, Colour, float], ...] = (
    *((0.37, (6, 6, 7), 288.0), (0.32, (24, 24, 25), 294.5)),
    *((0.21, (150, 152, 155), 297.0), (0.15, (96, 98, 102), 302.0), (0.06, (60, 60, 62), 309.0)),
)
BODY = np.array(
    [
        *((0.1, 0.28), (0.0, 0.45), (0.02, 0.8), (0.14, 0.98), (0.6, 1.03)),
        *((2.95, 1.0), (3.9, 0.85), (4.2, 0.7), (4.3, 0.48), (4.24, 0.28)),
    ]
)
CABIN = np.array([(0.42, 1.0), (0.7, 1.24), (1.15, 1.44), (1.75, 1.49), (2.2, 1.44), (3.05, 0.98)])
BONNET = np.array([(2.98, 0.99), (3.9, 0.85), (4.2, 0.7), (4.26, 0.52), (3.86, 0.55), (3.0, 0.68)])
ENGINE_HEAT = ((1.0, 290.0), (0.86, 294.0), (0.68, 298.0), (0.48, 301.5), (0.25, 304.0))
SILL = rectangle(0.12, 0.27, 4.2, 0.38)
SHOULDER_LINE = rectangle(0.2, 0.92, 2.9, 0.95)
UNDERSIDE = rectangle(0.25, 0.1, 4.1, 0.3)
DOOR_GAP = rectangle(1.72, 0.4, 1.735, 1.4)
PANES = (
    np.array([(0.78, 1.05), (0.95, 1.25), (1.22, 1.37), (1.66, 1.41), (1.66, 1.04)]),
    np.array([(1.79, 1.04), (1.79, 1.41), (2.16, 1.36), (2.78, 1.03)]),
)
HEADLAMP = np.array([(3.98, 0.74), (4.2, 0.68), (4.24, 0.58), (4.05, 0.62)])
TAIL_LAMP = np.array([(0.0, 0.7), (0.02, 0.86), (0.16, 0.88), (0.14, 0.72)])
EXHAUST = ellipse((0.06, 0.24), 0.09, 0.06, corners=10)


def _shrunk(outline: Floats, factor: float) -> Floats:
    middle = outline.mean(axis=0)
    return middle + (outline - middle) * factor


def shaded(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def cast_actors(seed: int, *, people: int, vehicles: int) -> tuple[Actor, ...]:
    """Everybody who moves, from back to front; the same for the same seed."""
    rng = np.random.default_rng(seed)
    walkers = [_person(rng, number) for number in range(people)]
    dogs = [Dog(100, Path(walkers[0].path.start_m + 1.1, walkers[0].path.speed_mps, 5.02))] if people else []
    cars = [_car(rng, number) for number in range(vehicles)]
    cars += [Car(300, Path(-6.6, 0.0, 2.34), (70, 96, 84), parked=True)] if vehicles else []
    return tuple(sorted([*walkers, *dogs, *cars], key=lambda actor: actor.ground_m))


def _person(rng: np.random.Generator, number: int) -> Person:
    """People 0, 3, 6.. pass close by, 1, 4.. on the far pavement, 2, 5.. stand still where no lamp reaches."""
    role, round_ = number % 3, number // 3
    ground = (4.95, 1.72, 1.34)[role] + 0.12 * round_
    start = ((-3.4, 1.9, 7.45)[role] + (9.6, -9.4, -10.6)[role] * round_) + float(rng.uniform(-0.3, 0.3))
    pace = float(rng.uniform(1.05, 1.5)) * (1 if (role + round_) % 2 == 0 else -1)
    height = float(rng.uniform(1.62, 1.86)) * (1.22 if role == 0 else 1.0)
    return Person(
        identity=1 + number,
        path=Path(start, 0.0 if role == 2 else pace, ground),
        height_m=height,
        jacket=JACKETS[int(rng.integers(len(JACKETS)))],
        trousers=TROUSERS[int(rng.integers(len(TROUSERS)))],
        skin=SKINS[int(rng.integers(len(SKINS)))],
        jacket_k=float(rng.uniform(292.5, 296.5)),
        phase=float(rng.uniform(0, 2 * math.pi)),
    )


def _car(rng: np.random.Generator, number: int) -> Car:
    """Cars drive to the right on the near lane and to the left on the far one, one behind the other."""
    near = number % 2 == 0
    start = (-6.5 if near else 12.0) - 13.0 * (number // 2)
    speed = float(rng.uniform(2.6, 3.4)) if near else -float(rng.uniform(3.6, 4.6))
    path = Path(start, speed, 4.18 if near else 3.02)
    return Car(200 + number, path, PAINTS[int(rng.integers(len(PAINTS)))], scale=1.15 if near else 1.02)
