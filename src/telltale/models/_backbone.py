"""A network that turns pictures into feature maps, with its pretrained weights, its normalisation and its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from telltale._text import short
from telltale.errors import BundleInvalid, ModelError, UsageError, nearest, require
from telltale.models import Weights
from telltale.models._mobilenet import MobileNetV2, load_folded

Triple = tuple[float, float, float]
_UNROLLED = ("blocks", "features", "stages")


@dataclass(frozen=True, slots=True)
class Backbone:
    net: nn.Module
    """float (N, 3, H, W) -> (N, `num_features`, h, w)."""
    num_features: int
    mean: Triple
    std: Triple


class Trunks(nn.Module):
    """Networks that look at the same picture; their feature maps, (N, C, h, w) each, one after the other in C."""

    def __init__(self, trunks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([trunk(x) for trunk in self.trunks], dim=1)


class Normalise(nn.Module):
    """uint8 (N, S, S, 3) -> float (N, 3, S, S), (x / 255 - mean) / std."""

    def __init__(self, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)).view(3, 1, 1), persistent=False)
        self.register_buffer("offset", (-torch.tensor(mean) / torch.tensor(std)).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.permute(0, 3, 1, 2).float() * self.scale + self.offset  # type: ignore[operator]


def load_backbone(name: str, weights: Weights) -> Backbone:
    """`mobilenetv2` (weights from an .npz with folded batch norm) or any timm name, its classifier left out.

    A weights file for a timm backbone is a state dict: a `.safetensors`, or what `torch.load(weights_only=True)` reads.
    Raises UsageError for an unknown name or another kind of file, ModelError where weights cannot be fetched,
    BundleInvalid where a file does not fit.
    """
    if name == "mobilenetv2":
        return _mobilenetv2(weights)
    net = timm_network(name, weights, global_pool="")
    config, num_features = net.pretrained_cfg, int(net.num_features)
    if isinstance(getattr(net, "pre_logits", None), nn.Module) and isinstance(
        getattr(net, "features", None), nn.Module
    ):
        net = net.features  # VGG: what timm keeps before the classifier are two dense layers of the top
    return Backbone(net, num_features, tuple(config["mean"]), tuple(config["std"]))


def timm_network(name: str, weights: Weights, **options: Any) -> Any:
    """timm's network of that name (`ARCHITECTURE` or `ARCHITECTURE.TAG`) without its classifier. Raises as above."""
    timm = require("timm", "train")
    if not timm.is_model(name):
        hint = nearest(name, timm.list_models())
        raise UsageError(f"timm has no backbone {name!r} (timm.list_models() names them all){hint}")
    if weights.source == "hub":
        return _from_hub(timm, name, options)
    net: Any = timm.create_model(name, pretrained=False, num_classes=0, **options)
    if weights.is_file:
        _load_file(net, weights.source)
    return net


def _mobilenetv2(weights: Weights) -> Backbone:
    net = MobileNetV2()
    if weights.source == "hub":
        raise UsageError(
            "backbone mobilenetv2 takes weights from a file: --weights mobilenet_v2_imagenet.npz "
            "(or backbone timm's mobilenetv2_100 with --weights hub, or --weights none)"
        )
    if weights.is_file:
        _check_there(weights.source)
        if not weights.source.endswith(".npz"):
            raise UsageError(
                f"{weights.source}: backbone mobilenetv2 takes weights in an .npz; for timm's --set "
                "model.options.backbone=mobilenetv2_100"
            )
        load_folded(net, weights.source)
    return Backbone(net, net.num_features, net.mean, net.std)


def _from_hub(timm: Any, name: str, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **options)
    except Exception as error:  # what a hub raises depends on the library behind it
        raise ModelError(
            f"the pretrained weights of {name} cannot be fetched from timm's hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); give a file with --weights FILE, or "
            "begin from random ones with --weights none"
        ) from error


def _check_there(path: str) -> None:
    if not Path(path).is_file():
        raise UsageError(f"no weights file {path}; --weights takes a file, a bundle's folder, hub or none")


def _load_file(net: nn.Module, path: str) -> None:
    _check_there(path)
    if path.endswith(".npz"):
        raise UsageError(f"{path}: weights in an .npz are of our own network: --set model.options.backbone=mobilenetv2")
    try:
        missing, _ = net.load_state_dict(_read_state(path), strict=False)
    except RuntimeError as error:
        said = short(str(error).splitlines()[-1].strip())
        raise BundleInvalid(f"{path} does not fit ({said}): name the backbone that it is of") from error
    if missing:
        raise BundleInvalid(
            f"{path} does not fit: it lacks {', '.join(missing[:3])}: name the backbone that it is of, or, for weights "
            "of a bundle, the bundle's folder"
        )


def _read_state(path: str) -> Mapping[str, Tensor]:
    """Name -> weights. A pickle of anything else is not opened: it could run any code."""
    alone = "save the weights alone, as with torch.save(net.state_dict(), FILE)"
    load: Callable[[str], Any] = partial(torch.load, weights_only=True, map_location="cpu")
    if path.endswith(".safetensors"):
        load = require("safetensors.torch", "train").load_file
    try:
        state = load(path)
    except Exception as error:  # torch, pickle, zip and safetensors raise types of their own
        raise BundleInvalid(f"{path} holds a whole pickled network, or no weights at all: {alone}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        held = ", ".join(map(str, list(state)[:3])) if isinstance(state, Mapping) else type(state).__name__
        raise BundleInvalid(f"{path} holds {short(held)} where weights by name were expected: {alone}")
    return state


def trunks_of(net: nn.Module) -> list[nn.Module]:
    """The networks that `net` consists of: itself, where it is one."""
    return list(net.trunks) if isinstance(net, Trunks) else [net]


def parts_of(net: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """Name -> part, from input to output: the network's children, its long rows of blocks one by one; of trunks, what
    has the same name together."""
    if isinstance(net, Trunks):
        each = [parts_of(trunk, prefix) for trunk in net.trunks]
        return {name: nn.ModuleList([parts[name] for parts in each]) for name in each[0]}
    found: dict[str, nn.Module] = {}
    for name, child in net.named_children():
        if name in _UNROLLED and isinstance(child, nn.Sequential):
            found |= {f"{prefix}{name}.{inner}": block for inner, block in child.named_children()}
        elif any(True for _ in child.parameters()):
            found[f"{prefix}{name}"] = child
    return found
