"""The TensorRT engine over a fake of its interface: what is built when, what is refused, what lies where."""

from __future__ import annotations

import gc
import inspect
import logging
import re
import sys
import threading
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import fake_tensorrt
import numpy as np
import onnx
import pytest
import torch
from fusion_scenes import rgb_frame, thermal_frame, warp

from streamfuse.errors import EngineError, UserError
from streamfuse.fuse import open_fuser
from streamfuse.fuse.eager import EagerEngine
from streamfuse.fuse.engine_files import hash_of_weights
from streamfuse.fuse.lane import Geometry, Inputs
from streamfuse.fuse.onnx_export import export_onnx
from streamfuse.fuse.planar import Buffers
from streamfuse.fuse.streams import NoStreams
from streamfuse.fuse.tensorrt import TensorRtEngine, bound_work, onnx_parser, torch_tensorrt
from streamfuse.fuse.tensorrt.library import load_tensorrt
from streamfuse.fuse.tensorrt.runner import Runner
from streamfuse.models import build, untrained
from streamfuse.thermal import ToneMapper

THERMAL, RGB = thermal_frame((32, 24)).pixels, rgb_frame((48, 40)).pixels
CURVE = ToneMapper().update(THERMAL, 0)
GEOMETRY = warp((32, 24), (48, 40))
SIZES = ((32, 24), (48, 40))


@pytest.fixture
def library(monkeypatch):
    """TensorRT 10.15, faked, and no torch-tensorrt."""
    return installed(monkeypatch, "10.15.1")


EXPORTED: dict[tuple[str, ...], bytes] = {}


def export_once(network, *, thermal_size, output_size, path, opset) -> None:
    """The real exporter's file, which takes seconds, once for each graph."""
    key = (str(network), hash_of_weights(network), str((thermal_size, output_size)))
    if key not in EXPORTED:
        real = export_onnx(network, thermal_size=thermal_size, output_size=output_size, path=path, opset=opset)
        EXPORTED[key] = real.read_bytes()
    path.write_bytes(EXPORTED[key])


def installed(monkeypatch, version: str) -> SimpleNamespace:
    monkeypatch.setattr(onnx_parser, "export_onnx", export_once)
    fake = fake_tensorrt.fake(version)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    return fake


def engine(cache, model: str = "average", **options) -> TensorRtEngine:
    return TensorRtEngine(build(model), cache=cache, streams=NoStreams(), **options)


def started(cache, model: str = "average", **options) -> TensorRtEngine:
    made = engine(cache, model, **options)
    made.set_warp(GEOMETRY)
    return made


def fused(made: TensorRtEngine) -> np.ndarray:
    return made.fuse(THERMAL, CURVE, RGB)


def right(model: str = "average", geometry=GEOMETRY) -> np.ndarray:
    plain = EagerEngine(build(model))
    plain.set_warp(geometry)
    return plain.fuse(THERMAL, CURVE, RGB)


def builds() -> int:
    return len(fake_tensorrt.Builder.built)


@pytest.mark.parametrize("model", ["average", "laplacian"])
def test_it_gives_what_eager_gives(library, tmp_path, model: str) -> None:
    made = started(tmp_path, model, precision="fp32")
    assert made.name == "tensorrt-fp32"
    assert np.abs(fused(made).astype(int) - right(model)).max() <= 1
    turned = warp(*SIZES, tilt=-0.3, revision=1)
    made.set_warp(turned)
    assert np.abs(fused(made).astype(int) - right(model, turned)).max() <= 1
    assert builds() == 1


def test_half_precision_stands_in_the_graph_and_differs_by_little(library, tmp_path) -> None:
    made = started(tmp_path, "laplacian")
    assert made.name == "tensorrt-fp16"
    off = np.abs(fused(made).astype(int) - right("laplacian"))
    assert off.max() <= 3
    types = {
        each.data_type
        for each in onnx.load_from_string(fake_tensorrt.Builder.built[0].network.content).graph.initializer
    }
    assert onnx.TensorProto.FLOAT16 in types


def test_the_second_start_builds_nothing(library, tmp_path, caplog) -> None:
    first = fused(started(tmp_path))
    assert "building the tensorrt-fp16 engine for thermal 32x24 on output 48x40" in caplog.text
    again = started(tmp_path)
    assert builds() == 1
    assert np.array_equal(fused(again), first)


def test_another_size_precision_network_version_or_gpu_is_another_file(library, tmp_path, monkeypatch) -> None:
    made = engine(tmp_path)
    other = TensorRtEngine(untrained("streamfuse-s").eval(), cache=tmp_path, streams=NoStreams())
    names = {
        made.file(SIZES).path,
        made.file((SIZES[0], (48, 48))).path,
        engine(tmp_path, precision="fp32").file(SIZES).path,
        other.file(SIZES).path,
    }
    monkeypatch.setattr("streamfuse.fuse.tensorrt.gpu_identity", lambda _: "another GPU")
    names.add(made.file(SIZES).path)
    library.__version__ = "10.3.0"
    names.add(made.file(SIZES).path)
    assert len(names) == 6


def test_a_truncated_file_is_refused_by_name_and_built_again(library, tmp_path, caplog) -> None:
    made = started(tmp_path)
    path = made.file(SIZES).path
    path.write_bytes(path.read_bytes()[:-50])
    assert np.array_equal(fused(started(tmp_path)), fused(made))
    assert f"{path} is refused, it is damaged" in caplog.text
    assert builds() == 2


def foreign_version(made: TensorRtEngine) -> bytes:
    return fake_tensorrt.envelope(b"", version="other")


def foreign_shape(made: TensorRtEngine) -> bytes:
    wide = engine(None)._order((SIZES[0], (64, 40)))
    return onnx_parser.build(made._library, wide, "cpu")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (foreign_version, r"cannot open it: serialized with another version"),
        (foreign_shape, r"the engine takes grid as \(1, 40, 64, 2\); here it is \(1, 40, 48, 2\)"),
    ],
)
def test_a_whole_file_that_does_not_fit_is_refused_by_name_and_built_again(
    library, tmp_path, monkeypatch, caplog, content, why
) -> None:
    monkeypatch.setenv("STREAMFUSE_CACHE", str(tmp_path / "elsewhere"))
    made = engine(tmp_path)
    file = made.file(SIZES)
    file.write(content(made))
    before = builds()
    made.set_warp(GEOMETRY)
    assert np.abs(fused(made).astype(int) - right()).max() <= 1
    assert builds() == before + 1
    (said,) = [record.getMessage() for record in caplog.records if "is refused" in record.getMessage()]
    assert str(file.path) in said
    assert re.search(why, said)


def test_what_a_build_measured_is_offered_to_the_next(library, tmp_path) -> None:
    started(tmp_path)
    started(tmp_path, precision="fp32")
    offered = [each.config.offered for each in fake_tensorrt.Builder.built]
    assert offered == [[b""], [b"+measured"]]


def test_measurements_that_tensorrt_does_not_want_are_left_aside(library, tmp_path) -> None:
    engine(tmp_path)._order(SIZES).timings.write(b"foreign")
    started(tmp_path)
    assert fake_tensorrt.Builder.built[0].config.offered == [b"foreign", b""]


@pytest.mark.parametrize(
    ("version", "precision", "network", "flags", "cleared"),
    [
        ("8.5.3", "fp16", 0b1, ["FP16"], []),
        ("8.6.1", "fp32", 0b1, [], ["TF32"]),
        ("10.3.0", "fp16", 0b11, [], []),
        ("11.0.0", "fp16", 0b1, [], []),
        ("11.0.0", "fp32", 0b1, [], ["TF32"]),
    ],
)
def test_every_version_is_told_the_precision_in_its_way(
    monkeypatch, tmp_path, version, precision, network, flags, cleared
) -> None:
    installed(monkeypatch, version)
    made = started(tmp_path, precision=precision)
    (built,) = fake_tensorrt.Builder.built
    assert (built.network.flags, built.config.set, built.config.cleared) == (network, flags, cleared)
    assert np.abs(fused(made).astype(int) - right()).max() <= 1


def pairs(count: int) -> list[dict[str, np.ndarray]]:
    made = []
    for index in range(count):
        buffers = Buffers.of(*SIZES)
        buffers.thermal["counts"][:] = index
        buffers.planes[:] = index
        made.append(buffers.fusion)
    return made


def test_int8_is_calibrated_with_every_pair_and_only_where_weights_are_multiplied(library, tmp_path) -> None:
    network = untrained("streamfuse-s").eval()
    made = TensorRtEngine(network, precision="int8", calibration=pairs(3), cache=tmp_path, streams=NoStreams())
    made.set_warp(GEOMETRY)
    (built,) = fake_tensorrt.Builder.built
    assert built.network.flags == 0b1
    assert built.config.set == ["INT8", "FP16", "PREFER_PRECISION_CONSTRAINTS"]
    assert built.calibrated == [[bytes([k, 0, 0, 0]), bytes([k] * 4)] for k in range(3)]
    kinds = {(layer.type.name, layer.precision and layer.precision.name) for layer in built.network.layers}
    assert kinds == {("CONVOLUTION", None), ("ELEMENTWISE", "FLOAT")}
    TensorRtEngine(network, precision="int8", cache=tmp_path, streams=NoStreams()).set_warp(GEOMETRY)
    assert builds() == 1
    TensorRtEngine(network, precision="int8", calibration=pairs(1), cache=tmp_path, streams=NoStreams()).set_warp(
        GEOMETRY
    )
    assert builds() == 2


def test_int8_without_pairs_is_calibrated_with_synthetic_ones_and_says_so(
    library, tmp_path, monkeypatch, caplog
) -> None:
    asked = []
    monkeypatch.setattr("streamfuse.fuse.examples.synthetic_examples", lambda *sizes: asked.append(sizes) or pairs(2))
    started(tmp_path, precision="int8")
    assert asked == [SIZES]
    assert len(fake_tensorrt.Builder.built[0].calibrated) == 2
    assert "calibrated with synthetic pairs; better with yours" in caplog.text


def test_tensorrt_11_has_no_int8_by_calibration(monkeypatch, tmp_path) -> None:
    installed(monkeypatch, "11.0.0")
    with pytest.raises(EngineError, match=r"TensorRT 11\.0\.0 builds no int8 engines; take fp16"):
        started(tmp_path, precision="int8", calibration=pairs(1))


def test_a_build_tells_how_far_it_is(library, tmp_path) -> None:
    heard = []
    started(tmp_path, progress=lambda *told: heard.append(told))
    assert [told for told in heard if told[0] == "Building"] == [
        ("Building", 0, 2),
        ("Building", 1, 2),
        ("Building", 2, 2),
        ("Building", 2, 2),
    ]


def test_closing_ends_a_build_that_is_under_way(library, tmp_path) -> None:
    made = engine(tmp_path, progress=lambda *_: made.close())
    with pytest.raises(EngineError, match="it was stopped"):
        made.set_warp(GEOMETRY)
    assert not list(tmp_path.glob("tensorrt-[0-9a-f]*.engine"))


def test_a_build_that_fails_says_tensorrts_reason(library, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fake_tensorrt.Builder, "fails", "no kernel for GridSample")
    with pytest.raises(EngineError, match=r"built no fp16 engine: no kernel for GridSample.*torch-tensorrt does not"):
        started(tmp_path)


def test_a_graph_that_the_parser_refuses_says_its_reason(library, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fake_tensorrt.OnnxParser, "refuses", "unsupported node GridSample")
    with pytest.raises(EngineError, match="cannot read the graph: unsupported node GridSample"):
        started(tmp_path)


def test_a_run_that_fails_is_an_engine_error(library, tmp_path, monkeypatch) -> None:
    made = started(tmp_path)
    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "fails", True)
    with pytest.raises(EngineError, match="could not run the engine"):
        fused(made)


def test_an_engine_of_other_names_types_or_places_is_refused(library, tmp_path, monkeypatch) -> None:
    order = engine(tmp_path, precision="fp32")._order(SIZES)
    runner = Runner(library, onnx_parser.build(library, order, "cpu"))
    tensors = {name: torch.from_numpy(array) for name, array in Buffers.of(*SIZES).fusion.items()}
    output = torch.zeros_like(tensors["planes"])
    with pytest.raises(EngineError, match=r"the engine's tensors are .*'strength'.*; expected are \['counts', 'fused'"):
        runner.bound({name: tensor for name, tensor in tensors.items() if name != "strength"}, output)
    with pytest.raises(EngineError, match=r"takes counts as DataType\.INT32; here it is torch\.float32"):
        runner.bound({**tensors, "counts": tensors["counts"].float()}, output)
    with pytest.raises(ValueError, match="planes is not contiguous"):
        runner.bound({**tensors, "planes": tensors["planes"].transpose(2, 3).contiguous().transpose(2, 3)}, output)
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "host_tensors", ("lut",))
    with pytest.raises(EngineError, match="takes lut in the host's memory"):
        runner.bound(tensors, output)


def test_what_the_addresses_point_at_lives_as_long_as_the_work(library, tmp_path) -> None:
    """Nothing but the work is kept; were its buffers freed, the fake would read what took their place."""
    order = engine(tmp_path, precision="fp32")._order(SIZES)
    geometry = Geometry.of(SIZES[1], "cpu")
    geometry.set_warp(GEOMETRY)
    inputs = Inputs(
        torch.from_numpy(THERMAL.view(np.int16))[None, None],
        torch.from_numpy(CURVE.lut),
        torch.from_numpy(RGB)[None],
        geometry,
    )
    work = bound_work(Runner(library, onnx_parser.build(library, order, "cpu")), inputs, NoStreams())
    gc.collect()
    taken = [torch.full((1, 3, 40, 48), 255, dtype=torch.uint8) for _ in range(200)]
    assert np.abs(work().numpy().astype(int) - right()).max() <= 1
    assert all(bool((each == 255).all()) for each in taken)


def test_without_a_gpu_it_is_an_engine_error_and_auto_is_silent(library, caplog) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(
        EngineError,
        match=r"engine tensorrt cannot run here: .*; (on a machine with an NVIDIA GPU|install the NVIDIA driver)",
    ):
        open_fuser(model="average", engine="tensorrt")
    caplog.set_level(logging.INFO)
    open_fuser(model="average").close()
    assert "tensorrt" not in caplog.text
    assert "inductor" not in caplog.text


def test_without_any_tensorrt_the_remedy_is_told(monkeypatch) -> None:
    for name in ("tensorrt", "torch_tensorrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"pip install 'streamfuse\[tensorrt\]'; on a Jetson"):
        load_tensorrt()


def test_an_old_tensorrt_is_refused(monkeypatch) -> None:
    installed(monkeypatch, "8.4.1")
    with pytest.raises(EngineError, match=r"TensorRT 8\.4\.1 is too old; 8\.5 or newer"):
        load_tensorrt()


def test_an_unknown_precision_names_those_that_are_offered(library) -> None:
    with pytest.raises(UserError, match="it offers: auto, fp32, fp16, bf16, int8"):
        TensorRtEngine(build("average"), precision="fp8", streams=NoStreams())


class FakeTorchTensorRt:
    """torch-tensorrt as far as we call it: through the real exporter, to the fake's engine."""

    __spec__ = ModuleSpec("torch_tensorrt", None)

    def __init__(self, library, fails: str = "") -> None:
        self.library, self.fails, self.asked = library, fails, []
        self.dynamo = SimpleNamespace(convert_exported_program_to_serialized_trt_engine=self.convert)

    def convert(self, exported_program, inputs=None, *, require_full_compilation=False, disable_tf32=False):
        self.asked.append((require_full_compilation, disable_tf32))
        if self.fails:
            raise RuntimeError(self.fails)
        placeholders = [each.name for each in exported_program.graph.nodes if each.op == "placeholder"]
        assert placeholders[-5:] == ["counts", "lut", "grid", "strength", "planes"]
        assert [tuple(each.shape) for each in inputs] == [
            (1, 1, 24, 32),
            (65536,),
            (1, 40, 48, 2),
            (1, 1, 40, 48),
            (1, 3, 40, 48),
        ]
        (made,) = next(each for each in exported_program.graph.nodes if each.op == "output").args[0]
        if made.meta["val"].dtype is torch.uint8:
            raise RuntimeError("no converter to uint8")
        ends = {"input_names": placeholders[-5:], "output_names": ["output0"]}
        program = torch.onnx.export(exported_program, dynamo=True, optimize=False, verbose=False, **ends)
        return fake_tensorrt.envelope(program.model_proto.SerializeToString())


def test_torch_tensorrt_builds_where_it_is_installed(library, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STREAMFUSE_CACHE", str(tmp_path / "elsewhere"))
    other = FakeTorchTensorRt(library)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", other)
    made = started(tmp_path, precision="fp32")
    assert other.asked == [(True, True)]
    assert builds() == 0
    assert np.abs(fused(made).astype(int) - right()).max() <= 1


def test_where_torch_tensorrt_fails_the_parser_builds(library, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", FakeTorchTensorRt(library, "no converter"))
    assert np.abs(fused(started(tmp_path, precision="fp32")).astype(int) - right()).max() <= 1
    assert builds() == 1


TOLD = Path(__file__).with_name("torch_tensorrt_names.txt").read_text().splitlines()[1:]


@pytest.mark.parametrize("line", TOLD, ids=lambda line: line.split(":")[0])
def test_torch_tensorrt_is_asked_only_what_it_knows(line: str) -> None:
    version, _, names = line.partition(": ")
    known = names.split(", ")
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in known]

    def convert(**asked) -> None:
        """Of that version."""

    convert.__signature__ = inspect.Signature(parameters)
    asked = torch_tensorrt.options(convert, "fp16")
    assert {*asked, "inputs"} <= set(known)
    assert asked["require_full_compilation"]
    assert not asked["disable_tf32"]
    assert ("use_explicit_typing" in asked) == (version == "2.11.0")


def test_an_early_torch_tensorrt_without_the_call_is_an_engine_error(library, tmp_path) -> None:
    with pytest.raises(EngineError, match=r"built no engine: .*convert_exported_program_to_serialized_trt_engine"):
        torch_tensorrt.build(SimpleNamespace(dynamo=SimpleNamespace()), engine(tmp_path)._order(SIZES), "cpu")


def test_the_network_stays_where_it_is_when_a_builder_moves_its_own_copy(library, tmp_path) -> None:
    order = engine(tmp_path, precision="fp32")._order(SIZES)
    network = untrained("streamfuse-s").eval()
    moved = replace(order, network=network)
    with pytest.raises(EngineError, match="no converter"):
        torch_tensorrt.build(FakeTorchTensorRt(library, "no converter"), moved, "meta")
    assert {each.device.type for each in network.parameters()} == {"cpu"}


def test_torch_tensorrt_leaves_int8_to_the_parser(library, tmp_path) -> None:
    with pytest.raises(EngineError, match="int8 engines are built through ONNX"):
        torch_tensorrt.build(FakeTorchTensorRt(library), engine(tmp_path, precision="int8")._order(SIZES), "cpu")


def test_a_build_runs_in_any_thread(library, tmp_path) -> None:
    made = engine(tmp_path)
    thread = threading.Thread(target=made.set_warp, args=(GEOMETRY,))
    thread.start()
    thread.join()
    assert np.abs(fused(made).astype(int) - right()).max() <= 1
