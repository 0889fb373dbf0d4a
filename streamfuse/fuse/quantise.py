"""Convolutions in 8 bits: OpenVINO's graph, quantised after training from example frames by NNCF.

Only convolutions: they are what costs time, and the arithmetic around them (tone, warp, bands, colour) is what a
picture's quality hangs on. Some stay as they are: the last ones, whose output is the picture or its gains, what is
only added on the way into them, those of one pixel, which speak for the whole image, so that their error shifts
all of it (docs/engines.md has what each costs), and those of one channel. This is the one place that loads NNCF.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from typing import Any

from streamfuse.errors import EngineError
from streamfuse.fuse.planar import Inputs

QUANTISED = frozenset({"Convolution", "MatMul"})
ENDS = frozenset({"Parameter", "Result", "Constant"})
RANGES = "MINMAX"
"""NNCF's name for ranges that hold every value of every example; by default the examples' extremes are averaged."""


def quantised(model: Any, examples: Sequence[Inputs]) -> Any:
    """An OpenVINO model with its convolutions in int8; a model without any comes back as it is.

    Raises EngineError where NNCF is missing.
    """
    kinds = {node.get_type_name() for node in model.get_ops()}
    if not kinds & QUANTISED:
        return model
    nncf = load_nncf()
    ranges = getattr(nncf.quantization.range_estimator.RangeEstimatorParametersSet, RANGES)
    with redirect_stdout(io.StringIO()):  # its progress bars; stdout is the caller's
        return nncf.quantize(
            model,
            nncf.Dataset([list(inputs.values()) for inputs in examples]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(examples),
            ignored_scope=nncf.IgnoredScope(names=kept(model), types=sorted(kinds - QUANTISED - ENDS), validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges),
        )


def kept(model: Any) -> list[str]:
    """The names of the convolutions that are not quantised."""
    last = feeding(model.get_results())
    staying = [*last, *feeding(last, through={"Add"}), *of_one_pixel(model), *of_one_channel(model)]
    return list(dict.fromkeys(node.get_friendly_name() for node in staying))


def feeding(nodes: Sequence[Any], through: Collection[str] = ()) -> list[Any]:
    """The nearest convolutions and products on every way to these, with only such kinds between as `through` names.

    An empty `through` names every kind.
    """
    todo, seen, found = list(nodes), set[str](), list[Any]()
    while todo:
        for entry in todo.pop().inputs():
            node = entry.get_source_output().get_node()
            name, kind = node.get_friendly_name(), node.get_type_name()
            if name in seen:
                continue
            seen.add(name)
            if kind in QUANTISED:
                found.append(node)
            elif not through or kind in through:
                todo.append(node)
    return found


def of_one_pixel(model: Any) -> list[Any]:
    """The convolutions whose output is 1 x 1."""
    return [node for node in convolutions(model) if set(node.get_output_shape(0)[2:]) == {1}]


def of_one_channel(model: Any) -> list[Any]:
    """The convolutions of a single channel: they cost little, and of what they enlarge (`models.glare`) few examples
    hold more than one value, whose range would cut off all others."""
    return [node for node in convolutions(model) if node.get_input_shape(0)[1] == 1]


def convolutions(model: Any) -> list[Any]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]


def load_nncf() -> Any:
    """The library, kept from reporting its use to its maker. Raises EngineError with the remedy where it is missing."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        remedy = "pip install 'streamfuse[quantize]'"
        raise EngineError(f"NNCF does not load here ({error}); for int8 on a CPU: {remedy}") from error
    nncf.set_log_level(logging.ERROR)
    return nncf
