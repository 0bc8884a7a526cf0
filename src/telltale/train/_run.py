"""Fit every stage of a recipe: Lightning, checkpoints after each epoch, resumed where a run stopped."""

from __future__ import annotations

import copy
import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from telltale import models
from telltale.errors import UsageError
from telltale.recipe import Recipe
from telltale.train import _validation
from telltale.train._clips import cut_clips
from telltale.train._data import Batch, MixedBatches, epoch_loader
from telltale.train._faces import FaceTable
from telltale.train._history import History
from telltale.train._module import Fit

_UNFOLD_FACES = 256


class Faces(L.LightningDataModule):
    """The loaders of one stage; the training loader is made anew each epoch."""

    def __init__(self, train: MixedBatches, validation: _validation.ValidationSet, *, workers: int) -> None:
        super().__init__()
        self.train_batches, self.validation, self.workers = train, validation, workers

    def train_dataloader(self) -> DataLoader[Batch]:
        stage = self.train_batches.recipe.stages[self.train_batches.stage]
        epoch = self.trainer.current_epoch if self.trainer else 0
        return epoch_loader(
            self.train_batches, epoch=epoch, steps_per_epoch=stage.steps_per_epoch, workers=self.workers
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.validation.loader()


def fit(
    table: FaceTable, recipe: Recipe, *, out: Path, weights: models.Weights, workers: int, threads: int, resume: bool
) -> nn.Module:
    """Run all stages; returns the network with the averaged weights of the last stage's best epoch.

    Leaves OUT/stage-N/{best,last}.ckpt and OUT/stage-N/metrics.csv. Raises UsageError if OUT holds a run
    and `resume` is off.
    """
    if (out / "stage-0").exists() and not resume:
        raise UsageError(f"{out} holds a training run; continue it with --resume, or choose another --out")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # Adam's moments of dead weights decay into denormals: 30 % of a step, measured
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    recipe = with_steps(recipe, len(cut_clips(table.on("train"), recipe.n_frames)))
    net = start(table.on("train"), recipe, weights)
    for number, stage in enumerate(recipe.stages):
        folder = out / f"stage-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        done = folder / "done"
        if done.exists():
            net = load_averaged(net, folder / "best.ckpt")
            continue
        validation = _validation.build(table.on("val"), recipe, size_px=stage.size_px, limit=recipe.val_limit)
        batches = MixedBatches(table.on("train"), recipe, stage=number)
        module = Fit(net, recipe, stage=number, validation=validation)
        module.to(memory_format=torch.channels_last)
        last = folder / "last.ckpt"
        with _quiet():
            trainer = _trainer(recipe, number, folder)
        began_s, began_cpu_s = time.monotonic(), _cpu_s()
        with _quiet():
            trainer.fit(
                module,
                datamodule=Faces(batches, validation, workers=workers),
                ckpt_path=str(last) if last.exists() else None,
                weights_only=False,
            )
        net = load_averaged(net, folder / "best.ckpt")
        done.write_text(json.dumps(_used(began_s, began_cpu_s)), encoding="utf-8")
    return net


def with_steps(recipe: Recipe, n_clips: int) -> Recipe:
    """`recipe` with the length of an epoch put in where it is once through the clips."""
    per_batch = sum(mix.real + mix.fake for mix in recipe.mix.values())
    once = max(1, round(n_clips / max(per_batch, 1)))
    stages = tuple(
        stage if stage.steps_per_epoch else stage.model_copy(update={"steps_per_epoch": once})
        for stage in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})


def start(table: FaceTable, recipe: Recipe, weights: models.Weights) -> nn.Module:
    """The network before the first step; folded batch norms are set from training faces."""
    net = models.create(
        recipe.model.name, weights=weights, options=recipe.model.options, size_px=recipe.stages[0].size_px
    )
    adapt = getattr(net, "adapt", None)
    if adapt is not None and weights.is_file:
        rows = np.random.default_rng(recipe.seed).permutation(len(table))[:_UNFOLD_FACES]
        sample = _validation.build(table.take(rows), recipe, size_px=recipe.stages[0].size_px, robust=False)
        adapt(torch.from_numpy(sample.clips))
    return net


def load_averaged(net: nn.Module, checkpoint: Path) -> nn.Module:
    """A copy of `net` with the averaged weights of a checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    net = copy.deepcopy(net)
    net.load_state_dict({k.removeprefix("ema."): v for k, v in state.items() if k.startswith("ema.")})
    return net.requires_grad_(True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice on worker counts and intervals, which are chosen here, and on its own future."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
            yield
    finally:
        logger.setLevel(level)


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _used(began_s: float, began_cpu_s: float) -> dict[str, float]:
    """What a stage cost since it was started or resumed."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return {
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_s": round(_cpu_s() - began_cpu_s, 1),
        "peak_memory_mb": round(peak_mb, 1),
    }


def _trainer(recipe: Recipe, number: int, folder: Path) -> L.Trainer:
    stage = recipe.stages[number]
    keep = ModelCheckpoint(
        dirpath=folder, filename="best", monitor=recipe.monitor, mode="max", save_top_k=1, save_last=True,
        enable_version_counter=False,
    )  # fmt: skip
    return L.Trainer(
        accelerator="cpu" if not torch.cuda.is_available() else "auto",
        devices=1,
        precision=recipe.precision,
        max_epochs=stage.epochs,
        callbacks=[History(folder / "metrics.csv"), keep],
        logger=False,
        gradient_clip_val=recipe.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_progress_bar=sys.stderr.isatty() and "PYTEST_CURRENT_TEST" not in os.environ,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
