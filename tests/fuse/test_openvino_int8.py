"""int8 on the CPU: what it is built from, what it costs in quality on real pairs, and what happens without NNCF."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fusion_scenes import rgb_frame, thermal_frame, warp
from parity import SSIM, benchmark_pairs, needs_data, similarity
from torch import nn

from streamfuse.errors import EngineError, UserError
from streamfuse.fuse.examples import recorded_examples, synthetic_examples
from streamfuse.fuse.openvino import OpenVinoEngine, converted
from streamfuse.fuse.planar import Buffers, PlanarGraph
from streamfuse.models import build, untrained
from streamfuse.thermal import ToneMapper

needs_nncf = pytest.mark.skipif(not find_spec("nncf"), reason="pip install 'streamfuse[quantize]'")
SIZE = (96, 80)


def network() -> nn.Module:
    torch.manual_seed(3)
    return untrained("streamfuse-s").eval().requires_grad_(False)


def started(cache: Path, model: nn.Module | None = None, **options) -> OpenVinoEngine:
    engine = OpenVinoEngine(model or network(), cache=cache, precision="int8", **options)
    engine.set_warp(warp(SIZE, SIZE))
    return engine


def fused(engine: OpenVinoEngine) -> np.ndarray:
    thermal = thermal_frame(SIZE).pixels
    return engine.fuse(thermal, ToneMapper().update(thermal, 0), rgb_frame(SIZE).pixels)


@pytest.fixture
def quantising(monkeypatch) -> list[int]:
    """From how many examples, each time that something was quantised."""
    from streamfuse.fuse import quantise

    seen: list[int] = []
    real = quantise.quantised
    monkeypatch.setattr(quantise, "quantised", lambda m, examples: seen.append(len(examples)) or real(m, examples))
    return seen


@needs_nncf
def test_it_is_built_once_from_a_street_and_anew_from_recorded_pairs(tmp_path, quantising, capsys) -> None:
    first = started(tmp_path)
    assert first.name == "openvino-int8"
    assert quantising == [32]
    assert capsys.readouterr().out == ""
    from_the_street = fused(first)
    assert np.array_equal(fused(started(tmp_path)), from_the_street)
    assert quantising == [32]

    recorded = synthetic_examples(SIZE, SIZE, 2)
    for inputs in recorded:
        inputs["planes"][:] //= 8
    from_pairs = fused(started(tmp_path, calibration=recorded))
    assert quantising == [32, 2]
    assert not np.array_equal(from_the_street, from_pairs)
    assert np.array_equal(fused(started(tmp_path)), from_pairs)
    assert quantising == [32, 2]


@pytest.mark.parametrize(("model", "outputs"), [("streamfuse-s", [12, 16, 16]), ("streamfuse-q", [16, 28, 32, 64])])
def test_the_last_ones_and_what_speaks_for_the_whole_image_stay(model: str, outputs: list[int]) -> None:
    """By the channels they make: what enlarges, the whole image, glare; the head, what is added on the way into it."""
    from streamfuse.fuse.quantise import convolutions, kept

    graph = converted(PlanarGraph(build(model)).eval(), Buffers.of(SIZE, SIZE).fusion)
    made = {node.get_friendly_name(): node.get_output_shape(0)[1] for node in convolutions(graph)}
    assert sorted(made[name] for name in kept(graph)) == outputs


@needs_nncf
def test_a_model_without_convolutions_has_nothing_to_quantise(tmp_path) -> None:
    assert started(tmp_path, build("average")).name == "openvino-fp32"


def test_without_nncf_the_remedy_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(EngineError, match=r"pip install 'streamfuse\[quantize\]'"):
        started(tmp_path)


@needs_nncf
@needs_data
def test_on_real_pairs_it_looks_like_fp32_and_scores_alike(tmp_path) -> None:
    """Quantised from the synthetic street, judged on public test pairs: the cost in the figures that tables have."""
    from streamfuse.evaluation.scores import scores

    exact = OpenVinoEngine(network(), cache=tmp_path, precision="fp32")
    coarse = OpenVinoEngine(network(), cache=tmp_path, precision="int8")
    lost: list[dict[str, float]] = []
    for aligned in benchmark_pairs("MSRS", (320, 240), 2):
        thermal, rgb = aligned.frames.thermal.pixels, aligned.frames.rgb.pixels
        curve, images = ToneMapper().update(thermal, 0), []
        for engine in (exact, coarse):
            engine.set_warp(aligned.warp)
            images.append(engine.fuse(thermal, curve, rgb))
        assert similarity(images[1], images[0]) >= SSIM
        told = [scores(image, thermal, rgb) for image in images]
        lost.append({name: told[1][name] / told[0][name] for name in ("EN", "SD", "MI", "VIF", "Qabf", "SSIM")})
    for name in lost[0]:
        assert np.mean([row[name] for row in lost]) >= 0.97, name


def write_pairs(folder: Path, names: list[str], size: tuple[int, int] = (40, 30)) -> tuple[Path, Path]:
    for modality, frame in (("ir", thermal_frame(size)), ("vis", rgb_frame(size))):
        (folder / modality).mkdir()
        for index, name in enumerate(names):
            assert cv2.imwrite(str(folder / modality / f"{name}.png"), frame.pixels // (index + 1))
    return folder / "ir", folder / "vis"


def test_examples_come_from_folders_in_the_engines_sizes(tmp_path) -> None:
    thermal, visible = write_pairs(tmp_path, ["a", "b", "c", "d", "e"])
    examples = recorded_examples(thermal, visible, (32, 24), (64, 48), most=3)
    assert len(examples) == 3
    assert [examples[0][name].shape for name in ("counts", "planes")] == [(1, 1, 24, 32), (1, 3, 48, 64)]
    brightness = [inputs["planes"].mean() for inputs in examples]
    assert brightness[0] > 2 * brightness[1] > 2 * brightness[2] > 0


def test_folders_without_a_pair_are_the_users_mistake(tmp_path) -> None:
    thermal, visible = write_pairs(tmp_path, ["a", "b"])
    for name in ("a", "b"):
        (visible / f"{name}.png").unlink()
    with pytest.raises(UserError, match="vis"):
        recorded_examples(thermal, visible, (32, 24), (64, 48))


def test_the_synthetic_examples_differ(tmp_path) -> None:
    first, *others = synthetic_examples(SIZE, SIZE, 4)
    assert all(not np.array_equal(first["planes"], other["planes"]) for other in others)
    assert others[-1]["planes"].mean() > 1.5 * first["planes"].mean()  # by day
