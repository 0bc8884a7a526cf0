"""The small convolutional network that others are measured against: three convolutions, three dense layers.

"Deep Fake Image and Video Detection using CNNs and RNNs": 64 filters of 7 x 7, pooling, 128 of 3 x 3 twice, pooling,
dense 128, dropout, dense 64, dropout, dense 1; ReLU, He-normal, same padding. It starts from nothing.

>>> import torch
>>> net = create(weights=Weights("none"), size_px=32)
>>> logit, features = net(torch.zeros(2, 1, 32, 32, 3, dtype=torch.uint8))
>>> logit.shape, features
(torch.Size([2]), None)
"""

from __future__ import annotations

from torch import Tensor, nn

from telltale.models import Weights, must_be_random


class BaselineCnn(nn.Module):
    """uint8 (N, 1, S, S, 3) -> logit (N,), None: places are lost in the dense layers."""

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, *, size_px: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 64, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(128 * (size_px // 4) ** 2, 128), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(128, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 1),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, clips: Tensor) -> tuple[Tensor, None]:
        pictures = clips[:, 0].permute(0, 3, 1, 2).float() / 255
        return self.head(self.convolutions(pictures)).float().squeeze(1), None

    def parts(self) -> dict[str, nn.Module]:
        return {"convolutions": self.convolutions, "head": self.head}


def create(*, weights: Weights, size_px: int, dropout: float = 0.5) -> BaselineCnn:
    must_be_random("baseline_cnn", weights)
    return BaselineCnn(size_px=size_px, dropout=dropout)


__all__ = ["BaselineCnn", "create"]
