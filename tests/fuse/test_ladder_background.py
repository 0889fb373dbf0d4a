"""Slow rungs: made ready in the background, swapped in between two frames, never in the way of one."""

from __future__ import annotations

import logging
import threading

import pytest
from fusion_scenes import pair, rgb_frame, thermal_frame, warp
from test_ladder import CURVE, GEOMETRY, PIXELS, Scripted, warnings

from streamfuse.errors import UserError
from streamfuse.fuse import open_fuser, rungs
from streamfuse.fuse.ladder import Ladder, Pace, Rung

OTHER_SIZE = warp((31, 23), (48, 40))
TURNED = warp((31, 23), (45, 37), tilt=0.3, revision=1)
ENDS = 10.0


class Slow(Scripted):
    """Takes until `go` is set to accept a map."""

    def __init__(self, name: str, value: int, *fails: str) -> None:
        super().__init__(name, value, *fails)
        self.go = threading.Event()
        self.threads: list[str] = []

    def set_warp(self, geometry) -> None:
        self.threads.append(threading.current_thread().name)
        assert self.go.wait(ENDS)
        super().set_warp(geometry)

    def close(self) -> None:
        super().close()
        self.go.set()


class Workshop:
    """Rungs over engines that are opened anew each time; `opened` has them all, in order."""

    def __init__(self) -> None:
        self.opened: list[Scripted] = []

    def rung(self, make, pace: Pace) -> Rung:
        def opened():
            engine = make()
            self.opened.append(engine)
            return engine

        return Rung(make().name, opened, lambda _: pace)

    def latest(self, name: str):
        return [engine for engine in self.opened if engine.name == name][-1]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


def best(*fails: str):
    return lambda: Slow("best", 1, *fails)


def plain(name: str, value: int, *fails: str):
    return lambda: Scripted(name, value, *fails)


def fuse(ladder: Ladder) -> int:
    return int(ladder.fuse(PIXELS, CURVE, PIXELS)[0])


def finished(ladder: Ladder) -> None:
    assert ladder._coming is not None
    ladder._coming._thread.join(ENDS)
    assert ladder._coming.finished


def test_while_a_build_takes_minutes_the_next_serves_and_then_gives_way(workshop, caplog) -> None:
    ladder = Ladder([workshop.rung(best(), Pace.MINUTES), workshop.rung(plain("good", 2), Pace.SECONDS)])
    ladder.set_warp(GEOMETRY)
    assert (ladder.name, fuse(ladder), fuse(ladder)) == ("good", 2, 2)
    workshop.latest("best").go.set()
    finished(ladder)
    assert ladder.name == "good"
    assert (fuse(ladder), ladder.name) == (1, "best")
    assert workshop.latest("best").threads == ["make-best"]
    assert workshop.latest("good").closed
    assert "engine best is ready and takes over" in warnings(caplog)


def test_a_map_that_changed_meanwhile_is_taken_over(workshop) -> None:
    ladder = Ladder([workshop.rung(best(), Pace.MINUTES), workshop.rung(plain("good", 2), Pace.INSTANT)])
    ladder.set_warp(GEOMETRY)
    ladder.set_warp(TURNED)
    workshop.latest("best").go.set()
    finished(ladder)
    fuse(ladder)
    assert workshop.latest("best").warps == [GEOMETRY, TURNED]


def test_one_made_for_sizes_that_are_gone_is_made_again(workshop) -> None:
    ladder = Ladder([workshop.rung(best(), Pace.MINUTES), workshop.rung(plain("good", 2), Pace.INSTANT)])
    ladder.set_warp(GEOMETRY)
    first = workshop.latest("best")
    ladder.set_warp(OTHER_SIZE)
    first.go.set()
    finished(ladder)
    assert fuse(ladder) == 2
    assert first.closed
    workshop.latest("best").go.set()
    finished(ladder)
    assert fuse(ladder) == 1
    assert workshop.latest("best").warps == [OTHER_SIZE]


def test_a_build_that_fails_is_said_and_the_next_better_one_is_tried(workshop, caplog) -> None:
    ladder = Ladder(
        [
            workshop.rung(best("set_warp"), Pace.MINUTES),
            workshop.rung(lambda: Slow("middle", 2), Pace.MINUTES),
            workshop.rung(plain("good", 3), Pace.INSTANT),
        ]
    )
    ladder.set_warp(GEOMETRY)
    workshop.latest("best").go.set()
    finished(ladder)
    assert fuse(ladder) == 3
    workshop.latest("middle").go.set()
    finished(ladder)
    assert fuse(ladder) == 2
    assert "engine best does not load: RuntimeError: set_warp broke" in warnings(caplog)


def test_one_that_breaks_at_work_gives_way_to_one_that_is_there_at_once(workshop) -> None:
    ladder = Ladder(
        [
            workshop.rung(plain("best", 1), Pace.SECONDS),
            workshop.rung(lambda: Slow("compiled", 2), Pace.SECONDS),
            workshop.rung(plain("plain", 3), Pace.INSTANT),
        ]
    )
    ladder.set_warp(GEOMETRY)
    assert fuse(ladder) == 1
    workshop.latest("best").fails.add("fuse")
    assert (fuse(ladder), ladder.name) == (3, "plain")
    workshop.latest("compiled").go.set()
    finished(ladder)
    assert (fuse(ladder), ladder.name) == (2, "compiled")
    workshop.latest("compiled").fails.add("fuse")
    assert fuse(ladder) == 3
    assert [engine.name for engine in workshop.opened].count("best") == 1


def test_before_the_first_frame_seconds_are_waited_for(workshop) -> None:
    ladder = Ladder(
        [workshop.rung(plain("best", 1, "open"), Pace.SECONDS), workshop.rung(plain("good", 2), Pace.SECONDS)]
    )
    ladder.set_warp(GEOMETRY)
    assert ladder._coming is None
    assert (fuse(ladder), ladder.name) == (1, "best")


def test_where_nothing_else_is_left_minutes_are_waited_for(workshop) -> None:
    ladder = Ladder([workshop.rung(plain("only", 1), Pace.MINUTES)])
    ladder.set_warp(GEOMETRY)
    assert fuse(ladder) == 1


def test_closing_ends_what_is_under_way(workshop) -> None:
    ladder = Ladder([workshop.rung(best(), Pace.MINUTES), workshop.rung(plain("good", 2), Pace.INSTANT)])
    ladder.set_warp(GEOMETRY)
    coming = ladder._coming
    ladder.close()
    assert coming is not None
    coming._thread.join(ENDS)
    assert coming.finished
    assert workshop.latest("best").closed
    assert workshop.latest("good").closed


def test_frames_go_on_through_a_fuser_and_each_says_its_engine(monkeypatch, workshop) -> None:
    from streamfuse.fuse.eager import EagerEngine
    from streamfuse.models import build

    class Twin(EagerEngine):
        name = "twin"
        go = threading.Event()

        def set_warp(self, warp) -> None:
            assert self.go.wait(ENDS)
            super().set_warp(warp)

    ladder_rungs = {
        "tensorrt": Rung("tensorrt", lambda: Twin(build("average")), lambda _: Pace.MINUTES),
        "eager": Rung("eager", lambda: EagerEngine(build("average"))),
    }
    monkeypatch.setattr("streamfuse.fuse.existing", lambda _: tuple(ladder_rungs))
    monkeypatch.setattr("streamfuse.fuse.rung", lambda name, *_: ladder_rungs[name])
    frames = [pair(thermal_frame((31, 23), k), rgb_frame((45, 37), k), GEOMETRY) for k in range(3)]
    with open_fuser(model="average") as fuser:
        outputs = [fuser.fuse(frames[0])]
        Twin.go.set()
        finished(fuser._engine)
        outputs += [fuser.fuse(each) for each in frames[1:]]
    assert [each.engine for each in outputs] == ["eager", "twin", "twin"]
    assert [each.sequence for each in outputs] == [0, 1, 2]


def test_auto_knows_only_what_can_exist_and_warns_of_nothing_else(monkeypatch, caplog) -> None:
    monkeypatch.setattr(rungs, "lacks", lambda name: "this PyTorch is a CPU build" if name in GPU else "")
    caplog.set_level(logging.DEBUG, "streamfuse.fuse.rungs")
    assert rungs.existing() == ("openvino", "eager")
    assert "engine tensorrt: unavailable, this PyTorch is a CPU build" in caplog.text
    assert warnings(caplog) == []
    monkeypatch.setattr(rungs, "lacks", lambda name: "")
    assert rungs.existing() == rungs.ENGINES
    assert rungs.existing("fp16") == ("tensorrt", "inductor", "eager")


GPU = {"tensorrt", "inductor"}


def test_a_precision_that_nothing_here_computes_in_says_why(monkeypatch) -> None:
    monkeypatch.setattr(rungs, "lacks", lambda name: "no GPU" if name in GPU else "")
    with pytest.raises(UserError, match=r"fp16 was asked for.*\(tensorrt: no GPU; inductor: no GPU\)"):
        open_fuser(model="average", precision="fp16")


@pytest.mark.parametrize(
    ("engine", "precision", "said"),
    [
        ("eager", "fp16", "engine eager does not compute in fp16; it offers: auto, fp32"),
        ("openvino", "fp16", "engine openvino does not compute in fp16"),
        ("inductor", "int8", "engine inductor does not compute in int8; it offers: auto, fp32, fp16, bf16"),
        ("tensort", "auto", "engine 'tensort' is unknown; the engines are: auto, tensorrt, inductor, openvino, eager"),
        ("auto", "fp8", "precision 'fp8' is unknown; allowed: auto, fp32, bf16, fp16, int8"),
    ],
)
def test_what_does_not_go_together_is_a_users_error(engine: str, precision: str, said: str) -> None:
    with pytest.raises(UserError) as told:
        open_fuser(model="average", engine=engine, precision=precision)
    assert str(told.value).startswith(said)


def test_the_pace_of_tensorrt_is_whether_its_file_exists(monkeypatch, tmp_path) -> None:
    from test_tensorrt import installed

    from streamfuse.fuse.streams import NoStreams
    from streamfuse.fuse.tensorrt import TensorRtEngine
    from streamfuse.models import build

    installed(monkeypatch, "10.15.1")

    def opened() -> TensorRtEngine:
        return TensorRtEngine(build("average"), cache=tmp_path, streams=NoStreams())

    assert rungs._tensorrt_pace(opened, GEOMETRY) is Pace.MINUTES
    opened().file((GEOMETRY.thermal_size, GEOMETRY.grid.size)).write(b"built")
    assert rungs._tensorrt_pace(opened, GEOMETRY) is Pace.SECONDS
    assert rungs._tensorrt_pace(opened, OTHER_SIZE) is Pace.MINUTES
