"""What every model promises, and what average and Laplacian pyramid are."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streamfuse.errors import UserError
from streamfuse.models import MODELS, build
from streamfuse.models.laplacian import double, halve, stronger

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SIZES = [(1, 1), (2, 3), (5, 64), (37, 45), (96, 128)]


def images(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.rand(2, 1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    return made[0], made[1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_any_size_gives_an_image_of_that_size_in_zero_to_one_and_the_same_again(name: str, size) -> None:
    model, (thermal, visible) = build(name), images(*size)
    fused = model(thermal, visible)
    assert fused.shape == thermal.shape
    assert fused.dtype == torch.float32
    assert fused.min() >= 0
    assert fused.max() <= 1
    assert torch.equal(fused, build(name)(thermal, visible))


@pytest.mark.parametrize("name", ["average", "laplacian"])
def test_equal_inputs_come_out_unchanged(name: str) -> None:
    one = images(33, 47)[0]
    assert (build(name)(one, one) - one).abs().max() < 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_images_of_a_batch_are_independent(name: str) -> None:
    model, (one, other) = build(name), images(33, 47)
    batch = model(torch.cat((one, other)), torch.cat((other, other)))
    assert torch.allclose(batch[:1], model(one, other), atol=1e-6)
    assert torch.allclose(batch[1:], model(other, other), atol=1e-6)


def test_an_unknown_model_names_the_models_and_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"'laplacain' is unknown, did you mean 'laplacian'\?.*average, laplacian"):
        build("laplacain")


def test_average_is_the_mean() -> None:
    thermal, visible = images(9, 7)
    assert torch.allclose(build("average")(thermal, visible), (thermal + visible) / 2)


@pytest.mark.parametrize("size", [(64, 80), (63, 81)])
def test_halving_and_doubling_are_opencvs_pyramid_away_from_the_border(size) -> None:
    image = images(*size)[0]
    array = image[0, 0].numpy()
    half = cv2.pyrDown(array)
    assert halve(image).shape[2:] == half.shape
    assert np.abs(halve(image)[0, 0].numpy() - half)[2:-2, 2:-2].max() < 1e-6
    twice = cv2.pyrUp(half, dstsize=array.shape[::-1])
    assert np.abs(double(torch.from_numpy(half)[None, None], size)[0, 0].numpy() - twice)[2:-2, 2:-2].max() < 1e-6


def test_doubling_keeps_a_ramp_and_a_constant() -> None:
    ramp = torch.arange(20.0).expand(1, 1, 4, 20)
    assert torch.allclose(double(ramp, (8, 40))[0, 0, 3, 4:-4], torch.arange(40.0)[4:-4] / 2)
    assert torch.equal(double(torch.full((1, 1, 3, 5), 0.25), (6, 9)), torch.full((1, 1, 6, 9), 0.25))


def test_the_larger_magnitude_wins() -> None:
    pair = torch.tensor([[0.5, -0.2], [-0.5, 0.2], [0.1, 0.3], [0.0, -0.4], [0.3, -0.3], [0.2, 0.2]])
    won = stronger(pair.T.reshape(1, 2, 1, 6)).flatten()
    assert torch.allclose(won, torch.tensor([0.5, -0.5, 0.3, -0.4, 0.0, 0.2]))


def opencv_pyramid(thermal: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The pyramid fusion of the comparison tables: four levels of detail by larger magnitude, averaged base."""
    stacks = []
    for image in (thermal, visible):
        levels = [image]
        for _ in range(4):
            levels.append(cv2.pyrDown(levels[-1]))
        details = [a - cv2.pyrUp(b, dstsize=a.shape[::-1]) for a, b in itertools.pairwise(levels)]
        stacks.append([*details, levels[-1]])
    fused = (stacks[0][-1] + stacks[1][-1]) / 2
    for a, b in zip(stacks[0][-2::-1], stacks[1][-2::-1], strict=True):
        fused = cv2.pyrUp(fused, dstsize=a.shape[::-1]) + np.where(np.abs(a) >= np.abs(b), a, b)
    return fused.clip(0, 1)


def test_laplacian_is_the_pyramid_of_the_comparison_tables() -> None:
    visible = cv2.GaussianBlur(images(160, 200, 1)[0][0, 0].numpy(), (0, 0), 2)
    thermal = cv2.GaussianBlur(images(160, 200, 2)[0][0, 0].numpy(), (0, 0), 5)
    fused = build("laplacian")(*(torch.from_numpy(image)[None, None] for image in (thermal, visible)))[0, 0].numpy()
    reference = opencv_pyramid(thermal, visible)
    assert np.abs(fused - reference)[40:-40, 40:-40].max() < 1e-4
    assert np.abs(fused - reference).max() < 0.05


def test_laplacian_scores_as_the_comparison_tables_say_on_real_pairs() -> None:
    folder = SHARED / "benchmark" / "TNO"
    pairs = [(file, next((folder / "vis").glob(f"{file.stem}.*"))) for file in sorted((folder / "ir").glob("*.*"))]
    if not pairs:
        pytest.skip(f"shared data not here: {folder}")
    model, scores = build("laplacian"), []
    for files in pairs:
        thermal, visible = (torch.from_numpy(cv2.imread(str(f), 0))[None, None] / 255 for f in files)
        fused = (model(thermal, visible)[0, 0].numpy() * 255 + 0.5).astype(np.uint8).astype(float)
        frequency = np.hypot(np.diff(fused, axis=0).std(), np.diff(fused, axis=1).std())
        scores.append((fused.std(), frequency))
    deviation, frequency = np.mean(scores, axis=0)
    assert deviation == pytest.approx(33.04, abs=0.1)
    assert frequency == pytest.approx(13.00, abs=0.05)
