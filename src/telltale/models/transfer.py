"""A pretrained backbone and a head: average pooling, dropout and one linear layer, or flatten and a hidden layer.

>>> net = create(weights=Weights("none"), backbone="mobilenetv2")
>>> logit, features = net(torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8))
>>> logit.shape, features.shape
(torch.Size([2]), torch.Size([2, 1280, 2, 2]))
>>> list(net.parts())[-2:]
['blocks.18', 'head']
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from telltale._onnx_file import read_graph
from telltale.errors import UsageError
from telltale.models import Weights
from telltale.models._backbone import Backbone, Normalise, Triple, load_backbone, parts_of
from telltale.models._mobilenet import MobileNetV2, load_graph, unfold


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
        if isinstance(self.backbone, MobileNetV2):
            unfold(self.backbone, self.normalise(clips))

    @property
    def is_folded(self) -> bool:
        """Whether `adapt` is due before training."""
        return isinstance(self.backbone, MobileNetV2) and self.backbone.is_folded

    def load_graph(self, path: Path) -> bool:
        """Take the weights of a `model.onnx` that was exported from this network; False where it was not."""
        if not isinstance(self.backbone, MobileNetV2) or not isinstance(self.head, nn.Linear):
            return False
        graph = read_graph(path.read_bytes())
        head = graph.tensor("head.weight"), graph.tensor("head.bias")
        if head[0] is None or head[1] is None or not load_graph(self.backbone, graph):
            return False
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.array(head[0])))
            self.head.bias.copy_(torch.from_numpy(np.array(head[1])))
        return True

    def parts(self) -> dict[str, nn.Module]:
        return parts_of(self.backbone) | {"head": self.head}


def create(
    *,
    weights: Weights,
    backbone: str = "mobilenetv2",
    dropout: float = 0.2,
    pool: Literal["average", "flatten"] = "average",
    hidden: int = 0,
    mean: Triple | None = None,
    std: Triple | None = None,
    size_px: int = 224,
) -> Transfer:
    """`backbone`: `mobilenetv2` or any timm name. `hidden`: units of a ReLU layer before the last, 0 = none.

    `mean` and `std` replace those that the backbone's weights were trained with. A head that flattens belongs to one
    `size_px`. Errors as in `load_backbone`.
    """
    if pool not in ("average", "flatten"):
        raise UsageError(f"pool must be average or flatten, got {pool!r}")
    found = load_backbone(backbone, weights)
    found = Backbone(
        found.net, found.num_features, cast(Triple, tuple(mean or found.mean)), cast(Triple, tuple(std or found.std))
    )
    width = found.num_features * (_places(found.net, size_px) if pool == "flatten" else 1)
    layers: list[nn.Module] = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
    last = nn.Linear(hidden or width, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    head = nn.Sequential(*layers, last) if layers else last
    return Transfer(found, head, dropout=dropout, flatten=pool == "flatten")


@torch.no_grad()
def _places(net: nn.Module, size_px: int) -> int:
    """Height times width of the last feature map."""
    was_training = net.training
    shape = net.eval()(torch.zeros(1, 3, size_px, size_px)).shape
    net.train(was_training)
    return int(shape[2] * shape[3])


__all__ = ["Transfer", "create"]
