"""All engines that run on this machine against the eager one: real pairs, borders, extreme values, steady memory.

What eager computes is itself held to plain float64 arithmetic in test_engines.py. ONNX Runtime takes part as one more
reader of the exported graph.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from fusion_scenes import pair, rgb_frame, street, thermal_frame, warp
from parity import SSIM, benchmark_pairs, needs_data, similarity
from torch import nn
from torch.export import Dim

from streamfuse.frames import AlignedPair, Pixels, WarpMap
from streamfuse.fuse import Engine
from streamfuse.fuse.available import inductor_lacks, lacks
from streamfuse.fuse.eager import EagerEngine
from streamfuse.fuse.planar import Buffers, PlanarGraph
from streamfuse.models import build, untrained
from streamfuse.thermal import ToneCurve, ToneMapper

MODELS = ("laplacian", "streamfuse-s")
BORDER = 12
PAGE = 4096


class OnnxRuntime:
    """An Engine over the exported file."""

    name = "onnxruntime"

    def __init__(self, network: nn.Module, folder: Path) -> None:
        from streamfuse.fuse.onnx_export import export_onnx

        self.path = folder / "graph.onnx"
        export_onnx(network, thermal_size=(64, 48), output_size=(64, 48), path=self.path, dynamic=True)

    def set_warp(self, warp: WarpMap) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(self.path), options)
        self.buffers = Buffers.of(warp.thermal_size, warp.grid.size)
        self.buffers.set_warp(warp)

    def fuse(self, thermal: Pixels, curve: ToneCurve, rgb: Pixels) -> Pixels:
        self.buffers.set_thermal(thermal)
        self.buffers.set_curve(curve)
        self.buffers.set_rgb(rgb)
        return self.session.run(None, dict(self.buffers.fusion))[0][0].transpose(1, 2, 0)


@dataclass(frozen=True)
class Variant:
    """An engine in one precision: the largest and the mean error in grey levels; why it does not run here, if so."""

    open: Callable[[nn.Module, Path], Engine]
    largest: int
    mean: float
    lack: str = ""


def openvino(precision: str) -> Callable[[nn.Module, Path], Engine]:
    def opened(network: nn.Module, cache: Path) -> Engine:
        from streamfuse.fuse.openvino import OpenVinoEngine

        return OpenVinoEngine(network, precision=precision, cache=cache)

    return opened


def inductor(precision: str, device: str) -> Callable[[nn.Module, Path], Engine]:
    def opened(network: nn.Module, cache: Path) -> Engine:
        from streamfuse.fuse.inductor import InductorEngine

        return InductorEngine(network, precision=precision, device=device)

    return opened


def tensorrt(precision: str) -> Callable[[nn.Module, Path], Engine]:
    def opened(network: nn.Module, cache: Path) -> Engine:
        from streamfuse.fuse.tensorrt import TensorRtEngine

        return TensorRtEngine(network, precision=precision, cache=cache)

    return opened


def missing(*modules: str) -> str:
    absent = [module for module in modules if not find_spec(module)]
    return f"{', '.join(absent)} not installed" if absent else ""


VARIANTS = {
    "onnxruntime": Variant(OnnxRuntime, 1, 0.01, missing("onnx", "onnxruntime")),  # type: ignore[arg-type]
    "openvino-fp32": Variant(openvino("fp32"), 1, 0.01, missing("openvino")),
    "openvino-bf16": Variant(openvino("bf16"), 8, 1.0, missing("openvino")),
    "openvino-int8": Variant(openvino("int8"), 24, 2.0, missing("openvino", "nncf")),
    "inductor-cuda-fp32": Variant(inductor("fp32", "cuda"), 1, 0.01, lacks("inductor")),
    "inductor-cuda-fp16": Variant(inductor("fp16", "cuda"), 4, 0.5, lacks("inductor")),
    "inductor-cuda-bf16": Variant(inductor("bf16", "cuda"), 8, 1.0, lacks("inductor")),
    "tensorrt-fp32": Variant(tensorrt("fp32"), 1, 0.01, lacks("tensorrt")),
    "tensorrt-fp16": Variant(tensorrt("fp16"), 4, 0.5, lacks("tensorrt")),
}
COMPILED_ON_CPU = {
    "inductor-cpu-fp32": Variant(inductor("fp32", "cpu"), 1, 0.01, inductor_lacks("cpu")),
    "inductor-cpu-bf16": Variant(inductor("bf16", "cpu"), 8, 1.0, inductor_lacks("cpu")),
}


def network(model: str) -> nn.Module:
    torch.manual_seed(3)
    return untrained(model).eval().requires_grad_(False)


def skipped_where_it_lacks(variant: Variant) -> None:
    if variant.lack:
        pytest.skip(variant.lack)


def both(one: Engine, other: Engine, aligned: AlignedPair, tone: str = "auto") -> tuple[Pixels, Pixels]:
    thermal, rgb = aligned.frames.thermal, aligned.frames.rgb
    assert thermal is not None
    assert rgb is not None
    curve = ToneMapper(tone).update(thermal.pixels, 0)
    images = []
    for engine in (one, other):
        engine.set_warp(aligned.warp)
        images.append(engine.fuse(thermal.pixels, curve, rgb.pixels))
    return images[0], images[1]


def assert_close(variant: Variant, fused: Pixels, wanted: Pixels) -> None:
    assert fused.shape == wanted.shape
    off = np.abs(fused.astype(int) - wanted)
    assert off.max() <= variant.largest
    assert off.mean() <= variant.mean


def assert_parity(variant: Variant, model: str, cache: Path) -> None:
    exact, engine = EagerEngine(network(model)), variant.open(network(model), cache)
    fused, wanted = both(engine, exact, street())
    assert_close(variant, fused, wanted)
    assert similarity(fused, wanted) >= SSIM
    for thermal, rgb in ((0, 0), (65535, 255), (0, 255), (65535, 0)):
        aligned = pair(thermal_frame((160, 128)), rgb_frame((120, 96)), warp((160, 128), (120, 96), scale=1.2))
        aligned.frames.thermal.pixels[:] = thermal
        aligned.frames.rgb.pixels[:] = rgb
        assert_close(variant, *both(engine, exact, aligned, "linear"))


CASES = [(name, model) for name in VARIANTS for model in MODELS if model == "streamfuse-s" or "32" in name]
"""Without convolutions there is nothing that computes in bf16 or int8."""


@pytest.mark.parametrize(("name", "model"), [*CASES, ("onnxruntime", "laplacian")])
def test_pictures_and_extreme_values_come_out_alike(name: str, model: str, tmp_path) -> None:
    skipped_where_it_lacks(VARIANTS[name])
    assert_parity(VARIANTS[name], model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED_ON_CPU)
def test_the_compiled_graph_on_a_cpu_gives_the_same(name: str, tmp_path) -> None:
    skipped_where_it_lacks(COMPILED_ON_CPU[name])
    assert_parity(COMPILED_ON_CPU[name], "streamfuse-s", tmp_path)


@needs_data
@pytest.mark.parametrize(
    ("name", "model"), [*((name, "streamfuse-s") for name in VARIANTS), ("openvino-int8", "streamfuse-q")]
)
def test_real_pairs_look_the_same_up_to_their_borders(name: str, model: str, tmp_path) -> None:
    """With the weights that ship: what a quantised network costs hangs on them."""
    variant = VARIANTS[name]
    skipped_where_it_lacks(variant)
    exact, engine = EagerEngine(build(model)), variant.open(build(model), tmp_path)
    for data in ("MSRS", "RoadScene", "TNO"):
        for aligned in benchmark_pairs(data, (320, 240), 2):
            fused, wanted = both(engine, exact, aligned)
            assert_close(variant, fused, wanted)
            assert similarity(fused, wanted) >= SSIM
            for rim in np.s_[:BORDER], np.s_[-BORDER:], np.s_[:, :BORDER], np.s_[:, -BORDER:]:
                assert_close(variant, fused[rim], wanted[rim])


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def grown(engine: Engine, frames: int) -> int:
    """Bytes of memory more after so many frames than after the first tenth of them, if it had grown all the while as it
    did in its better half: a leak grows in both, what else happens in this process comes once.
    """
    geometry = warp((160, 128), (160, 128))
    engine.set_warp(geometry)
    inputs = [(thermal_frame((160, 128), seed=k).pixels, rgb_frame((160, 128), seed=k).pixels) for k in range(4)]
    tone, held = ToneMapper(), list[int]()
    for index in range(frames + 1):
        if index in (frames // 10, frames * 11 // 20, frames):
            gc.collect()
            held.append(resident())
        thermal, rgb = inputs[index % len(inputs)]
        engine.fuse(thermal, tone.update(thermal, index * 40_000_000), rgb)
    return 2 * min(held[1] - held[0], held[2] - held[1])


ON_LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts resident memory as Linux does")


@ON_LINUX
@pytest.mark.parametrize("name", ["eager", "openvino-fp32", "openvino-bf16"])
def test_memory_stays_where_it_is(name: str, tmp_path) -> None:
    """A leak of one output a frame would be 33 MB."""
    engine = EagerEngine(network("average")) if name == "eager" else VARIANTS[name].open(network("average"), tmp_path)
    assert grown(engine, 600) < 6_000_000


@ON_LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model"),
    [*((name, "average") for name in ("eager", *VARIANTS)), ("openvino-bf16", "streamfuse-s")],
)
def test_memory_stays_where_it_is_over_ten_thousand_frames(name: str, model: str, tmp_path) -> None:
    """`pytest -s` shows by how much it grew."""
    if name != "eager":
        skipped_where_it_lacks(VARIANTS[name])
    opened = EagerEngine(build(model)) if name == "eager" else VARIANTS[name].open(build(model), tmp_path)
    more = grown(opened, 10_000)
    print(f"{more} bytes more, 9000 frames at the better half's pace")
    assert more < 6_000_000


OPEN = (
    {2: Dim.DYNAMIC, 3: Dim.DYNAMIC},
    None,
    {1: Dim.DYNAMIC, 2: Dim.DYNAMIC},
    {2: Dim.DYNAMIC, 3: Dim.DYNAMIC},
    {2: Dim.DYNAMIC, 3: Dim.DYNAMIC},
)
ANY = [((48, 64), (64, 80)), ((31, 23), (45, 37)), ((97, 50), (33, 129))]
WHOLE_BLOCKS = [((48, 64), (64, 80)), ((31, 23), (96, 48)), ((97, 50), (160, 128))]


@pytest.mark.parametrize(
    ("model", "others"), [("average", ANY), ("residual-dense-s", ANY), ("streamfuse-s", WHOLE_BLOCKS)]
)
def test_torch_export_leaves_sizes_open(model: str, others) -> None:
    """streamfuse-s, exported at whole blocks of 16, serves whole blocks of 16."""
    graph = PlanarGraph(network(model)).eval()
    example = tuple(torch.from_numpy(array) for array in Buffers.of((64, 48), (80, 64)).fusion.values())
    with torch.no_grad():
        program = torch.export.export(graph, example, dynamic_shapes=OPEN).module()
    for thermal, output in others:
        buffers = Buffers.of(thermal, output)
        buffers.set_warp(warp(thermal, output))
        buffers.set_thermal(thermal_frame(thermal).pixels)
        buffers.set_curve(ToneMapper().update(buffers.thermal["counts"][0, 0].astype(np.uint16), 0))
        buffers.set_rgb(rgb_frame(output).pixels)
        inputs = [torch.from_numpy(array) for array in buffers.fusion.values()]
        with torch.inference_mode():
            assert torch.equal(program(*inputs), graph(*inputs))


@pytest.mark.parametrize("model", MODELS)
def test_before_rounding_onnx_runtime_and_openvino_are_within_1e_4(model: str, tmp_path, monkeypatch) -> None:
    from streamfuse.fuse import onnx_export
    from streamfuse.fuse.openvino import converted, load_openvino, settings

    runtime = pytest.importorskip("onnxruntime", reason="pip install 'streamfuse[onnx]'")

    class Unrounded(PlanarGraph):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.mix(*inputs)

    graph, buffers = Unrounded(network(model)).eval(), Buffers.of((31, 23), (45, 37))
    thermal = thermal_frame((31, 23)).pixels
    buffers.set_warp(warp((31, 23), (45, 37), scale=0.7))
    buffers.set_thermal(thermal)
    buffers.set_curve(ToneMapper("percentile").update(thermal, 0))
    buffers.set_rgb(rgb_frame((45, 37)).pixels)
    with torch.inference_mode():
        wanted = graph(*(torch.from_numpy(array) for array in buffers.fusion.values())).numpy()

    monkeypatch.setattr(onnx_export, "PlanarGraph", Unrounded)
    path = tmp_path / "unrounded.onnx"
    onnx_export.export_onnx(network(model), thermal_size=(64, 48), output_size=(80, 64), path=path, dynamic=True)
    library = load_openvino()
    compiled = library.Core().compile_model(converted(graph, buffers.fusion), "CPU", settings(1, "fp32"))
    for mixed in (
        runtime.InferenceSession(str(path)).run(None, dict(buffers.fusion))[0],
        compiled(list(buffers.fusion.values()))[0],
    ):
        assert np.abs(mixed - wanted).max() / 255 <= 1e-4
