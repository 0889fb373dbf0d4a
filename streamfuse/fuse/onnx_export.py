"""The fusion graph as an ONNX file, for the compilers that read one: TensorRT's parser above all.

The whole PlanarGraph goes in, from sensor counts to fused bytes; what changes from frame to frame and from map to map
is an input. Two of PyTorch's exporters do it. Fixed sizes: the one by torch.export, which leaves no arithmetic of sizes
behind; it writes opset 18 or newer, so the few operators that had another form in 17 are put back here. Open sizes:
the older one by tracing, since torch.export cannot reason about padding to whole blocks. This is the one place that
loads onnx.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streamfuse.errors import EngineError, UserError
from streamfuse.frames import Size
from streamfuse.fuse.planar import Buffers, Inputs, PlanarGraph

OPSETS = (17, 20)
OLDEST_WRITTEN = 18
OUTPUT = "fused"
THERMAL_AXES = {2: "thermal_height", 3: "thermal_width"}
OUTPUT_AXES = {2: "height", 3: "width"}
OPEN_SIDES = {
    "counts": THERMAL_AXES,
    "grid": {1: "height", 2: "width"},
    "strength": OUTPUT_AXES,
    "planes": OUTPUT_AXES,
    OUTPUT: OUTPUT_AXES,
}


def export_onnx(
    network: nn.Module,
    *,
    thermal_size: Size,
    output_size: Size,
    path: Path,
    opset: int = 17,
    dynamic: bool = False,
) -> Path:
    """Write the graph around `network` to `path` (its folder is made) and return it.

    Inputs, in this order: counts 1 1 h w int32, lut 65536 float32, grid 1 H W 2 float32, strength 1 1 H W float32,
    planes 1 3 H W uint8; output: fused 1 3 H W uint8. `dynamic` leaves h, w, H and W open, else they are the given
    sizes. Raises UserError for an unknown opset, EngineError where onnx is missing or the network cannot be exported.
    """
    if opset not in OPSETS:
        raise UserError(f"ONNX opset {opset} is not offered; the opsets are: {', '.join(map(str, OPSETS))}")
    onnx = load_onnx()
    graph, inputs = PlanarGraph(network).eval(), Buffers.of(thermal_size, output_size).fusion
    try:
        with torch.no_grad(), _silence():
            model = (
                _of_open_sizes(onnx, graph, inputs, opset) if dynamic else _of_fixed_sizes(onnx, graph, inputs, opset)
            )
    except EngineError:
        raise
    except Exception as error:  # the exporters raise anything
        raise EngineError(f"PyTorch cannot export this network as ONNX: {error.__cause__ or error}") from error
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def load_onnx() -> Any:
    """The library, if what PyTorch's exporter needs besides is there too. Raises EngineError with the remedy."""
    try:
        import onnx
        import onnxscript  # noqa: F401  # type: ignore[import-untyped]
    except ImportError as error:
        remedy = "pip install 'streamfuse[onnx]'"
        raise EngineError(f"the ONNX exporter does not load here ({error}); to export: {remedy}") from error
    return onnx


def operators(model: Any) -> list[str]:
    """The names of the operators that a model uses, each once, in alphabetical order."""
    return sorted({node.op_type for node in model.graph.node})


def operators_of(path: Path) -> list[str]:
    """The same of a file."""
    return operators(load_onnx().load(str(path)))


def _of_fixed_sizes(onnx: Any, graph: nn.Module, inputs: Inputs, opset: int) -> Any:
    """Constants are folded, nothing more: the exporter's own optimiser takes x + 1e-10 for x and divides by nothing."""
    from onnxscript import optimizer

    program = torch.onnx.export(
        graph,
        _tensors(inputs),
        dynamo=True,
        optimize=False,
        opset_version=max(opset, OLDEST_WRITTEN),
        input_names=list(inputs),
        output_names=[OUTPUT],
        verbose=False,
    )
    assert program is not None
    optimizer.fold_constants(program.model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(program.model)
    return as_opset_17(onnx, program.model_proto) if opset < OLDEST_WRITTEN else program.model_proto


def _of_open_sizes(onnx: Any, graph: nn.Module, inputs: Inputs, opset: int) -> Any:
    file = io.BytesIO()
    torch.onnx.export(
        graph,
        _tensors(inputs),
        file,  # type: ignore[arg-type]
        dynamo=False,
        opset_version=opset,
        dynamic_axes=OPEN_SIDES,
        input_names=list(inputs),
        output_names=[OUTPUT],
    )
    model = onnx.load_from_string(file.getvalue())
    if "Split" in operators(model):
        raise EngineError("this network splits its work by the image's size: export it for one size, without --dynamic")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


def _tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in inputs.values())


@contextmanager
def _silence() -> Generator[None]:
    """Without what PyTorch's exporter says of libraries that it does not need here, and of itself."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def as_opset_17(onnx: Any, model: Any) -> Any:
    """An opset 18 model in the operators of 17, in place. Raises EngineError for one that has no older form here."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    for node in model.graph.node:
        if onnx.defs.get_schema(node.op_type, OLDEST_WRITTEN).since_version == OLDEST_WRITTEN:
            _put_back(onnx, node, constants)
    for entry in model.opset_import:
        entry.version = 17
    return model


def _put_back(onnx: Any, node: Any, constants: dict[str, Any]) -> None:
    """One operator in its older form: a reduction has its axes as attribute, newer options are not said at all."""
    if node.op_type.startswith("Reduce"):
        axes: Sequence[int] = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        del node.input[1:]
        node.attribute.append(onnx.helper.make_attribute("axes", axes))
        _without(node, {"noop_with_empty_axes": 0})
    elif node.op_type == "Resize":
        _without(node, {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"})
    elif node.op_type == "Split":
        _without(node, {"num_outputs": len(node.output)})
    elif node.op_type != "Pad" or len(node.input) > 3:
        raise EngineError(f"this network uses {node.op_type} of ONNX opset 18, which opset 17 cannot say: use 20")


def _without(node: Any, defaults: dict[str, Any]) -> None:
    """Drop attributes that opset 17 does not know and that say nothing."""
    for attribute in [each for each in node.attribute if each.name in defaults]:
        value = attribute.i if attribute.type == attribute.INT else attribute.s
        if value != defaults[attribute.name]:
            raise EngineError(f"{node.op_type} with {attribute.name} = {value} cannot be said in ONNX opset 17: use 20")
        node.attribute.remove(attribute)
