"""Engines give way to one another: never silently, never with a lost frame, and only where nobody named one."""

from __future__ import annotations

import logging
import sys
import time

import numpy as np
import pytest
from fusion_scenes import pair, rgb_frame, thermal_frame, warp

from streamfuse.errors import EngineError
from streamfuse.frames import WarpMap
from streamfuse.fuse import ladder, open_fuser
from streamfuse.fuse.ladder import Ladder, Rung
from streamfuse.thermal import ToneMapper

GEOMETRY = warp((31, 23), (45, 37))
CURVE = ToneMapper().update(np.zeros((2, 2), np.uint8), 0)
PIXELS = np.zeros((2, 2), np.uint8)


class Scripted:
    """Fails in the named verbs, else returns its own number."""

    def __init__(self, name: str, value: int, *fails: str) -> None:
        self.name, self.value, self.fails = name, value, set(fails)
        self.warps: list[WarpMap] = []
        self.closed = False

    def _verb(self, verb: str) -> np.ndarray:
        if verb in self.fails:
            raise RuntimeError(f"{verb} broke")
        return np.full(1, self.value)

    def set_warp(self, geometry: WarpMap) -> None:
        self._verb("set_warp")
        self.warps.append(geometry)

    def fuse(self, thermal, curve, rgb):
        return self._verb("fuse")

    def align(self, thermal, curve):
        return self._verb("align")

    def close(self) -> None:
        self.closed = True


def rung(engine: Scripted) -> Rung:
    def opened() -> Scripted:
        engine._verb("open")
        return engine

    return Rung(engine.name, opened)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_the_best_engine_that_loads_works_and_nothing_is_said(caplog) -> None:
    engines = Ladder([rung(Scripted("fast", 1)), rung(Scripted("slow", 2))])
    engines.set_warp(GEOMETRY)
    assert engines.fuse(PIXELS, CURVE, PIXELS) == 1
    assert engines.name == "fast"
    assert warnings(caplog) == []


def test_one_that_does_not_load_gives_way_and_says_why(caplog) -> None:
    engines = Ladder([rung(Scripted("fast", 1, "open")), rung(Scripted("slow", 2))])
    assert engines.name == "slow"
    assert warnings(caplog) == ["engine fast does not load: RuntimeError: open broke", "going on with engine slow"]


@pytest.mark.parametrize("verb", ["fuse", "align"])
def test_one_that_breaks_is_closed_and_its_frame_is_done_by_the_next(caplog, verb: str) -> None:
    fast, slow = Scripted("fast", 1, verb), Scripted("slow", 2)
    engines = Ladder([rung(fast), rung(slow)])
    engines.set_warp(GEOMETRY)
    done = engines.fuse(PIXELS, CURVE, PIXELS) if verb == "fuse" else engines.align(PIXELS, CURVE)
    assert done == 2
    assert (engines.name, fast.closed, slow.closed) == ("slow", True, False)
    assert slow.warps == [GEOMETRY]
    assert warnings(caplog) == [f"engine fast failed: RuntimeError: {verb} broke", "going on with engine slow"]


def test_a_map_that_an_engine_cannot_take_over_is_given_to_the_next() -> None:
    engines = Ladder([rung(Scripted("fast", 1, "set_warp")), rung(Scripted("slow", 2))])
    engines.set_warp(GEOMETRY)
    assert engines.name == "slow"


def test_a_rung_that_cannot_take_the_map_over_is_skipped() -> None:
    rungs = [Scripted("a", 1, "fuse"), Scripted("b", 2), Scripted("c", 3)]
    engines = Ladder([rung(engine) for engine in rungs])
    engines.set_warp(GEOMETRY)
    rungs[1].fails.add("set_warp")
    assert engines.fuse(PIXELS, CURVE, PIXELS) == 3


def test_when_no_engine_is_left_the_last_reason_is_told() -> None:
    with pytest.raises(EngineError, match="no engine is left: RuntimeError: open broke"):
        Ladder([rung(Scripted("fast", 1, "open")), rung(Scripted("slow", 2, "open"))])
    engines = Ladder([rung(Scripted("fast", 1, "fuse"))])
    with pytest.raises(EngineError, match="no engine is left: RuntimeError: fuse broke"):
        engines.fuse(PIXELS, CURVE, PIXELS)


def test_auto_is_the_compiled_engine_here_and_the_frame_says_so() -> None:
    with open_fuser(model="average") as fuser:
        fused = fuser.fuse(pair(thermal_frame((31, 23)), rgb_frame((45, 37)), GEOMETRY))
    assert fuser.engine == fused.engine == "openvino-fp32"


def test_without_openvino_auto_goes_on_with_eager_and_its_own_name_is_an_error(monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with open_fuser(model="average") as fuser:
        assert fuser.engine == "eager"
    assert "engine openvino does not load: EngineError: OpenVINO does not load here" in warnings(caplog)[0]
    with pytest.raises(EngineError, match=r"pip install 'streamfuse\[openvino\]'"):
        open_fuser(model="average", engine="openvino")


def test_an_engine_that_breaks_in_the_middle_loses_no_frame_and_no_second(monkeypatch, caplog) -> None:
    from streamfuse.fuse.openvino import OpenVinoEngine

    frames = [pair(thermal_frame((31, 23), k, seed=k), rgb_frame((45, 37), k, seed=k), GEOMETRY) for k in range(3)]
    with open_fuser(model="average", engine="eager") as plain:
        wanted = [plain.fuse(aligned).pixels for aligned in frames]
    with open_fuser(model="average") as fuser:
        outputs = [fuser.fuse(frames[0])]
        monkeypatch.setattr(OpenVinoEngine, "fuse", lambda *_: np.zeros(2)[5])
        started = time.monotonic()
        outputs += [fuser.fuse(aligned) for aligned in frames[1:]]
        assert time.monotonic() - started < 1
    assert [output.engine for output in outputs] == ["openvino-fp32", "eager", "eager"]
    assert [output.sequence for output in outputs] == [0, 1, 2]
    assert all(np.array_equal(output.pixels, right) for output, right in zip(outputs[1:], wanted[1:], strict=True))
    assert "engine openvino-fp32 failed: IndexError" in warnings(caplog)[0]


def test_an_engine_named_by_the_user_is_not_replaced(monkeypatch) -> None:
    from streamfuse.fuse.openvino import OpenVinoEngine

    monkeypatch.setattr(OpenVinoEngine, "fuse", lambda *_: np.zeros(2)[5])
    with open_fuser(model="average", engine="openvino") as fuser, pytest.raises(EngineError, match="another engine"):
        fuser.fuse(pair(thermal_frame((31, 23)), rgb_frame((45, 37)), GEOMETRY))


def test_the_ladder_logs_under_its_own_name() -> None:
    assert ladder.log.name == "streamfuse.fuse.ladder"
