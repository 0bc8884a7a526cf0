"""The Lightning module: one stage's loss and steps, and the averaged weights that are judged and kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from telltale import models
from telltale.errors import UsageError, nearest
from telltale.recipe import Recipe, Stage
from telltale.train._data import Batch
from telltale.train._loss import embedding_loss, label_loss, place_loss
from telltale.train._optimise import Sam, make_optimiser, rate
from telltale.train._validation import ValidationSet, figures

_T = TypeVar("_T")


class Fit(L.LightningModule):
    """Trains `net` through one stage. `ema` is its running average; validation and export use it."""

    def __init__(self, net: nn.Module, recipe: Recipe, *, stage: int, validation: ValidationSet | None) -> None:
        super().__init__()
        self.net = net
        self.ema = copy.deepcopy(net).requires_grad_(False)
        self.recipe, self.stage_number = recipe.in_stage(stage), stage
        self.stage: Stage = recipe.stages[stage]
        self.validation = validation
        self._logits: dict[int, float] = {}
        self._embeds = bool(recipe.uniformity or recipe.alignment)
        if self._embeds and not hasattr(net, "embed"):
            raise UsageError(
                f"model {recipe.model.name} has no embedding for the recipe's uniformity and alignment: set both to 0"
            )
        if self._embeds and self.stage.place_weight:
            raise UsageError("place_weight: a network that gives its embedding gives no feature map; set it to 0")
        self.places = _places(net, self.stage) if self.stage.place_weight else None
        self._freeze(net)

    def _freeze(self, net: nn.Module) -> None:
        hold_still = getattr(net, "hold_still", None)
        if hold_still is not None:
            hold_still()
        for part in frozen_parts(net, self.stage):
            part.requires_grad_(False)

    def training_step(self, batch: Batch, _index: int) -> dict[str, Any]:
        # dropout then depends on the step alone, wherever the run was resumed
        seed = (self.recipe.seed * 101 + self.stage_number) * 10_000_019 + self.global_step
        torch.manual_seed(seed + 1_000_003 * self.global_rank)
        optimiser = self.optimizers(use_pl_optimizer=False) if self.stage.sam_rho else None
        with _still_statistics(self.net, isinstance(optimiser, Sam) and optimiser.is_ahead):
            if self._embeds:
                (logit, embedding), features = self.net.embed(batch["clips"]), None  # type: ignore[operator]
            else:
                (logit, features), embedding = models.run_batch(self.net, batch), None
            shown = None if self.places is None or features is None else self.places(features)[:, 0]
        logit = logit.float()
        loss = label_loss(logit, batch, self.recipe.teacher)
        if embedding is not None:
            loss = loss + embedding_loss(embedding.float(), batch["label"], self.recipe)
        if shown is not None:
            loss = loss + self.stage.place_weight * place_loss(shown.float(), batch)
        return {"loss": loss, "n_right": int(((logit > 0) == (batch["label"] > 0.5)).sum())}

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

    def on_validation_epoch_start(self) -> None:
        if dist.is_initialized():
            # each process saw other faces: the first one's statistics are those that are kept
            for buffer in self.ema.buffers():
                dist.broadcast(buffer, 0)

    def validation_step(self, batch: Batch, _index: int) -> None:
        self.ema.eval()
        logit, _ = models.run_batch(self.ema, batch)
        self._logits |= dict(zip(batch["row"].tolist(), logit.float().tolist(), strict=True))

    def on_validation_epoch_end(self) -> None:
        rows: dict[int, float] = {}
        for part in of_all(self._logits):
            rows |= part
        self._logits = {}
        if self.validation is None or len(rows) < len(self.validation):
            return
        logit = np.array([rows[i] for i in range(len(rows))])
        self.log_dict(figures(self.validation, logit))

    def configure_optimizers(self) -> Any:
        places = () if self.places is None else self.places.parameters()
        optimiser = make_optimiser(self.stage, [*self.net.parameters(), *places])
        schedule = LambdaLR(optimiser, lambda step: rate(self.stage, step))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _places(net: nn.Module, stage: Stage) -> nn.Module:
    """A layer on the last feature map that says of each place whether it was changed; no part of the network itself.

    Raises UsageError where the network has no such map.
    """
    was_training = net.training
    with torch.no_grad():
        features = net.eval()(torch.zeros(1, 1, stage.size_px, stage.size_px, 3, dtype=torch.uint8))[1]
    net.train(was_training)
    if features is None:
        raise UsageError("place_weight: this model gives no feature map to learn places on; set it to 0")
    return nn.Conv2d(features.shape[1], 1, 1)


def of_all(mine: _T) -> list[_T]:
    """What every process has, in the order of their ranks; of one process, its own."""
    if not dist.is_initialized():
        return [mine]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found


@contextmanager
def _still_statistics(net: nn.Module, still: bool) -> Iterator[None]:
    """Batch norms take no statistics from the second pass of SAM: it is not where the weights will be."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.training] if still else []
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def frozen_parts(net: nn.Module, stage: Stage) -> list[nn.Module]:
    """What does not learn in this stage. Raises UsageError where the network has no part of that name."""
    parts: dict[str, nn.Module] = net.parts()  # type: ignore[operator]
    names = list(parts)
    if stage.learn_from is None:
        return list(parts.values())[: stage.frozen_parts]
    if stage.learn_from not in parts:
        there_are = f"(there are {', '.join(names)}){nearest(stage.learn_from, names)}"
        raise UsageError(f"the network has no part {stage.learn_from!r} {there_are}")
    return list(parts.values())[: names.index(stage.learn_from)]


@torch.no_grad()
def average(into: nn.Module, net: nn.Module, decay: float) -> None:
    """Move `into` towards `net` by 1 - decay: weights and batch-norm statistics; counters are copied."""
    ours = [*into.parameters(), *into.buffers()]
    theirs = [*net.parameters(), *net.buffers()]
    pairs: list[tuple[Tensor, Tensor]] = list(zip(ours, theirs, strict=True))
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b.detach() for _, b in floats], 1.0 - decay)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)
