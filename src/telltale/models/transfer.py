"""A pretrained backbone, global average pooling, dropout and one linear layer: the standard detector.

>>> net = create(weights=Weights("none"), backbone="mobilenetv2")
>>> logit, features = net(torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8))
>>> logit.shape, features.shape
(torch.Size([2]), torch.Size([2, 1280, 2, 2]))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from telltale.errors import UsageError, require
from telltale.models import Weights
from telltale.models._mobilenet import MobileNetV2, load_folded, unfold


class Transfer(nn.Module):
    """uint8 (N, 1, S, S, 3) -> logit (N,), features (N, C, h, w). Normalises its input itself."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        dropout: float,
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)).view(3, 1, 1), persistent=False)
        self.register_buffer("offset", (-torch.tensor(mean) / torch.tensor(std)).view(3, 1, 1), persistent=False)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def normalise(self, clips: Tensor) -> Tensor:
        """uint8 (N, 1, S, S, 3) -> float (N, 3, S, S)."""
        x = clips[:, 0].permute(0, 3, 1, 2).float()
        return x * self.scale + self.offset  # type: ignore[operator]

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(self.normalise(clips))
        pooled = self.dropout(features.mean(dim=(2, 3)))
        return self.head(pooled.float()).squeeze(1), features

    def adapt(self, clips: Tensor) -> None:
        """Ready folded batch norms for training, from a few hundred crops; nothing to do for other backbones."""
        if isinstance(self.backbone, MobileNetV2):
            unfold(self.backbone, self.normalise(clips))

    def stages(self) -> list[nn.Module]:
        blocks = getattr(self.backbone, "blocks", None)
        parts = list(blocks) if isinstance(blocks, nn.Sequential) else [self.backbone]
        return [*parts, self.head]


def create(*, weights: Weights, backbone: str = "mobilenetv2", dropout: float = 0.2) -> Transfer:
    """`backbone`: `mobilenetv2` (weights from an .npz with folded batch norm) or any timm name.

    A weights file for a timm backbone is a state dict that `torch.load(weights_only=True)` reads.
    """
    if backbone == "mobilenetv2":
        net = MobileNetV2()
        if weights.source == "hub":
            raise UsageError(
                "backbone mobilenetv2 takes weights from a file: --weights mobilenet_v2_imagenet.npz "
                "(or backbone timm's mobilenetv2_100 with --weights hub, or --weights none)"
            )
        if weights.is_file:
            load_folded(net, weights.source)
        return Transfer(net, num_features=net.num_features, mean=net.mean, std=net.std, dropout=dropout)
    timm = require("timm", "train")
    if backbone not in timm.list_models():
        raise UsageError(f"timm has no backbone {backbone!r}; timm.list_models() names them all")
    net = timm.create_model(backbone, pretrained=weights.source == "hub", num_classes=0, global_pool="")
    if weights.is_file:
        net.load_state_dict(torch.load(weights.source, weights_only=True, map_location="cpu"))
    config = net.pretrained_cfg
    return Transfer(
        net, num_features=net.num_features, mean=tuple(config["mean"]), std=tuple(config["std"]), dropout=dropout
    )
