"""Channels that say nothing new are taken out; what is left says the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import make_faces
import make_runs
from telltale import models
from telltale.bundle import Bundle, DetectorSettings, load_bundle
from telltale.errors import UsageError
from telltale.export import export_onnx, onnx_logits, torch_logits
from telltale.models import Weights
from telltale.models._backbone import trunks_of
from telltale.models._mobilenet import ConvNorm, InvertedResidual, MobileNetV2, folded, put_folded
from telltale.models.transfer import Transfer
from telltale.recipe import Recipe, Stage
from telltale.train import FaceTable, join, train
from telltale.train._finish import finish
from telltale.train._origin import Origin
from telltale.train._prune import _Block, _order, pruned, to_prune_by
from telltale.types import Float64Array, RgbImage


def clips(n: int = 12, seed: int = 0) -> RgbImage:
    """Coarse noise: pictures whose places differ, and are alike to their neighbours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3)


def network(*, trunks: int = 1, seed: int = 0) -> Transfer:
    """Narrow, so that the largest matrix is small."""
    torch.manual_seed(seed)
    net = models.create(
        "transfer", weights=Weights("none"), options={"backbone": "mobilenetv2", "trunks": trunks}, size_px=64
    )
    assert isinstance(net, Transfer)
    for trunk in trunks_of(net.backbone):
        assert isinstance(trunk, MobileNetV2)
        trunk.set_widths([16, *[64] * 16])
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.uniform_(0.2, 1.0)  # so that something passes every ReLU6
        assert isinstance(net.head, nn.Linear)
        net.head.weight.normal_()
    return net.eval()


def widths(net: nn.Module) -> list[list[int]]:
    return [
        [block.hidden for block in trunk.modules() if isinstance(block, InvertedResidual)]
        for trunk in trunks_of(net.backbone)  # type: ignore[arg-type]
    ]


def test_folded_norms_say_what_the_norms_said() -> None:
    net = network()
    trunk = net.backbone
    assert isinstance(trunk, MobileNetV2)
    other = MobileNetV2().eval()
    put_folded(other, folded(trunk), "here")
    pictures = net.normalise(torch.from_numpy(clips()))
    with torch.no_grad():
        torch.testing.assert_close(other(pictures), trunk(pictures), rtol=1e-4, atol=1e-4)


def block_of(hidden: Float64Array, weight: Float64Array) -> _Block:
    """What is known of a block whose hidden channels took these values, (places, h), before `weight`, (n_out, h)."""
    mean = hidden.mean(axis=0)
    covariance = hidden.T @ hidden / len(hidden) - np.outer(mean, mean)
    return _Block(covariance + 1e-6 * np.eye(len(mean)), mean, weight, n_places=1, macs=1)


def test_channels_that_say_nothing_new_go_first_and_for_nothing() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(size=(500, 24))
    hidden = np.concatenate([own, own[:, :8], np.full((500, 8), 3.0)], axis=1)  # 8 repeated, 8 that never change
    order, costs = _order(block_of(hidden, rng.normal(size=(16, 40))))
    assert {int(n) for n in order[:16]} & set(range(8, 24)) == set()
    assert costs[:16].max() < 1e-3 < 1 < costs[16]


def test_what_a_channel_costs_is_what_least_squares_loses() -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(400, 16)) @ rng.normal(size=(16, 16))
    weight = rng.normal(size=(5, 16))
    (gone, *_), (cost, *_) = _order(block_of(hidden, weight))
    centred = hidden - hidden.mean(axis=0)
    wanted = centred @ weight.T
    left = np.delete(centred, gone, axis=1)
    fitted = left @ np.linalg.lstsq(left, wanted, rcond=None)[0]
    assert cost == pytest.approx(((wanted - fitted) ** 2).sum() / len(hidden), rel=1e-2)


def _macs(net: Transfer, side_px: int = 64) -> list[int]:
    """Multiply-adds of each block of the first trunk, the stem with the first."""
    found: list[int] = []
    side, before = side_px // 2, 3 * 3 * 3
    for block in trunks_of(net.backbone)[0].modules():
        if isinstance(block, InvertedResidual):
            in_the_middle, last = block.layers[-2], block.layers[-1]
            assert isinstance(in_the_middle, ConvNorm)
            assert isinstance(last, ConvNorm)
            stride, n_out = int(in_the_middle.conv.stride[0]), int(last.conv.out_channels)
            side //= stride
            found.append(block.hidden * side**2 * (before * stride**2 + 9 + n_out))
            before = n_out
    return found


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_so_much_is_left_as_was_asked_for_and_the_net_given_is_untouched(keep: float) -> None:
    net = network(trunks=2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    smaller = pruned(net, clips(), keep=keep)
    assert keep - 0.06 < sum(_macs(smaller)) / sum(_macs(net)) <= keep
    assert all(n % 8 == 0 for trunk in widths(smaller) for n in trunk)
    assert len(widths(smaller)) == 2
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in smaller.parameters())


def test_fitting_anew_is_better_than_cutting_alone() -> None:
    net, faces = network(), clips(40)
    fitted = pruned(net, faces, keep=0.7)
    plain = copy.deepcopy(net)
    kept = widths(fitted)[0]
    state = net.state_dict()
    # the same widths, the first channels of each block, their weights as they were
    for number, n in enumerate(kept):
        for name in [name for name in state if name.startswith(f"backbone.blocks.{number + 1}.layers.")]:
            layer = int(name.split(".")[4])
            last = 1 if number == 0 else 2
            if layer < last:
                state[name] = state[name][:n] if state[name].ndim else state[name]
            elif name.endswith("conv.weight"):
                state[name] = state[name][:, :n]
        if number == 0:
            for name in [name for name in state if name.startswith("backbone.blocks.0.") and state[name].ndim]:
                state[name] = state[name][:n]
    plain.load_state_dict(state)
    whole = torch_logits(net, faces)
    off = [float(np.abs(torch_logits(one.eval(), faces) - whole).mean()) for one in (fitted, plain)]
    assert off[0] < 0.5 * off[1]


def test_the_same_seed_gives_the_same_network() -> None:
    net = network()
    first, second = (pruned(net, clips(), keep=0.6, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_it_exports_and_is_loaded_from_its_graph_and_from_its_weights(tmp_path: Path) -> None:
    smaller = pruned(network(trunks=2), clips(), keep=0.6)
    assert export_onnx(smaller, clips(), tmp_path / "model.onnx") < 1e-3
    fresh = network(trunks=2, seed=1)
    assert fresh.load_graph(tmp_path / "model.onnx")
    assert widths(fresh) == widths(smaller)
    np.testing.assert_allclose(torch_logits(fresh.eval(), clips()), torch_logits(smaller, clips()), atol=1e-4)
    other = network(trunks=2, seed=2)
    other.load_state_dict(smaller.state_dict())
    np.testing.assert_allclose(torch_logits(other.eval(), clips()), torch_logits(smaller, clips()), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"backbone": "resnet18"}, {"backbone": "mobilenetv2", "hidden": 8}], ids=["other", "two layers"]
)
def test_other_networks_are_refused(options: dict[str, object]) -> None:
    net = models.create("transfer", weights=Weights("none"), options=options, size_px=64)
    with pytest.raises(UsageError, match="prune_to"):
        pruned(net, clips(2), keep=0.5)


def test_what_cannot_be_pruned_is_not_trained_first(tmp_path: Path) -> None:
    for recipe in (
        make_runs.tiny("xception", "prune_to=0.5"),
        make_runs.tiny("xception", "stages.0.prune_to=0.5"),
        make_runs.tiny("svm", "prune_to=0.5"),
    ):
        with pytest.raises(UsageError, match="prune_to"):
            train([make_faces.table(n=32)], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    assert not (tmp_path / "run").exists()


def test_a_recipe_prunes_what_it_trained_and_the_bundle_goes_on(tmp_path: Path) -> None:
    table = make_faces.table(n=32)
    ours = make_runs.tiny("mobilenetv2", "model.options.backbone=mobilenetv2", "prune_to=0.6")
    bundle = train([table], recipe=ours, out=tmp_path / "run", settings=make_runs.ALONE)
    assert bundle.card.recipe["prune_to"] == 0.6
    net = models.create("transfer", weights=Weights(str(bundle.path)), options=ours.model.options, size_px=32)
    assert sum(widths(net)[0]) < 0.9 * sum(widths(models.create("transfer", weights=Weights("none")))[0])
    faces = np.random.default_rng(0).integers(0, 256, (4, 1, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(torch_logits(net.eval(), faces), onnx_logits(bundle.model_path, faces), atol=1e-3)

    again = make_runs.tiny("mobilenetv2", "model.options.backbone=mobilenetv2")
    begin = replace(make_runs.ALONE, weights=str(bundle.path))
    after = train([table], recipe=again, out=tmp_path / "again", settings=begin)
    assert load_bundle(after.path).model_path.stat().st_size < 1.1 * bundle.model_path.stat().st_size


def assert_still_knows_in_training(bundle: Bundle, table: FaceTable, recipe: Recipe, *, trunks: int) -> None:
    """In training mode norms take their statistics from the batch: those that `_begin.ready` set them from."""
    faces = to_prune_by(table.on("train"), recipe, 64)
    options = {"backbone": "mobilenetv2", "dropout": 0.0, "trunks": trunks}
    net = models.create("transfer", weights=Weights(str(bundle.path)), options=options, size_px=64)
    fixed, own = torch_logits(net.eval(), faces), onnx_logits(bundle.model_path, faces)
    assert fixed.std() > 0.01, "it tells faces apart"
    np.testing.assert_allclose(fixed, own, atol=1e-3)
    with torch.no_grad():
        learning = net.train()(torch.from_numpy(faces))[0].double().numpy()
    np.testing.assert_allclose(learning, fixed, atol=0.02 * fixed.std())


def finished(folder: Path, recipe: Recipe, *, seed: int = 0, with_weights: bool = True) -> Bundle:
    """The bundle of a network that tells faces apart, though nobody taught it: its norms know the faces."""
    net, table = network(seed=seed), make_faces.table(n=32)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(torch.from_numpy(to_prune_by(table.on("train"), recipe, 64)))
    return finish(
        net.eval(), table, recipe, size_px=64, out=folder,
        origin=Origin((), DetectorSettings(), {}), with_weights=with_weights,
    )  # fmt: skip


@pytest.mark.parametrize("members", [1, 2])
def test_a_pruned_bundle_still_knows_in_training_what_it_knew(members: int, tmp_path: Path) -> None:
    table = make_faces.table(n=32)
    recipe = make_runs.tiny("mobilenetv2", "model.options.backbone=mobilenetv2")
    smaller = recipe.model_copy(update={"prune_to": 0.8})
    if members == 1:
        bundle = finished(tmp_path / "one", smaller)
    else:
        each = [finished(tmp_path / str(seed), recipe, seed=seed) for seed in (0, 1)]
        bundle = join(each, table, smaller, shares=(1, 1), out=tmp_path / "both")
    assert_still_knows_in_training(bundle, table, recipe, trunks=members)


def test_joined_graphs_still_know_in_training_what_they_knew(tmp_path: Path) -> None:
    table = make_faces.table(n=32)
    recipe = make_runs.tiny("mobilenetv2", "model.options.backbone=mobilenetv2")
    each = [finished(tmp_path / str(seed), recipe, seed=seed, with_weights=False) for seed in (0, 1)]
    assert {one.weights_path for one in each} == {None}
    bundle = join(each, table, recipe, shares=(1, 1), out=tmp_path / "both")
    assert_still_knows_in_training(bundle, table, recipe, trunks=2)


def test_a_stage_begins_with_what_was_pruned_and_a_share_of_it_is_mixed_back_in(tmp_path: Path) -> None:
    table = make_faces.table(n=32)
    second = Stage(size_px=32, epochs=2, steps_per_epoch=1, warmup_steps=0, prune_to=0.6, begin_share=0.5)
    ours = make_runs.tiny("mobilenetv2", "model.options.backbone=mobilenetv2")
    ours = ours.model_copy(update={"stages": (ours.stages[0], second)})
    out = tmp_path / "run"
    bundle = train([table], recipe=ours, out=out, settings=make_runs.ALONE)

    begun, learned = (checkpoint(out / "stage-1" / name) for name in ("pruned.ckpt", "best.ckpt"))
    whole = checkpoint(out / "stage-0" / "best.ckpt")
    hidden = "ema.backbone.blocks.9.layers.2.conv.weight"
    assert begun[hidden].shape[1] < 0.9 * whole[hidden].shape[1]
    net = models.create("transfer", weights=Weights(str(bundle.path)), options=ours.model.options, size_px=32)
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (begun[f"ema.{name}"] + learned[f"ema.{name}"]) / 2)

    (out / "stage-1" / "done").unlink()
    resumed = train([table], recipe=ours, out=out, settings=replace(make_runs.ALONE, resume=True))
    assert resumed.sha256 == bundle.sha256


def checkpoint(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=False)["state_dict"]
    return state


def test_stages_on_two_sides_of_a_pruning_do_not_mix(tmp_path: Path) -> None:
    stages = (Stage(), Stage(prune_to=0.6), Stage(begin_share=0.5, begin_stage=0))
    recipe = make_runs.tiny("mobilenetv2", "model.options.backbone=mobilenetv2").model_copy(update={"stages": stages})
    with pytest.raises(UsageError, match=r"stages\.2\.begin_stage"):
        train([make_faces.table(n=32)], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
