"""Optimisers and the rate over the steps of a stage, and SAM around any of them.

>>> rate(Stage(epochs=1, steps_per_epoch=4, warmup_steps=2, lr=1.0), 0)
0.5
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from telltale.recipe import Stage


def make_optimiser(stage: Stage, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Of the parameters that learn; biases and norms do not decay."""
    learning = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": stage.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser: Optimizer
    # where torch's defaults are not those of the recipes' originals, the originals' are taken
    match stage.optimiser:
        case "adamw":
            optimiser = torch.optim.AdamW(groups, lr=stage.lr)
        case "adam":
            optimiser = torch.optim.Adam(groups, lr=stage.lr, eps=1e-7)
        case "nadam":
            optimiser = torch.optim.NAdam(groups, lr=stage.lr, eps=1e-7)
        case "rmsprop":
            optimiser = torch.optim.RMSprop(groups, lr=stage.lr, alpha=0.9, eps=1e-7)
        case "sgd":
            optimiser = torch.optim.SGD(groups, lr=stage.lr, momentum=0.9, nesterov=stage.nesterov)
    return Sam(optimiser, rho=stage.sam_rho) if stage.sam_rho else optimiser


class Sam(Optimizer):
    """Sharpness-aware minimisation (Foret et al., ICLR 2021) around another optimiser.

    A step asks for the gradient twice: where the weights are, and at the weights moved by `rho` along it. The second
    one is applied where the weights were. `is_ahead` is true during the second pass.
    """

    def __init__(self, base: Optimizer, *, rho: float) -> None:
        self.base, self.rho, self.is_ahead = base, rho, False
        super().__init__(base.param_groups, {})
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """`closure` clears the gradients, and computes them and the loss. Returns the loss at the weights' place."""
        if closure is None:
            raise ValueError("Sam.step needs a closure that computes the loss and its gradients")
        with torch.enable_grad():
            loss = closure()
        moved = self._move_ahead()
        self.is_ahead = True
        try:
            with torch.enable_grad():
                closure()
        finally:
            self.is_ahead = False
            with torch.no_grad():
                for parameter, was in moved:
                    parameter.copy_(was)
        self.base.step()
        return loss

    @torch.no_grad()
    def _move_ahead(self) -> list[tuple[nn.Parameter, torch.Tensor]]:
        """Move every weight; returns them with where they were."""
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in moved]))
        kept = [(p, p.detach().clone()) for p in moved]
        for p in moved:
            p.add_(p.grad, alpha=float(self.rho / (norm + 1e-12)))
        return kept

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.base.load_state_dict(state_dict)
        self._share()


def rate(stage: Stage, step: int) -> float:
    """The learning rate at `step` as a share of `stage.lr`: linear warm-up, flat, then down to `final_lr`."""
    total = stage.epochs * stage.steps_per_epoch
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    start = max(stage.warmup_steps, stage.decay_from * total)
    if step < start:
        return 1.0
    done = min(1.0, (step - start) / max(1.0, total - start))
    floor = stage.final_lr / stage.lr
    return floor + (1 - floor) * (1 - done if stage.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done)))
