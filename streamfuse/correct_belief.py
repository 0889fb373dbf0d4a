"""What many estimates together say of the drift since the start, and how sure that is.

An estimate = drift + bias of the scene + noise. The bias is a px or two and changes with the scene, so a scene change
looks like a small knock. A Kalman filter over (drift, mean bias, bias of this scene) keeps them apart: within a scene
all change is drift; over a scene change the drift stays and the bias is drawn anew; over many scenes the mean bias
becomes known, and with it the drift. Drift counts from the start, when the rig file is right by definition.

Lengths are output pixels at an output width of 640; `unit` scales them. Roll and zoom go the same way as shifts do, as
what they do to a corner. Pure: time comes in as an argument.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from streamfuse.correct import Shift, length

SCENE_BIAS = 2.0  # standard deviation over registered scenes: MSRS 2.0, RoadScene 0.8 to 1.2; of turns 1.4 to 2.6
MEAN_BIAS = 4.0  # how far off a rig may be on its own
KINSHIP = 0.5  # share of the bias that neighbouring scenes have in common
LEAST_NOISE = 0.25
WANDER = 0.03  # of drift and of a scene's bias, px per root second: what is this slow cannot be told apart
ALERT_WANDER = 0.4  # of the drift, after a change was seen
ALERT_S = 10.0
GATE = 3.5  # standard deviations
TREND = 0.4  # share of the newest surprise in their running mean
TREND_STARTS = 4.0  # standard deviations of that mean
MOVES = 0.75  # px within ALERT_S: the drift goes on
MEMORY = 8  # estimates back, before a change began to be taken for bias
AGREE = 3  # estimates in a row that make a change of what would be an outlier alone
SETTLED = 6  # estimates that make the reference
SETTLED_S = 3.0
Matrix = NDArray[np.float64]
SEEN: Matrix = np.array([1.0, 0.0, 1.0])
"""A reading is the drift and the bias of the scene."""


class Belief:
    """Takes readings, knows the drift, (x, y) or (roll, zoom), and its standard deviation."""

    def __init__(self, unit: float = 1.0, least_noise: float = LEAST_NOISE) -> None:
        self._unit, self._least_noise = unit, least_noise
        self._state: Matrix = np.zeros((3, 2))
        self._covariance: Matrix = self._at_start()
        self._noise = deque([LEAST_NOISE] * 3, maxlen=20)
        self._last: Shift | None = None
        self._odd: list[Shift] = []
        self._odd_scenes: list[Shift] = []
        self._known = False
        self._trends: dict[bool, Shift] = {}
        self._biases: deque[Shift] = deque(maxlen=MEMORY)
        self._anchor: Shift = np.zeros(2)
        self._count = 0
        self._age_s = self._alert_s = 0.0

    @property
    def drift(self) -> Shift:
        return self._state[0] * self._unit

    @property
    def spread(self) -> float:
        """One standard deviation of the drift, per axis."""
        return float(self._covariance[0, 0]) ** 0.5 * self._unit

    @property
    def settled(self) -> bool:
        """Whether the reference stands; before that nothing is drift."""
        return self._count >= SETTLED and self._age_s >= SETTLED_S

    @property
    def alert(self) -> bool:
        """A change was seen within the last seconds."""
        return self._alert_s > 0

    def wait(self, seconds: float, *, new_scene: bool = False) -> None:
        """Time goes by."""
        self._age_s += seconds
        self._alert_s = max(0.0, self._alert_s - seconds)
        wander = ALERT_WANDER if self.alert else WANDER
        growth = np.diag([wander**2 * self.settled, 0.0, WANDER**2]) * seconds
        if new_scene:
            step = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1 - KINSHIP, KINSHIP]])
            self._state = step @ self._state
            self._covariance = step @ self._covariance @ np.transpose(step)
            growth[2, 2] += SCENE_BIAS**2 * (1 - KINSHIP**2)
            self._last, self._known = None, False
            self._trends.pop(True, None)
            self._biases.clear()
            self._odd.clear()
        self._covariance = self._covariance + growth

    def hear(self, shift: Shift) -> bool:
        """Take one trusted estimate in; False where it was put aside as odd."""
        shift = shift / self._unit
        self._learn_noise(shift)
        surprise = shift - self._state[0] - self._state[2]
        if length(surprise) <= GATE * np.sqrt(self._expected()):
            if not self._known:
                self._odd_scenes.clear()
            self._watch_trend(surprise)
        elif self._known:
            self._odd = [*self._odd[-AGREE + 1 :], surprise]
            if not _agree(self._odd, self._noise_variance()):
                return False
            self._start_alert(np.median(np.array(self._odd), axis=0))
        else:
            self._meet_odd_scene(surprise)
        self._odd.clear()
        self._take(shift)
        return True

    def _at_start(self) -> Matrix:
        covariance = np.zeros((3, 3))
        covariance[1:, 1:] = MEAN_BIAS**2
        covariance[2, 2] += SCENE_BIAS**2
        return covariance

    def _expected(self) -> float:
        """Variance of the next reading, per axis."""
        return float((SEEN @ self._covariance * SEEN).sum()) + self._noise_variance()

    def _noise_variance(self) -> float:
        return max(self._least_noise, float(np.median(self._noise))) ** 2

    def _learn_noise(self, shift: Shift) -> None:
        """From neighbours in time within one scene: their difference is noise, twice."""
        if self._last is not None:
            self._noise.append(min(2.0, length(shift - self._last) / 2))
        self._last = shift

    def _watch_trend(self, surprise: Shift) -> None:
        """Surprises that all point one way are a change, long before one of them is odd: within a scene a slow one,
        over the first estimates of many scenes one that nobody could see happen."""
        deviation = np.sqrt(self._expected())
        trend = (1 - TREND) * self._trends.get(self._known, np.zeros(2)) + TREND * surprise / deviation
        self._trends[self._known] = trend
        if not self.alert and length(trend) > TREND_STARTS * np.sqrt(TREND / (2 - TREND)):
            self._start_alert(trend * deviation)
        if self.alert and length(self._state[0] - self._anchor) > MOVES:
            self._anchor, self._alert_s = self._state[0], ALERT_S

    def _meet_odd_scene(self, surprise: Shift) -> None:
        """A scene whose very first estimate is far off has a bias of its own; so have not several in a row."""
        self._odd_scenes = [*self._odd_scenes[-AGREE + 1 :], surprise]
        if _agree(self._odd_scenes, self._noise_variance() + SCENE_BIAS**2):
            self._start_alert(np.median(np.array(self._odd_scenes), axis=0))
            self._odd_scenes.clear()
        else:
            self._covariance[2, 2] += float(surprise @ surprise)

    def _take(self, shift: Shift) -> None:
        gain: Matrix = (self._covariance * SEEN).sum(axis=1) / self._expected()
        surprise: Shift = shift - self._state[0] - self._state[2]
        self._state = self._state + gain[:, None] * surprise
        self._covariance = self._covariance - gain[:, None] * (SEEN @ self._covariance)
        self._biases.append(self._state[2])
        self._known = True
        self._count += 1

    def _start_alert(self, size: Shift) -> None:
        """The alignment has changed: before the reference stands, start over; after it, drift may be anything near."""
        if not self.settled:
            self._state, self._covariance, self._count = np.zeros((3, 2)), self._at_start(), 0
            return
        taken = self._state[2] - self._biases[0] if self._biases else np.zeros(2)
        self._state = self._state + np.array([taken, np.zeros(2), -taken])
        self._covariance[0, 0] += float(size @ size + taken @ taken)
        self._alert_s, self._anchor = ALERT_S, self._state[0]
        self._trends.clear()
        self._biases.clear()


def _agree(surprises: list[Shift], variance: float) -> bool:
    """Whether so many in a row tell of one and the same change."""
    if len(surprises) < AGREE:
        return False
    found = np.array(surprises)
    middle: Shift = np.median(found, axis=0)
    return max(length(each - middle) for each in surprises) <= GATE * np.sqrt(variance) + 0.5
