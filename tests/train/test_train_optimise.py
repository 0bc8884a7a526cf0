"""SAM, the losses, and what of a network learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import make_runs
from telltale import models
from telltale.errors import UsageError
from telltale.models import Weights
from telltale.recipe import Recipe, Stage, TeacherPart, load_recipe
from telltale.train._loss import embedding_loss, label_loss
from telltale.train._module import Fit
from telltale.train._optimise import Sam, make_optimiser, rate


def _step(optimiser: Sam, weight: nn.Parameter) -> float:
    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = 0.5 * weight.pow(2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return float(optimiser.step(closure).detach())


def test_sam_applies_the_gradient_from_up_the_slope() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    sam = Sam(torch.optim.SGD([weight], lr=0.1), rho=0.5)
    assert _step(sam, weight) == pytest.approx(12.5)
    # the gradient at w + .5 w / |w| = 1.1 w
    assert weight.tolist() == pytest.approx([3 - 0.33, 4 - 0.44])


def test_sam_goes_on_from_its_state() -> None:
    whole, half = (nn.Parameter(torch.tensor([3.0, 4.0])) for _ in range(2))
    sams = [Sam(torch.optim.SGD([weight], lr=0.1, momentum=0.9), rho=0.5) for weight in (whole, half)]
    for sam, weight in zip(sams, (whole, half), strict=True):
        _step(sam, weight)
    again = Sam(torch.optim.SGD([half], lr=0.1, momentum=0.9), rho=0.5)
    again.load_state_dict(sams[1].state_dict())
    _step(sams[0], whole)
    _step(again, half)
    assert torch.equal(whole, half)


def test_a_stage_with_rho_is_optimised_by_sam_at_its_rate() -> None:
    stage = load_recipe("efficientnet-b4-sbi").stages[0]
    sam = make_optimiser(stage, [nn.Parameter(torch.ones(2, 2))])
    assert isinstance(sam, Sam)
    assert isinstance(sam.base, torch.optim.SGD)
    sam.param_groups[0]["lr"] = 0.5
    assert sam.base.param_groups[0]["lr"] == 0.5


def test_batch_norms_take_no_statistics_from_the_second_pass() -> None:
    fit = Fit(nn_with_norm(), make_runs.tiny("efficientnet-b4-sbi"), stage=0, validation=None)
    norm = next(m for m in fit.net.modules() if isinstance(m, nn.BatchNorm2d))
    sam = make_optimiser(fit.stage, fit.net.parameters())
    assert isinstance(sam, Sam)
    fit.optimizers = lambda **_: sam  # type: ignore[method-assign, assignment]
    batch = {
        "clips": torch.randint(0, 255, (4, 1, 32, 32, 3), dtype=torch.uint8),
        "mask": torch.ones(4, 1, dtype=torch.bool),
        "target": torch.tensor([0.0, 1, 0, 1]), "label": torch.tensor([0.0, 1, 0, 1]), "weight": torch.full((4,), 0.25),
    }  # fmt: skip
    sam.is_ahead = True
    before = norm.running_mean.clone()  # type: ignore[union-attr]
    fit.training_step(batch, 0)
    assert torch.equal(before, norm.running_mean)  # type: ignore[arg-type]
    sam.is_ahead = False
    fit.training_step(batch, 0)
    assert not torch.equal(before, norm.running_mean)  # type: ignore[arg-type]


def nn_with_norm() -> nn.Module:
    return models.create("transfer", weights=Weights("none"), options={"backbone": "test_efficientnet"}, size_px=32)


def test_a_linear_decay_ends_at_its_last_rate() -> None:
    stage = Stage(epochs=4, steps_per_epoch=25, lr=1.0, final_lr=0.0, warmup_steps=0, decay_from=0.75, decay="linear")
    assert [rate(stage, step) for step in (0, 74, 75, 85, 95)] == pytest.approx([1, 1, 1, 0.6, 0.2])


def test_embeddings_are_spread_and_classes_drawn_together() -> None:
    square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    label = torch.tensor([0.0, 0, 1, 1])
    # four pairs at squared distance 2, two at 4, which are those of the classes
    spread = math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6)
    assert float(embedding_loss(square, label, Recipe(uniformity=0.5))) == pytest.approx(0.5 * spread, abs=1e-6)
    assert float(embedding_loss(square, label, Recipe(alignment=0.1))) == pytest.approx(0.4)


def test_a_teacher_alone_is_met_by_its_own_answers() -> None:
    logit = torch.tensor([1.5, -0.5], requires_grad=True)
    batch = {"target": torch.tensor([0.0, 1.0]), "weight": torch.full((2,), 0.5), "teacher": torch.tensor([1.5, -0.5])}
    label_loss(logit, batch, TeacherPart(bundle="default", weight=1.0, temperature=2.0)).backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None
    assert torch.allclose(logit.grad, torch.zeros(2), atol=1e-6)


def test_of_a_vit_only_layer_norms_and_the_head_learn() -> None:
    recipe = make_runs.tiny("vit-layernorm")
    net = models.create("vit", weights=Weights("none"), options=recipe.model.options, size_px=32)
    fit = Fit(net, recipe, stage=0, validation=None)
    learning = {name for name, p in fit.net.named_parameters() if p.requires_grad}
    assert learning
    assert all("norm" in name or name.startswith("head") for name in learning)
    everything = models.create(
        "vit", weights=Weights("none"), options=recipe.model.options | {"tune": "all"}, size_px=32
    )
    fit = Fit(everything, recipe, stage=0, validation=None)
    assert all(p.requires_grad for p in fit.net.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet18"}, "vision transformer"),
        ({"backbone": "test_vit", "tune": "bias"}, "options.tune of vit"),
    ],
)
def test_a_vit_of_another_kind_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        models.create("vit", weights=Weights("none"), options=options, size_px=32)


def test_a_loss_of_embeddings_needs_a_model_that_has_them() -> None:
    recipe = make_runs.tiny("baseline-cnn", "uniformity=0.5")
    net = models.create("baseline_cnn", weights=Weights("none"), size_px=32)
    with pytest.raises(UsageError, match="no embedding"):
        Fit(net, recipe, stage=0, validation=None)
