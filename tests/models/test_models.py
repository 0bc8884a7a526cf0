from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from telltale import models
from telltale.errors import BundleInvalid, UnknownName, UsageError
from telltale.models import Weights
from telltale.models._mobilenet import ConvNorm, MobileNetV2, load_folded, unfold
from telltale.models.transfer import Transfer, joined

WEIGHTS = "weights/mobilenet_v2_imagenet.npz"


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean transfer"):
        models.create("tranfer", weights=Weights("none"))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("transfer", {"dropout": "lots"}, "model.options.dropout of transfer: .*, got 'lots'"),
        ("transfer", {"dropout": 3}, "model.options of transfer: dropout probability has to be between 0 and 1"),
        ("transfer", {"hidden": -1}, "model.options of transfer: "),
        ("transfer", {"mean": 0.5}, "model.options.mean of transfer: "),
        ("transfer", {"std": [0, 1, 1]}, "std must be three numbers above 0"),
        ("cnn_lstm", {"n_frames": 2, "units": -2}, "model.options of cnn_lstm: "),
        ("cnn_lstm", {"n_frames": 1}, "n_frames of a model of sequences wants 2 or more, got 1"),
        ("feature_gru", {"backbone": "mobilenetv2", "n_frames": 1}, "wants 2 or more, got 1"),
        ("cnn_lstm", {"units": 2}, r"needs --set model\.options\.n_frames="),
        ("feature_gru", {"backbone": "mobilenetv2", "n_frames": 2, "units": 16}, "model.options.units of feature_gru"),
    ],
)
def test_an_option_that_a_model_cannot_take_is_named(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        models.create(name, weights=Weights("none"), options=options)


def test_options_as_yaml_reads_them_have_the_types_that_a_model_wants() -> None:
    options = {"backbone": "mobilenetv2", "n_frames": 2, "units": [4, 3]}
    net: Any = models.create("feature_gru", weights=Weights("none"), options=options)
    assert (net.first.hidden_size, net.second.hidden_size) == (4, 3)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_of_a_timm_backbone_come_from_either_kind_of_file(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    options = {"backbone": "mobilenetv2_035"}
    first: Any = models.create("transfer", weights=Weights("none"), options=options)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(first.backbone.state_dict(), path)
    else:
        save_file(first.backbone.state_dict(), path)
    again: Any = models.create("transfer", weights=Weights(str(path)), options=options)
    assert torch.equal(first.backbone.conv_stem.weight, again.backbone.conv_stem.weight)


def test_files_that_are_no_weights_say_what_to_do_with_them(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    torch.save(net, tmp_path / "whole.pth")
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "run.pth")
    torch.save(net.state_dict(), tmp_path / "other.pth")
    (tmp_path / "junk.npz").write_bytes(b"junk" * 100)
    timm, ours = {"backbone": "mobilenetv2_035"}, {"backbone": "mobilenetv2"}
    for name, options, said in (
        ("whole.pth", timm, r"a whole pickled network.*torch\.save\(net\.state_dict\(\), FILE\)"),
        ("run.pth", timm, r"holds state_dict, epoch where weights by name were expected"),
        ("other.pth", timm, "it lacks conv_stem.weight.*name the backbone"),
        ("junk.npz", ours, r"is no \.npz of weights"),
    ):
        with pytest.raises(BundleInvalid, match=said) as told:
            models.create("transfer", weights=Weights(str(tmp_path / name)), options=options)
        assert told.value.message.isprintable()
    with pytest.raises(UsageError, match=r"takes weights in an \.npz"):
        models.create("transfer", weights=Weights(str(tmp_path / "other.pth")), options=ours)


def test_mobilenetv2_is_never_silently_random() -> None:
    with pytest.raises(UsageError, match="--weights"):
        models.create("transfer", weights=Weights("hub"))


def test_a_thinned_stride_gives_the_numbers_of_the_strided_convolution() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(8, 8, kernel=3, stride=2, groups=8)
    x = torch.randn(2, 8, 20, 20)
    layer.norm.eval()
    trained = layer(x)
    layer.eval()
    assert torch.allclose(trained, layer(x), atol=1e-6)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 4)])
def test_a_frozen_norm_folded_onto_the_weights_gives_its_numbers_and_gradients(stride: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = ConvNorm(4, 4, kernel=3, stride=stride, groups=groups)
    with torch.no_grad():
        for values in (layer.norm.running_mean, layer.norm.running_var, layer.norm.weight, layer.norm.bias):
            assert values is not None
            values.uniform_(0.5, 1.5)
    x = torch.randn(2, 4, 8, 8)

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        layer.zero_grad()
        out = layer(x)
        out.square().sum().backward()
        return out.detach(), [p.grad.clone() for p in layer.parameters() if p.grad is not None]

    layer.eval()
    plain, gradients = run()
    layer.train()
    layer.norm.eval()
    folded, folded_gradients = run()
    assert torch.allclose(plain, folded, atol=1e-5)
    assert len(gradients) == len(folded_gradients) == 3
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(gradients, folded_gradients, strict=True))


def test_unfolding_changes_statistics_but_no_output(shared: Path) -> None:
    net = MobileNetV2().eval()
    load_folded(net, shared / WEIGHTS)
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        before = net(pictures)
        unfold(net, pictures)
        after = net(pictures)
    assert torch.allclose(before, after, atol=1e-3)
    norm = net.layers()[5].norm
    assert not torch.allclose(norm.running_mean, torch.zeros_like(norm.running_mean))  # type: ignore[arg-type]


def test_an_unfolded_net_in_training_mode_still_knows_what_it_knew(shared: Path) -> None:
    net = MobileNetV2().eval()
    load_folded(net, shared / WEIGHTS)
    pictures = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        before = net(pictures)
        folded = net.train()(pictures)
        load_folded(net, shared / WEIGHTS)
        unfold(net, pictures)
        unfolded = net.train()(pictures)

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])

    assert alike(before, unfolded) > 0.99
    assert not alike(before, folded) > 0.9


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    layers: dict[str, Any] = {f"{i:02d}_conv_s1_{k}": np.zeros(3, np.float32) for i in range(53) for k in "wb"}
    np.savez(path, **layers)
    with pytest.raises(BundleInvalid, match="expected"):
        load_folded(MobileNetV2(), path)
    few: dict[str, Any] = {"00_conv_s1_w": np.zeros(3, np.float32)}
    np.savez(path, **few)
    with pytest.raises(BundleInvalid, match="layers"):
        load_folded(MobileNetV2(), path)


@pytest.mark.parametrize("backbone", ["mobilenetv2", "mobilenetv2_035"])
def test_a_detector_takes_bytes_and_gives_logit_and_features(backbone: str) -> None:
    net = models.create("transfer", weights=Weights("none"), options={"backbone": backbone}).eval()
    clips = torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8)
    with torch.no_grad():
        logit, features = net(clips)
    assert logit.shape == (2,)
    assert features.shape[0] == 2
    assert features.ndim == 4
    assert len(net.parts()) >= 2  # type: ignore[operator]


def test_joined_networks_say_the_mean_of_what_they_say_alone() -> None:
    nets = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        net = cast(
            Transfer, models.create("transfer", weights=Weights("none"), options={"backbone": "mobilenetv2_035"})
        )
        nn.init.normal_(cast(nn.Linear, net.head).weight)
        nets.append(net.eval())
    clips = torch.randint(0, 256, (3, 1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        (first, maps), (second, _), (both, joined_maps) = (
            nets[0](clips),
            nets[1](clips),
            joined(nets, (3, 1)).eval()(clips),
        )
    assert (first - second).abs().min() > 1e-2
    torch.testing.assert_close(both, 0.75 * first + 0.25 * second, atol=1e-4, rtol=0)
    assert joined_maps.shape == (3, 2 * maps.shape[1], *maps.shape[2:])


def test_only_networks_that_end_alike_join() -> None:
    options: list[dict[str, Any]] = [{}, {"hidden": 4}, {"mean": (0.4, 0.4, 0.4)}]
    plain, hidden, shifted = (
        cast(Transfer, models.create("transfer", weights=Weights("none"), options=one)) for one in options
    )
    for other in (hidden, shifted):
        with pytest.raises(UsageError, match="one linear layer, with one mean and std"):
            joined((plain, other), (1, 1))
    with pytest.raises(UsageError, match="trunks must be 1 or more"):
        models.create("transfer", weights=Weights("none"), options={"trunks": 0})


def test_an_unknown_backbone_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no backbone"):
        models.create("transfer", weights=Weights("none"), options={"backbone": "mobilenet_v99"})


def test_normalisation_is_inside() -> None:
    net = models.create("transfer", weights=Weights("none"))
    x = torch.full((1, 1, 8, 8, 3), 255, dtype=torch.uint8)
    assert torch.allclose(net.normalise(x), torch.ones(1, 3, 8, 8))  # type: ignore[operator]
