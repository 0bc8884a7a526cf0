"""What models of sequences share: frames through one network, and the state after the last frame that is there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from telltale.errors import UsageError


def check_n_frames(n_frames: int) -> None:
    """Raises UsageError for single pictures, which come without the mask that a sequence has."""
    if n_frames < 2:
        raise UsageError(f"model.options.n_frames of a model of sequences wants 2 or more, got {n_frames}")


def each_frame(net: nn.Module, clips: Tensor) -> Tensor:
    """(N, T, S, S, 3) -> (N, T, F): `net` takes pictures (N, S, S, 3) and gives (N, F)."""
    n, t = clips.shape[:2]
    found: Tensor = net(clips.flatten(0, 1))
    return found.reshape(n, t, found.shape[-1])


def last_state(states: Tensor, mask: Tensor) -> Tensor:
    """(N, T, F), (N, T) -> (N, F): the state at each clip's last frame. Clips are padded at their end, and a recurrent
    network reads forwards, so what it reads afterwards changes nothing."""
    last = (mask.long().sum(dim=1) - 1).clamp(min=0)
    index = last[:, None, None].expand(-1, 1, states.shape[2])
    return torch.gather(states, 1, index).squeeze(1)
