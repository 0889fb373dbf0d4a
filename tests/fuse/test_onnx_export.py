"""The graph as ONNX: what ONNX Runtime makes of it, at the exported size and at others, in both operator sets."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fusion_scenes import rgb_frame, thermal_frame, warp
from torch import nn

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import Size
from streamfuse.fuse import onnx_export
from streamfuse.fuse.eager import EagerEngine
from streamfuse.fuse.onnx_export import OPSETS, export_onnx, operators
from streamfuse.fuse.planar import Buffers, PlanarGraph
from streamfuse.models import untrained
from streamfuse.thermal import ToneMapper

onnx = pytest.importorskip("onnx", reason="pip install 'streamfuse[onnx]'")
runtime = pytest.importorskip("onnxruntime", reason="pip install 'streamfuse[onnx]'")

EXPORTED = ((64, 48), (80, 64))
OTHER = [((64, 48), (80, 64)), ((48, 64), (64, 80)), ((31, 23), (45, 37)), ((97, 50), (33, 129))]
MODELS = ("average", "laplacian", "streamfuse-s", "streamfuse-q", "residual-dense-s")
FIXED = ("average", "streamfuse-s", "streamfuse-q", "residual-dense-s", "res2fusion")


def seeded(model: str) -> nn.Module:
    """With random weights larger than those that training starts from, so that every layer shows."""
    network = untrained(model)
    torch.manual_seed(7)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn_like(weight) * (2 / max(1, weight[0].numel())) ** 0.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports once what several tests read."""
    folder, made = tmp_path_factory.mktemp("onnx"), {}

    def path(model: str, opset: int, *, dynamic: bool = True) -> Path:
        key = (model, opset, dynamic)
        if key not in made:
            write = partial(export_onnx, seeded(model), thermal_size=EXPORTED[0], output_size=EXPORTED[1])
            made[key] = write(path=folder / f"{model}-{opset}-{dynamic}.onnx", opset=opset, dynamic=dynamic)
        return made[key]

    return path


def filled(thermal: Size, output: Size) -> Buffers:
    buffers = Buffers.of(thermal, output)
    counts = thermal_frame(thermal).pixels
    buffers.set_warp(warp(thermal, output, scale=0.8))
    buffers.set_thermal(counts)
    buffers.set_curve(ToneMapper("percentile").update(counts, 0))
    buffers.set_rgb(rgb_frame(output).pixels)
    return buffers


def ran(path: Path, buffers: Buffers) -> np.ndarray:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(path), options).run(None, dict(buffers.fusion))[0]


def wanted(model: str, buffers: Buffers) -> np.ndarray:
    with torch.inference_mode():
        graph = PlanarGraph(seeded(model)).eval()
        return graph(*(torch.from_numpy(array) for array in buffers.fusion.values())).numpy()


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("model", MODELS)
def test_onnx_runtime_gives_the_same_at_sizes_other_than_the_exported_one(exported, model, opset) -> None:
    for sizes in OTHER:
        buffers = filled(*sizes)
        off = np.abs(ran(exported(model, opset), buffers).astype(int) - wanted(model, buffers))
        assert off.max() <= 1, f"at {sizes}"
        assert (off == 0).mean() >= 0.99, f"at {sizes}"


@pytest.mark.parametrize(("model", "opset"), [*((model, 17) for model in FIXED), ("streamfuse-s", 20)])
def test_a_file_of_one_size_gives_the_same_and_leaves_no_arithmetic_of_sizes(exported, model, opset) -> None:
    """TensorRT 8 computes pixels more readily than sizes."""
    path, buffers = exported(model, opset, dynamic=False), filled(*EXPORTED)
    off = np.abs(ran(path, buffers).astype(int) - wanted(model, buffers))
    assert off.max() <= 1
    assert (off == 0).mean() >= 0.99
    assert not {"Shape", "Mod", "If", "Loop", "Scan"} & set(operators(onnx.load(path)))


def test_a_network_that_cannot_leave_its_size_open_is_refused(exported) -> None:
    with pytest.raises(EngineError, match="export it for one size"):
        exported("res2fusion", 17)


@pytest.mark.parametrize("opset", OPSETS)
def test_the_file_says_what_it_takes_and_gives(exported, opset) -> None:
    model = onnx.load(exported("streamfuse-s", opset))
    assert [(each.domain, each.version) for each in model.opset_import if not each.domain] == [("", opset)]
    kinds = onnx.TensorProto
    assert [(each.name, each.type.tensor_type.elem_type) for each in model.graph.input] == [
        ("counts", kinds.INT32),
        ("lut", kinds.FLOAT),
        ("grid", kinds.FLOAT),
        ("strength", kinds.FLOAT),
        ("planes", kinds.UINT8),
    ]
    assert [(each.name, each.type.tensor_type.elem_type) for each in model.graph.output] == [("fused", kinds.UINT8)]


def shape(value) -> list[int | str]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


def test_sizes_are_open_by_name_or_fixed(exported) -> None:
    model = onnx.load(exported("average", 17))
    assert shape(model.graph.input[0]) == [1, 1, "thermal_height", "thermal_width"]
    assert shape(model.graph.input[2]) == [1, "height", "width", 2]
    assert shape(model.graph.output[0]) == [1, 3, "height", "width"]
    fixed = onnx.load(exported("average", 17, dynamic=False))
    assert [shape(each) for each in fixed.graph.input] == [
        [1, 1, 48, 64],
        [65536],
        [1, 64, 80, 2],
        [1, 1, 64, 80],
        [1, 3, 64, 80],
    ]
    assert shape(fixed.graph.output[0]) == [1, 3, 64, 80]


@pytest.mark.parametrize("opset", OPSETS)
def test_bytes_are_cast_at_once_and_only_at_the_ends(exported, opset) -> None:
    """TensorRT takes uint8 at the ends of a network alone, with a cast beside it."""
    model = onnx.load(exported("streamfuse-s", opset))
    graph = model.graph
    assert {node.op_type for node in graph.node if "planes" in node.input} == {"Cast"}
    (last,) = [node for node in graph.node if "fused" in node.output]
    assert last.op_type == "Cast"
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    assert {each.type.tensor_type.elem_type for each in known} & {onnx.TensorProto.UINT8} == set()


@pytest.mark.parametrize(("thermal", "rgb"), [(0, 0), (65535, 255), (0, 255), (65535, 0)])
def test_extreme_images_stay_in_range(exported, thermal, rgb) -> None:
    geometry = warp((31, 23), (45, 37), scale=1.2)
    counts, seen = np.full((23, 31), thermal, np.uint16), np.full((37, 45, 3), rgb, np.uint8)
    curve = ToneMapper("linear").update(counts, 0)
    buffers = Buffers.of((31, 23), (45, 37))
    buffers.set_warp(geometry)
    buffers.set_thermal(counts)
    buffers.set_curve(curve)
    buffers.set_rgb(seen)
    for model in ("average", "laplacian", "streamfuse-s"):
        eager = EagerEngine(seeded(model))
        eager.set_warp(geometry)
        fused = ran(exported(model, 17), buffers)[0].transpose(1, 2, 0)
        assert np.abs(fused.astype(int) - eager.fuse(counts, curve, seen)).max() <= 1


def test_an_unknown_opset_is_the_users_mistake(tmp_path) -> None:
    with pytest.raises(UserError, match="opset 16 is not offered; the opsets are: 17, 20"):
        export_onnx(seeded("average"), thermal_size=(8, 8), output_size=(8, 8), path=tmp_path / "a.onnx", opset=16)


def test_without_onnx_the_remedy_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EngineError, match=r"pip install 'streamfuse\[onnx\]'"):
        export_onnx(seeded("average"), thermal_size=(8, 8), output_size=(8, 8), path=tmp_path / "a.onnx")


def model_of(node) -> object:
    images = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("in", "out")]
    axes = onnx.numpy_helper.from_array(np.array([2, 3]), "axes")
    graph = onnx.helper.make_graph([node], "graph", images[:1], images[1:], [axes])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])


def test_what_opset_17_cannot_say_is_refused_by_name() -> None:
    make = onnx.helper.make_node
    reduced = onnx_export.as_opset_17(onnx, model_of(make("ReduceMean", ["in", "axes"], ["out"], keepdims=1)))
    (node,) = reduced.graph.node
    assert list(node.input) == ["in"]
    assert {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute} == {
        "keepdims": 1,
        "axes": [2, 3],
    }
    for node in (make("Mish", ["in"], ["out"]), make("Resize", ["in", "", "", "axes"], ["out"], antialias=1)):
        with pytest.raises(EngineError, match=f"{node.op_type}.* opset 17"):
            onnx_export.as_opset_17(onnx, model_of(node))
