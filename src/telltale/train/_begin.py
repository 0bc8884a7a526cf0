"""What a run, and each of its stages, begins with: weights from elsewhere, what the stage before ended with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from telltale import models
from telltale.errors import UsageError
from telltale.recipe import Recipe
from telltale.train import _validation
from telltale.train._checkpoint import load, save
from telltale.train._faces import FaceTable
from telltale.train._module import average
from telltale.train._prune import pruned, to_prune_by
from telltale.types import RgbImage

_UNFOLD_FACES = 256
_PRUNED = "pruned.ckpt"


def check_beginnings(recipe: Recipe) -> None:
    """Raises UsageError if a stage is to be mixed with one that is not before it, or has other channels."""
    if recipe.stages[0].begin_share:
        raise UsageError("stages.0.begin_share: the first stage has no stage before it to mix with; set it to 0")
    for number, stage in enumerate(recipe.stages):
        if stage.begin_stage is not None and stage.begin_stage >= number:
            raise UsageError(f"stages.{number}.begin_stage: {stage.begin_stage} is no stage before it")
        if stage.begin_share and stage.begin_stage is not None:
            between = recipe.stages[stage.begin_stage + 1 : number + 1]
            if any(later.prune_to < 1 for later in between):
                raise UsageError(
                    f"stages.{number}.begin_stage: stage {stage.begin_stage} has channels that were pruned since"
                )


def start(table: FaceTable, recipe: Recipe, weights: models.Weights) -> nn.Module:
    """The network before the first step; folded batch norms are set from training faces."""
    net = models.create(
        recipe.model.name, weights=weights, options=recipe.model.options, size_px=recipe.stages[0].size_px
    )
    adapt = getattr(net, "adapt", None)
    if adapt is not None and getattr(net, "is_folded", False):
        rows = np.random.default_rng(recipe.seed).permutation(len(table))[:_UNFOLD_FACES]
        sample = _validation.build(table.take(rows), recipe, size_px=recipe.stages[0].size_px, robust=False)
        adapt(torch.from_numpy(sample.clips))
    return net


def ready(net: nn.Module, clips: RgbImage, *, seed: int) -> nn.Module:
    """`net`, which training then does not rob of what it knows: folded batch norms, where it has any, are set from some
    of `clips`, faces that it learned from."""
    if getattr(net, "is_folded", False):
        cast(Any, net).adapt(torch.from_numpy(np.random.default_rng(seed).permutation(clips)[:_UNFOLD_FACES]))
    return net


def load_averaged(net: nn.Module, checkpoint: Path) -> nn.Module:
    """A copy of `net` with the averaged weights of a checkpoint, all of it in training mode: Lightning would leave what
    the stage before froze as it is."""
    state = load(checkpoint)["state_dict"]
    net = copy.deepcopy(net)
    net.load_state_dict({k.removeprefix("ema."): v for k, v in state.items() if k.startswith("ema.")})
    return net.requires_grad_(True).train()


def load_stage(net: nn.Module, run: Path, recipe: Recipe, number: int, *, checkpoint: str = "best.ckpt") -> nn.Module:
    """What a stage ended with: its averaged weights, and its share of those that it began with."""
    stage, folder = recipe.stages[number], run / f"stage-{number}"
    ended = load_averaged(net, folder / checkpoint)
    if not stage.begin_share:
        return ended
    if stage.prune_to < 1:
        begun = load_averaged(net, folder / _PRUNED)
    else:
        begun = load_stage(net, run, recipe, number - 1 if stage.begin_stage is None else stage.begin_stage)
    average(ended, begun, 1 - stage.begin_share)
    return ended


def prune_before(net: nn.Module, learned: FaceTable, recipe: Recipe, number: int, *, run: Path) -> nn.Module:
    """`net` as the stage begins with it: pruned, where the stage says so. What that left is kept in the stage's folder:
    a resumed run begins with the same."""
    stage, kept = recipe.stages[number], run / f"stage-{number}" / _PRUNED
    if stage.prune_to == 1:
        return net
    if not kept.exists():
        clips = to_prune_by(learned, recipe, stage.size_px)
        smaller = ready(pruned(net, clips, keep=stage.prune_to, seed=recipe.seed), clips, seed=recipe.seed)
        save({"state_dict": {f"ema.{name}": value for name, value in smaller.state_dict().items()}}, kept)
    return load_averaged(net, kept)
