"""The guide at the cameras (or a recording): the newest pair is looked at, what the guide accepts is saved.

Nothing waits for detection: pairs that come meanwhile are passed over. Of a recording, one pair for each `STEP_S` of
its own time is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from streamfuse.assemble import Cameras, open_cameras, open_intake, open_matcher, open_rig
from streamfuse.calibrate.detect.eye import Eye
from streamfuse.calibrate.guide import CAMERAS, Advice, Guide
from streamfuse.calibrate.target import Target
from streamfuse.calibrate.views import View
from streamfuse.capture import Capture, InOrder, Item, StreamEnd
from streamfuse.clock import now_ns
from streamfuse.config import RunConfig, resolve
from streamfuse.errors import StreamfuseError, UserError
from streamfuse.frames import Frame, FramePair
from streamfuse.sources import SourceChange, SourceState
from streamfuse.sync import Outcome, PairMatcher

STEP_S = 0.2
FROZEN_S = 2.0  # longer than a thermal camera's shutter is closed
FOLDERS = ("thermal", "rgb")  # as `detect.pairs` finds them inside one folder


@dataclass(slots=True)
class Session:
    """What came of it: the guide, how many pairs were looked at and saved, what broke if something did, what is said
    while a camera shows one picture, and the newest advice."""

    guide: Guide
    eyes: tuple[Eye, Eye]
    looked: int = 0
    saved: int = 0
    failed: str = ""
    frozen: str = ""
    advice: Advice = field(default_factory=lambda: Advice("unseen", ""))


def guide_run(
    config: RunConfig,
    target: Target,
    out: Path,
    *,
    told: Callable[[Guide, Advice], None] = lambda _guide, _advice: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Session:
    """Guide through the poses until they are complete, the streams end, or `stopped`; `told` hears each advice.

    Writes `thermal/pose_001.png` (counts as they come) and `rgb/pose_001.png` into `out`. Raises UserError: `out` holds
    pictures already, or a camera does not open; one that fails later ends the session, and what was saved stays.
    """
    _make(out)
    session = Session(Guide(target), (Eye(target), Eye(target)))
    cameras = open_cameras(config)
    with open_intake(config, cameras) as intake:
        try:
            given: FramePair | None = None
            for pair in _newest(intake, _matcher(config, cameras), cameras, stopped):
                if given is not None and (frozen := _frozen(pair, given)):
                    _wait(session, frozen, _seconds(pair, given), told)
                    continue
                given, session.frozen = pair, ""
                _look(session, pair, out, told)
                if session.guide.finished:
                    break
        except StreamfuseError as failure:
            session.failed = str(failure)
    return session


def _wait(session: Session, frozen: list[str], seconds: float, told: Callable[[Guide, Advice], None]) -> None:
    """A camera shows the very same picture again: nothing to look at, and nobody may wonder why."""
    if seconds < FROZEN_S or session.frozen:
        return
    session.frozen = (
        f"{' and '.join(frozen)} showed one and the same picture for {FROZEN_S:g} s or more, so there is nothing to "
        "look at: a closed shutter, a stuck stream, a test pattern?"
    )
    told(session.guide, replace(session.advice, state="frozen", say=session.frozen))


def _look(session: Session, pair: FramePair, out: Path, told: Callable[[Guide, Advice], None]) -> None:
    thermal, rgb = (eye.look(frame.pixels) for eye, frame in zip(session.eyes, (pair.thermal, pair.rgb), strict=True))
    name = f"pose_{session.saved + 1:03d}"
    in_part = any(look.part and not look.sighting for look in (thermal, rgb))
    session.advice = advice = session.guide.see(
        View(name, thermal.sighting, rgb.sighting), thermal.other_size or rgb.other_size, in_part
    )
    session.looked += 1
    if advice.accepted:
        _save(out, name, pair)
        session.saved += 1
    told(session.guide, advice)


def _newest(
    intake: Capture | InOrder, matcher: PairMatcher, cameras: Cameras, stopped: Callable[[], bool]
) -> Iterator[FramePair]:
    """The newest pair whenever one is asked for; of a recording, one for each `STEP_S`."""
    newest: FramePair | None = None
    given: FramePair | None = None
    for item in intake:
        if stopped():
            return
        for outcome in _leaving(matcher, item, cameras.paced):
            newest = outcome if isinstance(outcome, FramePair) else newest
        # live: nothing more waits; a recording: its own time
        if newest is None or (item is not None if cameras.paced else not _due(newest, given)):
            continue
        yield newest
        given, newest = newest, None


def _leaving(matcher: PairMatcher, item: Item | None, paced: bool) -> list[Outcome]:
    match item:
        case Frame():
            return matcher.push(item)
        case StreamEnd():
            return matcher.end(item.modality)
        case SourceChange():
            gone = item.state in (SourceState.STALLED, SourceState.FAILED)
            return matcher.end(item.modality) if gone else []
        case None:
            return matcher.advance(now_ns()) if paced else []
        case _:
            return []


def _due(pair: FramePair, given: FramePair | None) -> bool:
    return given is None or _seconds(pair, given) >= STEP_S


def _seconds(pair: FramePair, given: FramePair) -> float:
    return abs(pair.rgb.capture_ns - given.rgb.capture_ns) / 1e9


def _frozen(pair: FramePair, given: FramePair) -> list[str]:
    """Which cameras show the very same picture in both pairs. (A thermal camera does while its shutter is closed: the
    target would seem to stand still.)"""
    alike = (
        np.array_equal(now.pixels, before.pixels)
        for now, before in ((pair.thermal, given.thermal), (pair.rgb, given.rgb))
    )
    return [name for name, same in zip(CAMERAS, alike, strict=True) if same]


def _matcher(config: RunConfig, cameras: Cameras) -> PairMatcher:
    """With the delay of the run's rig; the rig may be yet to come."""
    if config.rig and not resolve(config, config.rig).exists():
        config = config.model_copy(update={"rig": None})
    return open_matcher(config.match, open_rig(config, cameras), cameras.thermal.info, cameras.rgb.info)


def _make(out: Path) -> None:
    for folder in FOLDERS:
        try:
            (out / folder).mkdir(parents=True, exist_ok=True)
            held = any((out / folder).iterdir())
        except OSError as error:
            raise UserError(f"{out / folder}: cannot be made: {error.strerror}; name another folder (--out)") from error
        if held:
            raise UserError(f"{out / folder} holds pictures already; name another folder (--out) or empty it")


def _save(out: Path, name: str, pair: FramePair) -> None:
    pictures = pair.thermal.pixels, np.ascontiguousarray(pair.rgb.pixels[:, :, ::-1])
    for folder, picture in zip(FOLDERS, pictures, strict=True):
        file = out / folder / f"{name}.png"
        if not cv2.imwrite(str(file), picture):
            raise UserError(f"{file}: cannot be written; free space there or name another folder (--out)")
