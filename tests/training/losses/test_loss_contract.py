"""What every term promises: zero at the ideal answer, right slopes, any size, any float type."""

from __future__ import annotations

import pytest
import torch
from loss_images import flat, noise, slope, smooth, step

from streamfuse.training.losses.settings import TERMS
from streamfuse.training.losses.term import FusionLoss, Previous

SETTINGS = [
    ("intensity", {}),
    ("intensity", {"target": "mean", "norm": "l2"}),
    ("intensity", {"target": "weighted", "share": 0.3}),
    ("intensity", {"target": "weighted", "weights": "blocks", "norm": "l2"}),
    ("directional", {}),
    ("directional", {"variant": "published"}),
    ("angular", {}),
    ("max_gradient", {}),
    ("max_gradient", {"border": "replicate"}),
    ("weight_block", {}),
    ("weight_block", {"norm": "l1", "block": 8}),
    ("laplacian", {}),
    ("laplacian", {"norm": "l1"}),
    ("soft_hog", {}),
    ("soft_hog", {"polarity": "unsigned", "target": "winner", "bins": 6}),
    ("soft_hog", {"polarity": "signed", "target": "union", "normalised": True}),
    ("ssim", {}),
    ("ssim", {"weights": "blocks"}),
    ("ms_ssim", {}),
    ("ms_ssim", {"form": "published", "share": 0.3}),
    ("salience", {}),
]
EVERY = [
    pytest.param(TERMS[name](**kwargs), id=" ".join((name, *map(str, kwargs.values())))) for name, kwargs in SETTINGS
]
BLIND_TO_BRIGHTNESS = [("directional", {}), ("angular", {}), ("max_gradient", {"border": "replicate"}),
                       ("laplacian", {}), ("weight_block", {}), ("soft_hog", {}),
                       ("soft_hog", {"normalised": True})]  # fmt: skip
SIGNED = [("directional", {}), ("directional", {"variant": "published"}), ("angular", {}), ("weight_block", {}),
          ("laplacian", {}), ("soft_hog", {"polarity": "signed"}), ("ssim", {})]  # fmt: skip
EDGES = [
    *SIGNED[:5],
    ("max_gradient", {"border": "replicate"}),
    ("soft_hog", {}),
    ("soft_hog", {"polarity": "unsigned"}),
]


def test_every_term_is_in_this_table_or_has_its_own_tests() -> None:
    elsewhere = {
        "temporal",
        "complement",
        "edge_transfer",
        "fidelity",
        "overshoot",
        "daylight",  # test_loss_sources.py
    }  # test_losses_scores.py has the rest
    assert {name for name, _ in SETTINGS} == TERMS.keys() - elsewhere


@pytest.mark.parametrize("loss", EVERY)
def test_an_image_as_both_sources_is_its_own_best_answer(loss: FusionLoss) -> None:
    image = smooth(3)
    assert abs(float(loss(image, image, image))) < 1e-6
    assert float(loss((image * 0.8).roll(3, -1), image, image)) > 1e-4


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("loss", EVERY)
def test_nothing_to_be_seen_costs_nothing_and_has_a_slope(loss: FusionLoss, value: float) -> None:
    image = flat(value)
    assert abs(float(loss(image, image, image))) < 1e-6
    assert torch.isfinite(slope(loss, image, image, image)).all()


@pytest.mark.parametrize(("name", "settings"), BLIND_TO_BRIGHTNESS)
def test_constant_images_have_no_edge_not_even_at_the_border(name: str, settings: dict[str, object]) -> None:
    assert float(TERMS[name](**settings)(flat(0.8), flat(0.5), flat(0.3))) == 0


@pytest.mark.parametrize(("name", "settings"), [("directional", {"variant": "published"}), ("max_gradient", {})])
def test_the_published_forms_see_an_edge_around_constant_images(name: str, settings: dict[str, object]) -> None:
    assert float(TERMS[name](**settings)(flat(0.8), flat(0.5), flat(0.3))) > 0.05


@pytest.mark.parametrize(("name", "settings"), SIGNED)
def test_a_negative_is_worse_than_no_edge(name: str, settings: dict[str, object]) -> None:
    loss, edge = TERMS[name](**settings), step(30)
    assert float(loss(1 - edge, edge, edge)) > 1.3 * float(loss(flat(0.5, 32, 32), edge, edge)) > 0


@pytest.mark.parametrize(
    ("name", "settings"), [("soft_hog", {"polarity": "unsigned"}), ("max_gradient", {"border": "replicate"})]
)
def test_terms_without_sign_do_not_see_a_negative(name: str, settings: dict[str, object]) -> None:
    assert float(TERMS[name](**settings)(1 - step(30), step(30), step(30))) < 1e-6


@pytest.mark.parametrize(("name", "settings"), EDGES)
def test_lost_edges_cost_alike_in_every_direction(name: str, settings: dict[str, object]) -> None:
    """Above all both diagonals, one of which cancels where the axes are added with their signs."""
    loss, blank = TERMS[name](**settings), flat(0.5, 32, 32)
    costs = torch.tensor([float(loss(blank, step(degrees), blank)) for degrees in range(0, 360, 45)])
    straight, diagonal = costs[0::2], costs[1::2]
    assert torch.allclose(straight, straight.mean(), rtol=0.15)
    assert torch.allclose(diagonal, diagonal.mean(), rtol=0.15)
    assert 0.5 * straight.mean() < diagonal.mean() < 2 * straight.mean()


@pytest.mark.parametrize("loss", EVERY)
def test_slopes_are_right_in_double_precision(loss: FusionLoss) -> None:
    thermal, visible, other = smooth(8, 13, 14, 3).double().split(1)
    fused = (0.4 * thermal + 0.4 * visible + 0.2 * other).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: loss(image, thermal, visible), fused)
    assert float(slope(loss, fused, thermal, visible).abs().max()) > 1e-6


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", EVERY)
def test_half_precision_goes_in_and_single_comes_out(loss: FusionLoss, kind: torch.dtype) -> None:
    images = [image.to(kind) for image in smooth(9, 33, 35, 3).split(1)]
    expected = float(loss(*(image.float() for image in images)))
    found = loss(*images)
    assert found.dtype == torch.float32
    assert float(found) == expected
    assert torch.isfinite(slope(loss, *images)).all()
    dark = [image * 1e-3 for image in images]
    assert torch.isfinite(slope(loss, *dark)).all()


@pytest.mark.parametrize("loss", EVERY)
def test_autocast_does_not_coarsen_a_loss(loss: FusionLoss) -> None:
    images = smooth(9, 33, 35, 3).split(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(loss(*images)) == float(loss(*images))
        inside = loss(*images)
    assert float(inside) == float(loss(*images))


@pytest.mark.parametrize("loss", EVERY)
def test_nothing_stays_on_the_cpu(loss: FusionLoss) -> None:
    """A device without data refuses to work with tensors of any other."""
    elsewhere = noise().to("meta")
    assert loss.cost(elsewhere, elsewhere, elsewhere).device.type == "meta"


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (37, 53), (11, 90)])
@pytest.mark.parametrize("loss", EVERY)
def test_any_size_will_do(loss: FusionLoss, size: tuple[int, int]) -> None:
    fused, thermal, visible = noise(*size, seed=5, count=6).chunk(3)
    cost = loss(fused, thermal, visible)
    assert cost.shape == ()
    assert torch.isfinite(cost)
    assert torch.isfinite(slope(loss, fused, thermal, visible)).all()


@pytest.mark.parametrize("loss", [one for one in EVERY if "published 0.3" not in str(one.id)])
def test_a_batch_costs_the_mean_of_its_images(loss: FusionLoss) -> None:
    """No image looks at its neighbours in the batch; the hosts' MS-SSIM does, see there."""
    fused, thermal, visible = smooth(2, 24, 29, 9).chunk(3)
    singles = [float(loss(*one)) for one in zip(fused.split(1), thermal.split(1), visible.split(1), strict=True)]
    assert float(loss(fused, thermal, visible)) == pytest.approx(sum(singles) / 3, rel=1e-4)


@pytest.mark.parametrize("loss", EVERY)
def test_images_of_different_shapes_are_refused(loss: FusionLoss) -> None:
    with pytest.raises(ValueError, match=r"one shape N 1 H W, found \(2, 1, 24, 30\), \(2, 1, 24, 1\)"):
        loss(noise(), noise()[..., :1], noise())


def test_the_previous_frame_is_of_no_concern_to_terms_of_one_frame() -> None:
    previous = Previous(noise(seed=1), torch.zeros(2, 2, 24, 30), torch.ones(2, 1, 24, 30))
    images = noise(seed=2), noise(seed=3), noise(seed=4)
    assert float(TERMS["ssim"]()(*images, previous=previous)) == float(TERMS["ssim"]()(*images))
