"""The Lightning module: one stage's loss, optimiser and schedule, and the averaged weights that are judged and kept."""

from __future__ import annotations

import copy
import math
from difflib import get_close_matches
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from telltale import models
from telltale.errors import UsageError
from telltale.recipe import Recipe, Stage
from telltale.train._data import Batch
from telltale.train._validation import ValidationSet, figures


class Fit(L.LightningModule):
    """Trains `net` through one stage. `ema` is its running average; validation and export use it."""

    def __init__(self, net: nn.Module, recipe: Recipe, *, stage: int, validation: ValidationSet | None) -> None:
        super().__init__()
        self.net = net
        self.ema = copy.deepcopy(net).requires_grad_(False)
        self.recipe, self.stage_number = recipe, stage
        self.stage: Stage = recipe.stages[stage]
        self.validation = validation
        self._logits: dict[int, float] = {}
        self._freeze(net)

    def _freeze(self, net: nn.Module) -> None:
        for part in frozen_parts(net, self.stage):
            part.requires_grad_(False)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        # dropout then depends on the step alone, wherever the run was resumed
        torch.manual_seed((self.recipe.seed * 101 + self.stage_number) * 10_000_019 + self.global_step)
        logit, _ = models.run(self.net, batch["clips"], batch["mask"])
        loss = F.binary_cross_entropy_with_logits(logit.float(), batch["target"], reduction="none")
        if self.recipe.separate_classes:
            sides = [loss[batch["label"] == label] for label in (0, 1)]
            total = torch.stack([side.mean() for side in sides if len(side)]).mean()
        else:
            total = loss.mean()
        self.log("loss", total, on_step=True, on_epoch=True, batch_size=len(logit))
        return total

    def on_train_epoch_start(self) -> None:
        for part in frozen_parts(self.net, self.stage):
            part.eval()
        if self.stage.frozen_norms:
            for norm in self.net.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.eval()

    def on_train_batch_end(self, *_: Any) -> None:
        seen = self.global_step
        decay = min(self.recipe.ema_decay, (1 + seen) / (10 + seen)) if self.recipe.ema_decay else 0.0
        average(self.ema, self.net, decay)

    def validation_step(self, batch: Batch, _index: int) -> None:
        self.ema.eval()
        logit, _ = models.run(self.ema, batch["clips"], batch["mask"])
        self._logits |= dict(zip(batch["row"].tolist(), logit.float().tolist(), strict=True))

    def on_validation_epoch_end(self) -> None:
        rows, self._logits = self._logits, {}
        if self.validation is None or len(rows) < len(self.validation):
            return
        logit = np.array([rows[i] for i in range(len(rows))])
        self.log_dict(figures(self.validation, logit))

    def configure_optimizers(self) -> Any:
        stage = self.stage
        learning = [p for p in self.net.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learning if p.ndim > 1], "weight_decay": stage.weight_decay},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser: torch.optim.Optimizer
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
        schedule = LambdaLR(optimiser, lambda step: rate(stage, step))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def frozen_parts(net: nn.Module, stage: Stage) -> list[nn.Module]:
    """What does not learn in this stage. Raises UsageError where the network has no part of that name."""
    parts: dict[str, nn.Module] = net.parts()  # type: ignore[operator]
    names = list(parts)
    if stage.learn_from is None:
        return list(parts.values())[: stage.frozen_parts]
    if stage.learn_from not in parts:
        near = get_close_matches(stage.learn_from, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"the network has no part {stage.learn_from!r} (there are {', '.join(names)}){hint}")
    return list(parts.values())[: names.index(stage.learn_from)]


def rate(stage: Stage, step: int) -> float:
    """The learning rate at `step` as a share of `stage.lr`: linear warm-up, flat, then a cosine to `final_lr`."""
    total = stage.epochs * stage.steps_per_epoch
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    start = max(stage.warmup_steps, stage.decay_from * total)
    if step < start:
        return 1.0
    done = min(1.0, (step - start) / max(1.0, total - start))
    floor = stage.final_lr / stage.lr
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def average(into: nn.Module, net: nn.Module, decay: float) -> None:
    """Move `into` towards `net` by 1 - decay: weights and batch-norm statistics; counters are copied."""
    ours = [*into.parameters(), *into.buffers()]
    theirs = [*net.parameters(), *net.buffers()]
    pairs = list(zip(ours, theirs, strict=True))
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b.detach() for _, b in floats], 1.0 - decay)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)
