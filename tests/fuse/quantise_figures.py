"""What lower precision costs and gains our networks on this CPU: python tests/fuse/quantise_figures.py WHAT

`quality`: bf16 and int8 against eager on six public test pairs; int8 from the synthetic street and from recorded
pairs, with the ranges that streamfuse takes and with NNCF's own.
`alone`: each convolution in int8 by itself, the rest in fp32: which of them a network cannot spare.
`time`: the CPU time of a frame in int8 against bf16, one of each in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from fusion_scenes import rgb_frame, thermal_frame, warp
from parity import DATA, benchmark_pairs, similarity

from streamfuse.evaluation.contrast import standard_deviation
from streamfuse.evaluation.grey import as_grey
from streamfuse.evaluation.information import entropy, mutual_information
from streamfuse.evaluation.scores import as_tensor
from streamfuse.frames import AlignedPair, Pixels
from streamfuse.fuse import quantise
from streamfuse.fuse.examples import recorded_examples, synthetic_examples
from streamfuse.fuse.openvino import OpenVinoEngine, converted, load_openvino, settings
from streamfuse.fuse.planar import Buffers, Inputs, PlanarGraph
from streamfuse.models import build
from streamfuse.thermal import ToneMapper

SIZE, TIMED_SIZE = (320, 256), (640, 512)
TIMED, WARMING = 100, 10
RECORDED = DATA.parent / "msrs"
"""Pairs that are not among the public test pairs."""


class Judge:
    """A network in OpenVINO's form, the test pairs as its inputs, and what eager makes of them."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.pairs = [one for data in ("MSRS", "TNO", "RoadScene") for one in benchmark_pairs(data, SIZE, 2)]
        self.inputs = [inputs_of(aligned) for aligned in self.pairs]
        eager = PlanarGraph(build(model)).eval()
        with torch.inference_mode():
            outputs = [eager(*map(torch.from_numpy, one.values())).numpy() for one in self.inputs]
        self.exact = [output[0].transpose(1, 2, 0) for output in outputs]
        self.graph = converted(eager, self.inputs[0])

    def judge(self, name: str, graph: Any, precision: str) -> None:
        compiled = load_openvino().Core().compile_model(graph, "CPU", settings(1, precision))
        images = [compiled(list(one.values()))[0][0].transpose(1, 2, 0) for one in self.inputs]
        alike = [similarity(*both) for both in zip(images, self.exact, strict=True)]
        off = [np.abs(image.astype(int) - exact) for image, exact in zip(images, self.exact, strict=True)]
        print(
            f"{self.model} {name}: SSIM lowest {min(alike):.4f}, mean {np.mean(alike):.4f}; error largest "
            f"{max(one.max() for one in off)}, largest mean {max(one.mean() for one in off):.2f}; "
            f"{self.figures(images)}; eager {self.figures(self.exact)}",
            flush=True,
        )

    def figures(self, images: Sequence[Pixels]) -> str:
        told = []
        for image, of in zip(images, self.pairs, strict=True):
            triple = image, of.frames.thermal.pixels, of.frames.rgb.pixels
            fused, thermal, visible = (as_tensor(as_grey(one), "cpu") for one in triple)
            told.append((entropy(fused), standard_deviation(fused), mutual_information(fused, thermal, visible)))
        return ", ".join(
            f"{name} {mean:.2f}" for name, mean in zip(("EN", "SD", "MI"), np.mean(told, axis=0)[:, 0], strict=True)
        )


def inputs_of(aligned: AlignedPair) -> Inputs:
    buffers = Buffers.of(SIZE, SIZE)
    buffers.set_warp(aligned.warp)
    buffers.set_thermal(aligned.frames.thermal.pixels)
    buffers.set_curve(ToneMapper().update(aligned.frames.thermal.pixels, 0))
    buffers.set_rgb(aligned.frames.rgb.pixels)
    return buffers.fusion


def quality(model: str) -> None:
    judge = Judge(model)
    judge.judge("bf16", judge.graph, "bf16")
    for of_what, examples in {
        "the street": synthetic_examples(SIZE, SIZE),
        "recorded pairs": recorded_examples(RECORDED / "ir", RECORDED / "vis", SIZE, SIZE),
    }.items():
        for ranges in (quantise.RANGES, "MEAN_MINMAX"):
            with patch.object(quantise, "RANGES", ranges):
                judge.judge(f"int8 from {of_what}, {ranges}", quantise.quantised(judge.graph, examples), "int8")


def alone(model: str) -> None:
    judge = Judge(model)
    examples, default = synthetic_examples(SIZE, SIZE, 8), quantise.kept(judge.graph)
    names = [node.get_friendly_name() for node in quantise.convolutions(judge.graph)]
    for name in names:
        with patch.object(quantise, "kept", lambda _, name=name: [other for other in names if other != name]):
            graph = quantise.quantised(judge.graph, examples)
        judge.judge(f"{name}{' (kept)' if name in default else ''}", graph, "fp32")


def timed(model: str) -> None:
    """int8 from two examples: its steps do not change how long it takes."""
    thermal, rgb = thermal_frame(TIMED_SIZE).pixels, rgb_frame(TIMED_SIZE).pixels
    curve, network = ToneMapper().update(thermal, 0), build(model)
    two = synthetic_examples(TIMED_SIZE, TIMED_SIZE, 2)
    with TemporaryDirectory() as cache:
        engines = [
            OpenVinoEngine(network, precision="int8", calibration=two, cache=Path(cache)),
            OpenVinoEngine(network, precision="bf16", cache=Path(cache)),
        ]
        for engine in engines:
            engine.set_warp(warp(TIMED_SIZE, TIMED_SIZE))
    took: list[list[float]] = [[], []]
    for _ in range(WARMING + TIMED):
        for engine, times in zip(engines, took, strict=True):
            begun = time.process_time()
            engine.fuse(thermal, curve, rgb)
            times.append(time.process_time() - begun)
    medians = [1e3 * float(np.median(times[WARMING:])) for times in took]
    told = ", ".join(f"{engine.name} {median:.2f} ms" for engine, median in zip(engines, medians, strict=True))
    print(f"{model} at {TIMED_SIZE}: {told}; ratio {medians[0] / medians[1]:.2f}", flush=True)


def main() -> None:
    modes = {"quality": quality, "alone": alone, "time": timed}
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=modes)
    parser.add_argument("models", nargs="*", default=["streamfuse-s", "streamfuse-q"])
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for model in asked.models:
        modes[asked.what](model)


if __name__ == "__main__":
    main()
