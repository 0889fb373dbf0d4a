"""The lane through an accelerator and the inductor engine on it: values on the CPU, order over faked CUDA streams."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fusion_scenes import rgb_frame, street, thermal_frame, warp

from streamfuse.errors import EngineError, UserError
from streamfuse.fuse import inductor, lane_engine, streams
from streamfuse.fuse.eager import EagerEngine
from streamfuse.fuse.inductor import InductorEngine
from streamfuse.fuse.lane import Lane, Pipelined
from streamfuse.fuse.streams import CudaStreams, NoStreams
from streamfuse.models import build, untrained
from streamfuse.thermal import ToneMapper

THERMAL, RGB = thermal_frame((31, 23)).pixels, rgb_frame((45, 37)).pixels
CURVE = ToneMapper().update(THERMAL, 0)
GEOMETRY = warp((31, 23), (45, 37))


def engine(network=None, **options) -> InductorEngine:
    """On the CPU, with the graph as it was exported in place of a compiler's."""
    made = InductorEngine(network or build("average"), device="cpu", compiler=lambda module: module, **options)
    made.set_warp(GEOMETRY)
    return made


def eager(network=None, geometry=GEOMETRY) -> EagerEngine:
    made = EagerEngine(network or build("average"))
    made.set_warp(geometry)
    return made


def apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("bits", [8, 16])
def test_the_lane_gives_what_eager_gives(bits: int) -> None:
    thermal = thermal_frame((31, 23), bits=bits).pixels
    curve = ToneMapper().update(thermal, 0)
    fused = engine().fuse(thermal, curve, RGB)
    assert (fused.shape, fused.dtype) == ((37, 45, 3), np.uint8)
    assert apart(fused, eager().fuse(thermal, curve, RGB)) <= 1
    assert apart(engine().align(thermal, curve), eager().align(thermal, curve)) <= 1


def test_results_are_the_callers_and_follow_frame_curve_map_and_size() -> None:
    made, plain = engine(), eager()
    first = made.fuse(THERMAL, CURVE, RGB)
    kept = first.copy()
    darker = ToneMapper("linear").update(THERMAL // 2, 0)
    assert apart(made.fuse(THERMAL, darker, RGB), plain.fuse(THERMAL, darker, RGB)) <= 1
    assert np.array_equal(first, kept)
    for geometry in (warp((31, 23), (45, 37), tilt=-0.4, revision=1), warp((64, 48), (48, 40))):
        made.set_warp(geometry)
        plain.set_warp(geometry)
        thermal, rgb = thermal_frame(geometry.thermal_size).pixels, rgb_frame(geometry.grid.size).pixels
        assert apart(made.fuse(thermal, CURVE, rgb), plain.fuse(thermal, CURVE, rgb)) <= 1


def test_a_map_of_the_same_size_compiles_nothing() -> None:
    compiled = []
    made = InductorEngine(build("average"), device="cpu", compiler=lambda module: compiled.append(1) or module)
    for revision, size in enumerate(((45, 37), (45, 37), (48, 37))):
        made.set_warp(warp((31, 23), size, tilt=0.1 * revision, revision=revision))
    assert len(compiled) == 2


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_only_the_network_computes_in_half_precision(precision: str) -> None:
    network, aligned = untrained("streamfuse-s").eval(), street()
    thermal, rgb = aligned.frames.thermal.pixels, aligned.frames.rgb.pixels
    curve = ToneMapper().update(thermal, 0)
    made = InductorEngine(network, device="cpu", precision=precision, compiler=lambda module: module)
    made.set_warp(aligned.warp)
    assert made.name == f"inductor-{precision}"
    assert apart(made.fuse(thermal, curve, rgb), eager(network, aligned.warp).fuse(thermal, curve, rgb)) <= 5
    assert {each.dtype for each in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_network_that_was_given_stays_where_it_is(precision: str) -> None:
    """It serves the next rung: on a GPU this engine's copy moves away."""
    network = untrained("streamfuse-s").eval()
    made = engine(network, precision=precision)
    assert not {id(each) for each in network.parameters()} & {id(each) for each in made._network.parameters()}
    made._network.to("meta")
    assert {each.device.type for each in network.parameters()} == {"cpu"}


def test_the_compiled_graph_is_the_reference_on_this_cpu() -> None:
    if not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler")
    made = InductorEngine(build("average"), device="cpu")
    made.set_warp(GEOMETRY)
    assert made.name == "inductor-fp32"
    assert apart(made.fuse(THERMAL, CURVE, RGB), eager().fuse(THERMAL, CURVE, RGB)) <= 1


def test_double_buffering_gives_every_frame_once_and_in_order() -> None:
    made, plain = engine(slots=2), eager()
    pictures = [rgb_frame((45, 37), seed=seed).pixels for seed in range(5)]
    line: Pipelined = made.pipelined()
    out = [line.put(THERMAL, CURVE, rgb) for rgb in pictures]
    assert out[0] is None
    out = [*out[1:], line.take()]
    assert line.take() is None
    for given, rgb in zip(out, pictures, strict=True):
        assert given is not None
        assert apart(given, plain.fuse(THERMAL, CURVE, rgb)) <= 1


def test_without_a_gpu_it_says_what_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineError, match=r"engine inductor cannot run here: (this PyTorch is|PyTorch finds no)"):
        InductorEngine(build("average"))


def test_without_a_compiler_the_cpu_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EngineError, match=r"there is no C\+\+ compiler"):
        InductorEngine(build("average"), device="cpu")


def test_int8_is_not_offered() -> None:
    with pytest.raises(UserError, match="it offers: auto, fp32, fp16, bf16"):
        engine(precision="int8")


def test_a_full_gpu_says_what_to_lower(monkeypatch) -> None:
    def full(*_args, **_kinds):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lane_engine, "Lane", full)
    made = InductorEngine(build("average"), device="cpu", compiler=lambda module: module)
    with pytest.raises(EngineError, match=r"not enough memory for thermal 31x23 on output 45x37; .*lower output\.size"):
        made.set_warp(GEOMETRY)


def test_a_closed_engine_says_so() -> None:
    made = engine()
    made.close()
    with pytest.raises(EngineError, match="was closed"):
        made.fuse(THERMAL, CURVE, RGB)


class FakeCuda:
    """torch.cuda as far as we call it: writes down what is put on which stream, and runs it at once."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.names = iter("ucd")
        self.current = "host"

    def Stream(self) -> SimpleNamespace:  # noqa: N802
        name = next(self.names)
        return SimpleNamespace(
            name=name,
            cuda_stream=ord(name),
            wait_event=lambda event: self.told.append(f"{name} waits for {event.at}"),
            wait_stream=lambda other: self.told.append(f"{name} waits for stream {other.name}"),
            synchronize=lambda: self.told.append(f"host waits for stream {name}"),
        )

    def Event(self, *, enable_timing: bool) -> SimpleNamespace:  # noqa: N802
        event = SimpleNamespace(at="nothing")

        def record() -> None:
            event.at = self.current
            self.told.append(f"mark on {self.current}")

        event.record, event.elapsed_time = record, lambda other: 0.25
        event.synchronize = lambda: self.told.append(f"host waits for {event.at}")
        return event

    def current_stream(self) -> SimpleNamespace:
        return SimpleNamespace(name=self.current, cuda_stream=ord(self.current[0]))

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def CUDAGraph(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(replay=lambda: self.told.append(f"replay on {self.current}"))

    @contextmanager
    def graph(self, graph, *, stream, capture_error_mode):
        self.told.append(f"capture on {stream.name}, {capture_error_mode}")
        with self.stream(stream):
            yield

    def synchronize(self) -> None:
        self.told.append("host waits for all")


@pytest.fixture
def cuda(monkeypatch) -> FakeCuda:
    fake = FakeCuda()
    for name in ("Stream", "Event", "current_stream", "stream", "CUDAGraph", "graph", "synchronize"):
        assert hasattr(torch.cuda, name)
        monkeypatch.setattr(streams.torch.cuda, name, getattr(fake, name))
    monkeypatch.setattr(CudaStreams, "device", "cpu")
    monkeypatch.setattr(CudaStreams, "pinned", False)
    return fake


def test_upload_graph_and_download_wait_for_one_another_and_the_host_for_the_last(cuda: FakeCuda) -> None:
    calls = []
    static = torch.full((37, 45, 3), 7, dtype=torch.uint8)
    lane = Lane(((31, 23), (45, 37)), CudaStreams(), lambda inputs: lambda: calls.append(cuda.current) or static)
    assert calls == ["c"] * (streams.WARM_UP + 1)
    assert "capture on c, thread_local" in cuda.told
    assert cuda.told.index("host waits for stream c") < cuda.told.index("capture on c, thread_local")
    cuda.told.clear()
    lane.submit(lane.slots[0], THERMAL, CURVE, RGB)
    pixels = lane.result(lane.slots[0])
    assert cuda.told == [
        "mark on u",
        "mark on u",
        "c waits for u",
        "replay on c",
        "mark on c",
        "d waits for c",
        "mark on d",
        "host waits for d",
    ]
    assert (pixels == 7).all()
    assert len(calls) == streams.WARM_UP + 1
    assert lane.last_ms(lane.slots[0]) == {"upload": 0.25, "compute": 0.25, "download": 0.25}


def test_a_new_map_waits_until_nothing_is_under_way(cuda: FakeCuda) -> None:
    lane = Lane(((31, 23), (45, 37)), CudaStreams(), lambda inputs: lambda: torch.zeros(37, 45, 3, dtype=torch.uint8))
    cuda.told.clear()
    lane.set_warp(GEOMETRY)
    assert cuda.told == ["host waits for all", "host waits for all"]


def test_a_curve_goes_up_once_and_a_short_one_only_as_far_as_it_reaches() -> None:
    lane = Lane(
        ((31, 23), (45, 37)), NoStreams(), lambda inputs: lambda: torch.zeros(37, 45, 3, dtype=torch.uint8), slots=2
    )
    eight = ToneMapper().update(thermal_frame((31, 23), bits=8).pixels, 0)
    levels = []
    for slot, curve in ((0, CURVE), (0, CURVE), (1, CURVE), (0, eight)):
        lane.slots[slot].fill(THERMAL, curve, RGB)
        levels.append(lane.slots[slot].levels)
    assert levels == [65536, 0, 65536, 256]


def test_fp32_is_not_tf32(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    engine(precision="fp32")
    assert torch.backends.cudnn.allow_tf32 is False


def test_compiled_kernels_are_kept_with_the_other_engines(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("STREAMFUSE_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(torch, "compile", lambda module, **options: options)
    assert inductor.compiled(None) == {"fullgraph": True, "dynamic": False}
    assert inductor.os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "inductor")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
