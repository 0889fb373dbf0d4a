"""What every model promises, how large each is, and what average and Laplacian pyramid are."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from streamfuse.errors import UserError
from streamfuse.models import MODELS, TABLE, build, untrained
from streamfuse.models.laplacian import double, halve, stronger
from streamfuse.models.weights import parameters

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SIZES = [(1, 1), (2, 3), (5, 64), (17, 33), (37, 45)]
RESIDUAL_DENSE = {"residual-dense-s": 28_249, "residual-dense-m": 138_017, "residual-dense-l": 905_793}
MACS_PER_PIXEL = {
    "residual-dense-s": 28_000,
    "residual-dense-m": 138_000,
    "residual-dense-l": 905_000,
    "res2fusion": 3_384_000,
    "res2fusion:coarse": 209_000,
    "nestfuse": 1_160_000,
    "unfusion": 1_240_000,
}


def images(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.rand(2, 1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    return made[0], made[1]


def made(name: str) -> torch.nn.Module:
    """The model, with random weights where it has any: what it promises holds for all weights."""
    torch.manual_seed(0)
    return untrained(name).eval().requires_grad_(False)


every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_any_size_gives_an_image_of_that_size_in_zero_to_one_and_the_same_again(name: str) -> None:
    model = made(name)
    for size in SIZES:
        thermal, visible = images(*size)
        fused = model(thermal, visible)
        assert fused.shape == thermal.shape
        assert fused.dtype == torch.float32
        assert torch.isfinite(fused).all()
        assert fused.min() >= 0
        assert fused.max() <= 1
        assert torch.equal(fused, model(thermal, visible))


@every_model
def test_an_image_that_shows_nothing_does_no_harm(name: str) -> None:
    model, (image, _) = made(name), images(17, 20)
    for value in (0.0, 1.0):
        flat = torch.full_like(image, value)
        for pair in ((flat, image), (image, flat), (flat, flat)):
            assert torch.isfinite(model(*pair)).all()


@pytest.mark.parametrize("name", ["average", "laplacian"])
def test_equal_inputs_come_out_unchanged(name: str) -> None:
    one = images(33, 47)[0]
    assert (build(name)(one, one) - one).abs().max() < 1e-6


@every_model
def test_images_of_a_batch_are_independent(name: str) -> None:
    model, (one, other) = made(name), images(19, 27)
    batch = model(torch.cat((one, other)), torch.cat((other, 0.3 * other)))
    assert torch.allclose(batch[:1], model(one, other), atol=1e-5)
    assert torch.allclose(batch[1:], model(other, 0.3 * other), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "laplacian"])  # its choice has no nearly
@pytest.mark.parametrize(("kind", "bound"), [(torch.float16, 0.005), (torch.bfloat16, 0.03)])
def test_half_precision_is_finite_and_near(name: str, kind: torch.dtype, bound: float) -> None:
    model, (thermal, visible) = made(name), images(24, 33)
    wanted = model(thermal, visible)
    fused = model.to(kind)(thermal.to(kind), visible.to(kind))
    assert fused.dtype == kind
    assert (fused.float() - wanted).abs().max() < bound


@every_model
def test_torch_exports_it_at_a_fixed_odd_size(name: str) -> None:
    model, pair = made(name), images(21, 35)
    assert torch.allclose(torch.export.export(model, pair).module()(*pair), model(*pair), atol=1e-6)


@pytest.mark.parametrize("name", ["nestfuse", "res2fusion:coarse", "unfusion", "residual-dense-s"])
def test_torch_exports_it_for_every_size_that_is_a_multiple_of_eight(name: str) -> None:
    height, width = (8 * torch.export.Dim(side, min=2, max=256) for side in ("height", "width"))
    sizes = ({2: height, 3: width},) * 2
    model, pair = made(name), images(40, 32)
    exported = torch.export.export(model, images(24, 48), dynamic_shapes=sizes).module()
    assert torch.allclose(exported(*pair), model(*pair), atol=1e-6)


@pytest.mark.parametrize(("name", "count"), RESIDUAL_DENSE.items())
def test_the_residual_dense_networks_have_the_stated_sizes(name: str, count: int) -> None:
    assert parameters(made(name)) == count


def test_the_residual_dense_layers_are_those_of_its_table() -> None:
    network = made("residual-dense-l")
    block = sum((64 + 32 * c) * 32 * 9 + 32 for c in range(5)) + (64 + 5 * 32) * 64 + 64
    table = {
        "shallow": 2 * 64 * 9 + 64,
        "deeper": 64 * 64 * 9 + 64,
        "blocks": 4 * block,
        "gather": 4 * 64 * 64 + 64 + 64 * 64 * 9 + 64,
        "paint": 64 * 32 * 9 + 32 + 32 * 9 + 1,
    }
    assert {part: parameters(network.get_submodule(part)) for part in table} == table


@pytest.mark.parametrize("name", RESIDUAL_DENSE)
def test_a_fresh_residual_dense_network_can_learn_in_every_layer(name: str) -> None:
    network, pair = made(name).train().requires_grad_(True), images(20, 24)
    fused = network(*pair)
    assert 0.2 < fused.mean() < 0.8
    (fused - pair[0]).square().mean().backward()
    for layer, weight in network.named_parameters():
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0, layer


@pytest.mark.parametrize(("name", "stated"), MACS_PER_PIXEL.items())
def test_the_work_per_pixel_is_as_the_documentation_says(name: str, stated: float) -> None:
    """Multiplications of convolutions and matrix products at 640x480, counted without computing anything."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        made(name)(torch.empty(1, 1, 480, 640), torch.empty(1, 1, 480, 640))
    assert counter.get_total_flops() / 2 / (640 * 480) == pytest.approx(stated, rel=0.005)


def test_an_unknown_model_names_the_models_and_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"'laplacain' is unknown, did you mean 'laplacian'\?.*average, laplacian"):
        build("laplacain")
    with pytest.raises(UserError, match=r"'netfuse:max' is unknown, did you mean 'nestfuse'\?"):
        build("netfuse:max")


def test_a_rule_that_a_model_does_not_have_names_those_it_has() -> None:
    with pytest.raises(UserError, match=r"'nestfuse' has no fusion rule 'l2'; its rules are: average, max, nuclear"):
        build("nestfuse:l2")
    with pytest.raises(UserError, match=r"'laplacian' has no fusion rule 'max'; it has no rules to choose from"):
        build("laplacian:max")


def test_the_plain_name_means_the_first_rule() -> None:
    pair = images(16, 16)
    for name, entry in TABLE.items():
        if entry.rules:
            fused = {rule: made(f"{name}:{rule}")(*pair) for rule in entry.rules}
            assert torch.equal(made(name)(*pair), fused[entry.rules[0]])
            assert all((fused[rule] - fused[entry.rules[0]]).abs().max() > 0 for rule in entry.rules[1:])


def test_weights_that_do_not_ship_name_the_command_that_trains_them() -> None:
    with pytest.raises(UserError, match=r"no weights ship with it; train them: streamfuse train .*--model unfusion "):
        build("unfusion:l2")


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
