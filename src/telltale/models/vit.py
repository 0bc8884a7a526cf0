"""A vision transformer of which only the layer norms learn, and a linear head on its class token, put on the sphere.

After Yermakov et al., "Deepfake Detection that Generalizes Across Benchmarks" (GenD, 2025): a foundation model (CLIP,
DINO, PE) stays as it is but for .03 % of its weights; the class token is L2-normalised before the last layer.

>>> import torch
>>> net = create(weights=Weights("none"), backbone="test_vit", size_px=32)
>>> logit, embedding = net.embed(torch.zeros(2, 1, 32, 32, 3, dtype=torch.uint8))
>>> logit.shape, embedding.shape, bool((embedding.norm(dim=1) - 1).abs().max() < 1e-3)
(torch.Size([2]), torch.Size([2, 64]), True)
"""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from telltale.errors import UsageError
from telltale.models import Weights
from telltale.models._backbone import Normalise, parts_of, timm_network


class Vit(nn.Module):
    """uint8 (N, 1, S, S, 3) -> logit (N,), None: the class token has no place in the picture."""

    def __init__(self, backbone: Any, *, tune: str, dropout: float) -> None:
        super().__init__()
        config = backbone.pretrained_cfg
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        self.normalised = Normalise(self.mean, self.std)
        self.backbone = backbone
        self.tune = tune
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(int(backbone.num_features), 1)

    def embed(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N,) and the unit vectors (N, D) they are read from."""
        tokens = self.backbone.forward_features(self.normalised(clips[:, 0]))
        embedding = F.normalize(tokens[:, 0].float(), dim=1)
        return self.head(self.dropout(embedding)).float().squeeze(1), embedding

    def forward(self, clips: Tensor) -> tuple[Tensor, None]:
        return self.embed(clips)[0], None

    def hold_still(self) -> None:
        """Leave learning on for the layer norms and the head alone, or for everything with `tune: all`."""
        self.requires_grad_(self.tune == "all")
        self.head.requires_grad_(True)
        for module in self.backbone.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)

    def parts(self) -> dict[str, nn.Module]:
        return parts_of(self.backbone) | {"head": self.head}


def create(
    *,
    weights: Weights,
    backbone: str = "vit_large_patch14_clip_224.openai",
    tune: Literal["layernorm", "all"] = "layernorm",
    dropout: float = 0.0,
    size_px: int = 224,
) -> Vit:
    """`backbone`: any ViT of timm with a class token, made for `size_px`: its position embeddings are resampled.

    Raises UsageError for another backbone, and as `load_backbone`.
    """
    if "vit" not in backbone:
        raise UsageError(f"model vit takes a vision transformer of timm, got {backbone!r}; others go into `transfer`")
    net = timm_network(backbone, weights, img_size=size_px)
    if not getattr(net, "has_class_token", False):
        raise UsageError(f"{backbone} has no class token; take one that has, as vit_large_patch14_clip_224.openai")
    return Vit(net, tune=tune, dropout=dropout)


__all__ = ["Vit", "create"]
