"""NestFuse, Res2Fusion, UNFusion: layer by layer as published, and able to learn from the first step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamfuse.models import untrained
from streamfuse.models.autoencoder import Autoencoder
from streamfuse.models.weights import parameters

NAMES = ("nestfuse", "res2fusion", "unfusion")
NESTFUSE = {
    "first": 32,
    "encoders.0": 1736,
    "encoders.1": 22160,
    "encoders.2": 65624,
    "encoders.3": 132128,
    "d11": 145176,
    "d21": 348408,
    "d31": 639192,
    "d12": 267064,
    "d22": 685360,
    "d13": 425816,
    "last": 65,
}
RES2FUSION = {"first": 160, "second": 1804, "third": 8568, "decoder": 87809 - 145, "last": 145}
UNFUSION = {
    ("c1", "down.c1"): 2480,
    ("c2", "down.c2"): 13888,
    ("e20", "down.e20"): 51992,
    ("c3", "down.c3"): 34656,
    ("e30", "down.e30"): 120936,
    ("e31", "down.e31"): 851688,
    ("c4",): 27712,
    ("e40",): 70968,
    ("e41",): 435904,
    ("e42",): 3749368,
    ("d30", "d20", "d21", "d10", "d11", "d12", "last"): 10323505,
    ("last",): 17,
}
every_autoencoder = pytest.mark.parametrize("name", NAMES)


def fresh(name: str, seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    network = untrained(name)
    assert isinstance(network, Autoencoder)
    return network


def picture(height: int = 40, width: int = 48) -> torch.Tensor:
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    return (0.6 * rows * columns + 0.3 * (columns * 40).sin().abs()).clamp(0, 1)[None, None]


def test_nestfuse_has_the_layers_of_its_table() -> None:
    network = fresh("nestfuse")
    assert {name: parameters(network.get_submodule(name)) for name in NESTFUSE} == NESTFUSE
    assert parameters(network) == sum(NESTFUSE.values()) == 2_732_761


def test_res2fusion_has_the_layers_of_its_table() -> None:
    network = fresh("res2fusion")
    assert {name: parameters(network.get_submodule(name)) for name in RES2FUSION} == RES2FUSION
    assert parameters(network) == sum(RES2FUSION.values()) == 98_341


def test_unfusion_has_the_layers_of_its_table_and_no_dead_ones() -> None:
    network = fresh("unfusion")
    assert {names: sum(parameters(network.get_submodule(n)) for n in names) for names in UNFUSION} == UNFUSION
    assert parameters(network) == 15_683_097
    network.reconstruct(picture()).mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("nestfuse", [(64, 37, 45), (112, 18, 22), (160, 9, 11), (208, 4, 5)]),
        ("res2fusion", [(112, 37, 45)]),
        ("unfusion", [(16, 37, 45), (64, 19, 23), (256, 10, 12), (1024, 5, 6)]),
    ],
)
def test_features_are_fused_at_the_published_scales(name: str, shapes) -> None:
    with torch.inference_mode():
        features = fresh(name).encode(torch.rand(1, 1, 37, 45))
    assert [tuple(one.shape[1:]) for one in features] == shapes


@every_autoencoder
def test_grey_levels_of_0_to_255_with_larger_biases_are_the_same_network(name: str) -> None:
    """The publications' scale, folded in: features and image are 255 times smaller, and so are biases."""
    network = fresh(name).double().requires_grad_(False)
    nn.init.constant_(network.last.bias, 0.1)
    image = picture().double()
    features = network.encode(image)
    decoded = network.decode(features)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.bias.mul_(255)
    larger = network.encode(255 * image)
    assert all(torch.allclose(b, 255 * a, rtol=1e-9) for a, b in zip(features, larger, strict=True))
    assert torch.allclose(network.decode(larger), 255 * decoded, rtol=1e-9)


@every_autoencoder
@pytest.mark.parametrize("seed", range(2))
def test_a_fresh_network_sees_its_input_and_every_layer_can_learn(name: str, seed: int) -> None:
    network = fresh(name, seed).train()
    made = network.reconstruct(picture())
    assert 0.2 < made.mean() < 0.8
    assert made.std() > 0.001
    (made - picture()).square().mean().backward()
    for layer, weight in network.named_parameters():
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0, layer


@every_autoencoder
@pytest.mark.parametrize("bias", [-5.0, 5.0])
def test_pixels_beyond_the_range_are_clamped_but_training_sees_how_far_they_are(name: str, bias: float) -> None:
    network = fresh(name)
    nn.init.constant_(network.last.bias, bias)
    limited = network.eval().reconstruct(picture())
    assert limited.min() == limited.max() == float(bias > 0)
    made = network.train().reconstruct(picture())
    assert made.abs().min() > 1
    assert torch.equal(made.clamp(0, 1), limited)
    (made - picture()).square().mean().backward()
    assert network.last.bias.grad * bias > 0


def test_a_few_steps_bring_the_image_nearer() -> None:
    network, image = fresh("res2fusion").train(), picture(16, 20)
    errors: list[float] = []
    for _ in range(20):
        error = (network.reconstruct(image) - image).abs().mean()
        network.zero_grad()
        error.backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight.sub_(0.001 * weight.grad.sign())  # as Adam's first step; its import takes seconds
        errors.append(error.item())
    assert min(errors[-5:]) < 0.75 * errors[0]


@every_autoencoder
def test_fusing_an_image_with_itself_is_near_its_reconstruction(name: str) -> None:
    network, image = fresh(name).eval(), picture()
    with torch.inference_mode():
        assert (network(image, image) - network.reconstruct(image)).abs().max() < 1e-3


def test_the_others_are_no_autoencoders() -> None:
    for name in ("average", "residual-dense-s", "streamfuse-s"):
        network = untrained(name)
        assert not isinstance(network, Autoencoder)
        assert not hasattr(network, "reconstruct")
