"""Features of a frozen backbone, frame by frame, and two small GRUs over them.

"Deep Fake Image and Video Detection using CNNs and RNNs", video part: InceptionV3, average-pooled -> GRU 16 -> GRU 8 ->
dropout .4 -> dense 8 ReLU -> dense 1, with a mask over frames that are not there.

>>> import torch
>>> net = create(weights=Weights("none"), backbone="mobilenetv2", n_frames=3)
>>> logit, features = net(torch.zeros(2, 3, 32, 32, 3, dtype=torch.uint8), torch.ones(2, 3, dtype=torch.bool))
>>> logit.shape, features
(torch.Size([2]), None)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from telltale.models import Weights
from telltale.models._backbone import Backbone, Normalise, load_backbone
from telltale.models._sequence import check_n_frames, each_frame, last_state


class FeatureGru(nn.Module):
    """uint8 (N, T, S, S, 3) and mask (N, T) -> logit (N,), None. The backbone never learns."""

    def __init__(
        self, backbone: Backbone, *, n_frames: int, units: tuple[int, int], dense: int, dropout: float
    ) -> None:
        super().__init__()
        self.n_frames, self.mean, self.std = n_frames, backbone.mean, backbone.std
        self.frame = nn.Sequential(
            Normalise(backbone.mean, backbone.std), backbone.net, nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.first = nn.GRU(backbone.num_features, units[0], batch_first=True)
        self.second = nn.GRU(units[0], units[1], batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(units[1], dense), nn.ReLU(), nn.Linear(dense, 1))
        self.train(self.training)

    def train(self, mode: bool = True) -> FeatureGru:
        super().train(mode)
        self.frame.eval().requires_grad_(False)
        return self

    def forward(self, clips: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            features = each_frame(self.frame, clips).float()
        return self.from_features(features, mask)

    def from_features(self, features: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """The same from what `frame` says of the clips, (N, T, F): what never learns need be asked once."""
        states, _ = self.second(self.first(features)[0])
        return self.head(last_state(states, mask)).float().squeeze(1), None

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.frame, "first": self.first, "second": self.second, "head": self.head}


def create(
    *,
    weights: Weights,
    backbone: str = "inception_v3",
    n_frames: int,
    units: tuple[int, int] = (16, 8),
    dense: int = 8,
    dropout: float = 0.4,
) -> FeatureGru:
    """`backbone` as `transfer` takes it."""
    check_n_frames(n_frames)
    first, second = units
    return FeatureGru(
        load_backbone(backbone, weights), n_frames=n_frames, units=(first, second), dense=dense, dropout=dropout
    )


__all__ = ["FeatureGru", "create"]
