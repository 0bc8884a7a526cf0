"""One convolutional network over every frame, an LSTM over the frames, one linear layer: trained end to end.

"Deepfake Detection using CNN-LSTM Model for DFDC" gives this shape and leaves the sizes open: here four convolutions
with batch norm (or a timm backbone) and 128 units.

>>> import torch
>>> net = create(weights=Weights("none"), n_frames=3)
>>> logit, features = net(torch.zeros(2, 3, 32, 32, 3, dtype=torch.uint8), torch.ones(2, 3, dtype=torch.bool))
>>> logit.shape, features
(torch.Size([2]), None)
"""

from __future__ import annotations

from torch import Tensor, nn

from telltale.models import Weights, must_be_random
from telltale.models._backbone import Backbone, Normalise, load_backbone, parts_of
from telltale.models._mobilenet import MobileNetV2, unfold
from telltale.models._sequence import check_n_frames, each_frame, last_state

_WIDTHS = (32, 64, 128, 256)


class CnnLstm(nn.Module):
    """uint8 (N, T, S, S, 3) and mask (N, T) -> logit (N,), None."""

    def __init__(self, backbone: Backbone, *, n_frames: int, units: int, dropout: float) -> None:
        super().__init__()
        self.n_frames, self.mean, self.std = n_frames, backbone.mean, backbone.std
        self.frame = nn.Sequential(
            Normalise(backbone.mean, backbone.std), backbone.net, nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.lstm = nn.LSTM(backbone.num_features, units, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(units, 1)

    def forward(self, clips: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        states, _ = self.lstm(each_frame(self.frame, clips).float())
        return self.head(self.dropout(last_state(states, mask))).float().squeeze(1), None

    def adapt(self, clips: Tensor) -> None:
        """Ready folded batch norms for training, from a few hundred clips: a frame of each is enough."""
        if isinstance(self.frame[1], MobileNetV2):
            unfold(self.frame[1], self.frame[0](clips[:, 0]))

    @property
    def is_folded(self) -> bool:
        """Whether `adapt` is due before training."""
        return isinstance(self.frame[1], MobileNetV2) and self.frame[1].is_folded

    def parts(self) -> dict[str, nn.Module]:
        return parts_of(self.frame[1]) | {"lstm": self.lstm, "head": self.head}


def create(
    *, weights: Weights, n_frames: int, units: int = 128, dropout: float = 0.5, backbone: str = "small"
) -> CnnLstm:
    """`backbone`: `small`, which has no pretrained weights, or what `transfer` takes."""
    check_n_frames(n_frames)
    if backbone == "small":
        must_be_random("cnn_lstm with its own small backbone", weights)
        found = Backbone(_small(), _WIDTHS[-1], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    else:
        found = load_backbone(backbone, weights)
    return CnnLstm(found, n_frames=n_frames, units=units, dropout=dropout)


def _small() -> nn.Sequential:
    blocks = [
        nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())
        for n_in, n_out in zip((3, *_WIDTHS), _WIDTHS, strict=False)
    ]
    return nn.Sequential(*blocks)


__all__ = ["CnnLstm", "create"]
