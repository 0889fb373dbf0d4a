"""The combined loss and its files: any terms, on record, ramped in; mistakes are told with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loss_images import noise, smooth

from streamfuse.errors import UserError
from streamfuse.shipped import shipped_path
from streamfuse.training.losses import CombinedGradientLoss, LossConfig, Previous, load_loss
from streamfuse.training.losses.settings import TERMS
from streamfuse.training.losses.veil import unveiled

FILES = sorted(shipped_path("configs/losses").glob("*.yaml"))
RECONSTRUCTION = {"nestfuse", "res2fusion", "unfusion", "soft-hog"}


def write(folder: Path, text: str) -> Path:
    path = folder / "loss.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("veil", [None, 1.0])
def test_the_sum_is_what_its_terms_and_weights_say(veil) -> None:
    fused, thermal, visible = noise(20, 20, 9, 3).split(1)
    terms = {
        "ssim": {"weight": 5},
        "intensity": {"weight": 2, "target": "mean"},
        "directional": {"weight": 3, "scales": 2},
    }
    config = LossConfig.model_validate({"terms": terms, "veil": veil})
    values = CombinedGradientLoss(config)(fused, thermal, visible).values()
    assert list(values) == ["total", "intensity", "directional", "ssim"]
    images = (fused, thermal if veil is None else unveiled(thermal, veil), visible)
    assert values["intensity"] == pytest.approx(float(TERMS["intensity"](target="mean")(*images)))
    assert values["directional"] == pytest.approx(float(TERMS["directional"](scales=2)(*images)))
    assert values["ssim"] == pytest.approx(float(TERMS["ssim"]()(*images)))
    assert config.weights() == {"intensity": 2, "directional": 3, "ssim": 5}
    assert values["total"] == pytest.approx(sum(weight * values[name] for name, weight in config.weights().items()))


@pytest.mark.parametrize(("progress", "ramp"), [(0, 0), (0.2, 0), (0.25, 0.5), (0.3, 1), (0.7, 1), (1, 1)])
def test_a_late_term_ramps_in_over_a_tenth(progress, ramp) -> None:
    config = LossConfig.model_validate({"terms": {"intensity": {}, "soft_hog": {"weight": 4, "after": 0.2}}})
    fused, thermal, visible = noise(24, 24, 1, 3).split(1)
    record = CombinedGradientLoss(config)(fused.requires_grad_(), thermal, visible, progress=progress)
    hog = float(TERMS["soft_hog"]()(fused.detach(), thermal, visible))
    assert record.values()["soft_hog"] == pytest.approx(hog)
    assert record.values()["total"] == pytest.approx(record.values()["intensity"] + 4 * ramp * hog)
    assert record.terms["soft_hog"].requires_grad == (ramp > 0)


@pytest.mark.parametrize("after", [0.0, 0.95, 1.0])
def test_at_the_end_every_term_counts_in_full(after) -> None:
    config = LossConfig.model_validate({"terms": {"intensity": {"after": after}}})
    record = CombinedGradientLoss(config)(*noise(24, 24, 1, 3).split(1))
    assert record.values()["total"] == pytest.approx(record.values()["intensity"])
    early = CombinedGradientLoss(config)(*noise(24, 24, 1, 3).split(1), progress=0.0)
    assert (float(early.total) > 0) == (after == 0)


def test_the_previous_frame_reaches_the_temporal_term() -> None:
    loss = CombinedGradientLoss(LossConfig.model_validate({"terms": {"temporal": {}, "intensity": {}}}))
    image = smooth(1)
    previous = Previous(image - 0.1, torch.zeros(1, 2, *image.shape[-2:]), torch.ones_like(image))
    assert loss(image, image, image).values()["temporal"] == 0
    assert loss(image, image, image, previous=previous).values()["temporal"] == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_loss_can_be_evaluated_and_followed(path) -> None:
    assert path.read_text().startswith("# ")
    loss = CombinedGradientLoss(load_loss(path))
    image, thermal, visible = smooth(4, 48, 48, 3).split(1)
    assert set(TERMS) >= set(loss.config.weights())
    sources = (image, image) if path.stem in RECONSTRUCTION else (thermal, visible)
    fused = (0.9 * image + 0.05).requires_grad_()
    record = loss(fused, *sources)
    record.total.backward()
    assert fused.grad is not None
    better = fused.detach() - 1e-3 * fused.grad / fused.grad.norm()
    assert 0 < float(loss(better, *sources).total) < record.values()["total"]
    # VIF in float32 misses a perfect copy by some 1e-4
    assert abs(float(loss(image, image, image).total)) < (5e-3 if "fidelity" in loss.config.weights() else 1e-5)


def test_the_shipped_losses_are_those_of_the_papers_and_ours() -> None:
    names = {path.stem for path in FILES}
    assert names >= RECONSTRUCTION | {"combined", "magnitude", "directional-published", "weight-block"}


def test_lambda_is_translated_from_pixels_up_to_255() -> None:
    """NestFuse on 0..255: MSE + 100 (1 - MS-SSIM). On 0..1 the ratio of the two terms stays the same."""
    fused, image = noise(24, 24, 1, 2).split(1)
    for name, factor in (("nestfuse", 100), ("res2fusion", 1000)):
        record = CombinedGradientLoss(load_loss(shipped_path(f"configs/losses/{name}.yaml")))(fused, image, image)
        squares = float((255 * fused - 255 * image).square().mean())
        assert 255**2 * record.values()["total"] == pytest.approx(
            squares + factor * record.values()["ms_ssim"], rel=1e-4
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("terms: {directional: {varant: ours}}", "unknown key `terms.directional.varant`.*did you mean `variant`"),
        ("terms: {directonal: {weight: 1}}", "unknown key `terms.directonal`.*did you mean `directional`"),
        ("terms: {frobnicate: {weight: 1}}", "unknown key `terms.frobnicate`.*allowed here: intensity, directional"),
        ("terms: {directional: {variant: best}}", "`terms.directional.variant` = 'best'.*'ours' or 'published'"),
        ("terms: {intensity: {weight: -1}}", "`terms.intensity.weight` = -1.*greater than or equal to 0"),
        ("terms: {soft_hog: {after: 2}}", "`terms.soft_hog.after` = 2.*less than or equal to 1"),
        ("terms: {soft_hog: {bins: 2}}", "`terms.soft_hog.bins` = 2"),
        ("terms: {intensity: }", "`intensity` says nothing; write `intensity: {}`"),
        ("terms: {intensity: {weight: 0}}", "needs one with a weight above 0"),
        ("terms: {}", "known terms are intensity, directional"),
        ("veil: 0.5", "`terms` is missing"),
    ],
)
def test_a_mistake_in_a_loss_file_is_named(tmp_path, text, said) -> None:
    with pytest.raises(UserError, match=said):
        load_loss(write(tmp_path, text))
