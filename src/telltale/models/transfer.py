"""A pretrained backbone and a head: average pooling, dropout and one linear layer, or flatten and a hidden layer.

With `trunks=2` two backbones stand side by side before one head. Two models that were trained apart become one with
`joined`, whose logit is the mean of theirs: an ensemble that a scan runs as it runs any other model.

>>> net = create(weights=Weights("none"), backbone="mobilenetv2")
>>> logit, features = net(torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8))
>>> logit.shape, features.shape
(torch.Size([2]), torch.Size([2, 1280, 2, 2]))
>>> list(net.parts())[-2:]
['blocks.18', 'head']
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from telltale._onnx_file import read_graph
from telltale.errors import UsageError
from telltale.models import Weights
from telltale.models._backbone import Backbone, Normalise, Triple, Trunks, load_backbone, parts_of, trunks_of
from telltale.models._mobilenet import (
    ConvNorm,
    InvertedResidual,
    MobileNetV2,
    folded,
    load_graph,
    put_folded,
    unfold,
)


class Transfer(nn.Module):
    """uint8 (N, 1, S, S, 3) -> logit (N,), features (N, C, h, w). Normalises its input itself."""

    def __init__(self, backbone: Backbone, head: nn.Module, *, dropout: float, flatten: bool) -> None:
        super().__init__()
        self.mean, self.std = backbone.mean, backbone.std
        self.normalised = Normalise(backbone.mean, backbone.std)
        self.backbone = backbone.net
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self.flatten = flatten

    def normalise(self, clips: Tensor) -> Tensor:
        """uint8 (N, 1, S, S, 3) -> float (N, 3, S, S)."""
        x: Tensor = self.normalised(clips[:, 0])
        return x

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(self.normalise(clips))
        pooled = features.flatten(1) if self.flatten else features.mean(dim=(2, 3))
        return self.head(self.dropout(pooled).float()).squeeze(1), features

    def adapt(self, clips: Tensor) -> None:
        """Ready folded batch norms for training, from a few hundred crops."""
        pictures = self.normalise(clips)
        for trunk in trunks_of(self.backbone):
            if isinstance(trunk, MobileNetV2):
                unfold(trunk, pictures)

    @property
    def is_folded(self) -> bool:
        """Whether `adapt` is due before training."""
        return any(isinstance(trunk, MobileNetV2) and trunk.is_folded for trunk in trunks_of(self.backbone))

    def load_graph(self, path: Path) -> bool:
        """Take the weights of a `model.onnx` that was exported from this network; False where it was not."""
        trunks = [trunk for trunk in trunks_of(self.backbone) if isinstance(trunk, MobileNetV2)]
        if not trunks or not isinstance(self.head, nn.Linear):
            return False
        graph = read_graph(path.read_bytes())
        weight, bias = graph.tensor("head.weight"), graph.tensor("head.bias")
        if weight is None or bias is None or weight.shape != self.head.weight.shape or not load_graph(trunks, graph):
            return False
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.array(weight)))
            self.head.bias.copy_(torch.from_numpy(np.array(bias)))
        return True

    def parts(self) -> dict[str, nn.Module]:
        return parts_of(self.backbone) | {"head": self.head}


def create(
    *,
    weights: Weights,
    backbone: str = "mobilenetv2",
    trunks: int = 1,
    dropout: float = 0.2,
    pool: Literal["average", "flatten"] = "average",
    hidden: int = 0,
    mean: Triple | None = None,
    std: Triple | None = None,
    size_px: int = 224,
) -> Transfer:
    """`backbone`: `mobilenetv2` or any timm name, `trunks` of it that begin alike. `hidden`: units of a ReLU layer
    before the last, 0 = none.

    `mean` and `std` replace those that the backbone's weights were trained with. A head that flattens belongs to one
    `size_px`. Errors as in `load_backbone`.
    """
    if pool not in ("average", "flatten"):
        raise UsageError(f"pool must be average or flatten, got {pool!r}")
    if trunks < 1:
        raise UsageError(f"trunks must be 1 or more, got {trunks}")
    if std is not None and min(std) <= 0:
        raise UsageError(f"std must be three numbers above 0, got {std}")
    each = [load_backbone(backbone, weights) for _ in range(trunks)]
    found = _side_by_side(each, mean or each[0].mean, std or each[0].std)
    width = found.num_features * (_places(found.net, size_px) if pool == "flatten" else 1)
    layers: list[nn.Module] = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
    last = nn.Linear(hidden or width, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    head = nn.Sequential(*layers, last) if layers else last
    return Transfer(found, head, dropout=dropout, flatten=pool == "flatten")


def joined(nets: Sequence[Transfer], shares: Sequence[float]) -> Transfer:
    """One network whose logit is the mean of those of `nets`, each with its share; the shares are brought to 1.

    Raises UsageError where they do not end in average pooling and one linear layer, or take pictures in another scale.
    """
    heads = [net.head for net in nets if isinstance(net.head, nn.Linear) and not net.flatten]
    scales = {(net.mean, net.std) for net in nets}
    if len(heads) < len(nets) or len(scales) > 1:
        raise UsageError("only models that pool over places and end in one linear layer, with one mean and std, join")
    each = [Backbone(net.backbone, head.in_features, net.mean, net.std) for net, head in zip(nets, heads, strict=True)]
    found = _side_by_side(each, each[0].mean, each[0].std)
    last = nn.Linear(found.num_features, 1)
    parts = [share / sum(shares) for share in shares]
    with torch.no_grad():
        last.weight.copy_(torch.cat([part * head.weight for part, head in zip(parts, heads, strict=True)], dim=1))
        last.bias.copy_(torch.stack([part * head.bias for part, head in zip(parts, heads, strict=True)]).sum(dim=0))
    return Transfer(found, last, dropout=nets[0].dropout.p, flatten=False)


def _side_by_side(each: Sequence[Backbone], mean: Triple, std: Triple) -> Backbone:
    trunks = [trunk for one in each for trunk in trunks_of(one.net)]
    net = trunks[0] if len(trunks) == 1 else Trunks(trunks)
    return Backbone(net, sum(one.num_features for one in each), cast(Triple, tuple(mean)), cast(Triple, tuple(std)))


@torch.no_grad()
def _places(net: nn.Module, size_px: int) -> int:
    """Height times width of the last feature map."""
    was_training = net.training
    shape = net.eval()(torch.zeros(1, 3, size_px, size_px)).shape
    net.train(was_training)
    return int(shape[2] * shape[3])


__all__ = [
    "ConvNorm",
    "InvertedResidual",
    "MobileNetV2",
    "Transfer",
    "Trunks",
    "create",
    "folded",
    "joined",
    "put_folded",
    "trunks_of",
]
