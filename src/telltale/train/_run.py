"""Fit every stage of a recipe: Lightning, checkpoints after each epoch, resumed where a run stopped."""

from __future__ import annotations

import json
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader

from telltale._files import write_files
from telltale._usage import Usage
from telltale.errors import UsageError
from telltale.recipe import Recipe
from telltale.train import _validation
from telltale.train._allocator import kept_memory
from telltale.train._begin import check_beginnings, load_stage, prune_before, start
from telltale.train._checkpoint import Checkpoints, load
from telltale.train._clips import cut_clips
from telltale.train._data import Batch, Features, MixedBatches, epoch_loader
from telltale.train._faces import FaceTable
from telltale.train._features import FeatureCache, cacheable, of_table, of_validation
from telltale.train._history import History
from telltale.train._mix import Mix, Shard
from telltale.train._module import Fit, of_all
from telltale.train._origin import added_up
from telltale.train._progress import FitProgress, is_watched
from telltale.train._resume import claim
from telltale.train._settings import TrainSettings
from telltale.train._teacher import teacher_of

_VAL_LIMIT = 700
"""At most so many validation faces a source and label are scored each epoch; all of them at the end."""


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
        return self.validation.loader(shard=self.train_batches.shard)


def check_free(out: Path, *, resume: bool, begins: str = "stage-0") -> None:
    """Raises UsageError if `out` holds a run and `resume` is off, or a run or model that began with another folder."""
    held = [name for name in ("stage-0", "member-0", "bundle") if (out / name).exists()]
    if not held:
        return
    if begins not in held:
        raise UsageError(f"{out} holds another kind of run: choose another --out, or delete it first")
    if not resume:
        raise UsageError(f"{out} holds a training run; continue it with --resume, or choose another --out")


def fit(table: FaceTable, recipe: Recipe, *, out: Path, settings: TrainSettings, rank: int = 0) -> nn.Module:
    """Run all stages; returns the network with the averaged weights of the last stage's best epoch.

    Leaves OUT/stage-N/{best,last}.ckpt, OUT/stage-N/metrics.csv, OUT/stage-N/tensorboard and, of a frozen backbone
    without a cache of its own, OUT/features. This process is number `rank` of all. Raises UsageError if OUT holds a run
    that is not to be resumed, or that began otherwise.
    """
    check_beginnings(recipe)
    check_free(out, resume=settings.resume or rank > 0)
    if rank == 0:
        claim(out, table, recipe, weights=settings.begin(recipe).source)
    with _computing(max(1, settings.n_threads_here() // settings.devices)):
        L.seed_everything(recipe.seed, workers=True, verbose=False)
        learned = table.on("train")
        recipe = with_steps(recipe, cut_clips(learned, recipe.n_frames).heads(learned))
        shard = Shard(rank, settings.n_processes)
        for number in range(len(recipe.stages)):
            teacher_of(recipe.in_stage(number))  # one that does not fit is refused now, not hours later
        run = _Run(learned, table.on("val"), recipe, out, settings, shard)
        net = start(learned, recipe, settings.begin(recipe))
        for number in range(len(recipe.stages)):
            done = out / f"stage-{number}" / "done"
            if done.exists():
                net = load_stage(net, out, recipe, number)
                continue
            cost = _Cost(done.parent)
            with cost.usage:
                _fit_stage(run, net, number, cost)
            net = load_stage(net, out, recipe, number)
            used = cost.so_far()
            if rank == 0:
                write_files(done.parent, {done.name: json.dumps(used).encode()})
    return net


@dataclass(frozen=True)
class _Run:
    """What its stages share, in one of its processes."""

    learned: FaceTable
    judged: FaceTable
    recipe: Recipe
    """Every stage says how many steps an epoch has."""
    out: Path
    settings: TrainSettings
    shard: Shard


def _fit_stage(run: _Run, net: nn.Module, number: int, cost: _Cost) -> None:
    """Go on with a stage to its end; what came of it is in its checkpoints."""
    recipe, stage, folder = run.recipe.in_stage(number), run.recipe.stages[number], run.out / f"stage-{number}"
    last = folder / "last.ckpt"
    with _quiet(), kept_memory():
        if last.exists() and _lost_patience(last):
            return
        validation = _validation.build(run.judged, recipe, size_px=stage.size_px, limit=_VAL_LIMIT)
        _validation.check_monitor(validation, recipe.monitor)
        folder.mkdir(parents=True, exist_ok=True)
        with _first_alone(run.shard.rank):
            net = prune_before(net, run.learned, recipe, number, run=run.out)
        features: Features | None = None
        if cacheable(net, recipe):
            features, validation = _computed_once(run, net, validation, size_px=stage.size_px)
        batches = MixedBatches(
            run.learned, run.recipe, stage=number, shard=run.shard, features=features, teacher=teacher_of(recipe)
        )
        torch.manual_seed(recipe.seed * 101 + number)  # a layer for places begins alike, whatever ran before
        module = Fit(net, run.recipe, stage=number, validation=validation)
        module.to(memory_format=torch.channels_last)
        trainer = _trainer(run.recipe, number, folder, run.settings, cost)
        with _stopped_as_asked(trainer):
            trainer.fit(
                module,
                datamodule=Faces(batches, validation, workers=run.settings.workers),
                ckpt_path=str(last) if last.exists() else None,
                weights_only=False,
            )


@contextmanager
def _stopped_as_asked(trainer: L.Trainer) -> Iterator[None]:
    """Lightning ends on Ctrl-C with exit code 1 and on SIGTERM with 0, as if all were done."""
    try:
        yield
    except SIGTERMException:
        pass
    except SystemExit:
        raise KeyboardInterrupt from None
    if trainer.received_sigterm:
        raise SystemExit(128 + signal.SIGTERM)


def _lost_patience(checkpoint: Path) -> bool:
    """Whether the stage ended there: Lightning would train another epoch before it looks."""
    state = load(checkpoint)["callbacks"]
    return any(
        said["wait_count"] >= said["patience"] for name, said in state.items() if name.startswith("EarlyStopping")
    )


def _computed_once(
    run: _Run, net: nn.Module, validation: _validation.ValidationSet, *, size_px: int
) -> tuple[Features, _validation.ValidationSet]:
    """What the frozen backbone of `net` says of the faces that are learned from, and `validation` with the same."""
    with _first_alone(run.shard.rank):
        kept = FeatureCache(net, Path(run.settings.cache or run.out / "features"), size_px=size_px)
        features = of_table(kept, run.learned, run.recipe, size_px=size_px)
        return features, replace(validation, features=of_validation(kept, validation))


def with_steps(recipe: Recipe, heads: FaceTable) -> Recipe:
    """`recipe` with the length of an epoch put in where it is once through the faces, of which `heads` has a row a
    clip. Raises DataError where the faces are not those that a stage mixes: before the first one is run."""
    once = [Mix(heads, recipe.in_stage(number)).steps_once() for number in range(len(recipe.stages))]
    stages = tuple(
        stage if stage.steps_per_epoch else stage.model_copy(update={"steps_per_epoch": steps})
        for stage, steps in zip(recipe.stages, once, strict=True)
    )
    return recipe.model_copy(update={"stages": stages})


@contextmanager
def _computing(n_threads: int) -> Iterator[None]:
    """Threads of arithmetic, and no denormal numbers, into which Adam's moments of dead weights decay (30 % of a step,
    measured); then as the caller had it, whose numbers they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


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


@contextmanager
def _first_alone(rank: int) -> Iterator[None]:
    """The first process, then the others, which find what it left on disk."""
    if rank and dist.is_initialized():
        dist.barrier()
    yield
    if not rank and dist.is_initialized():
        dist.barrier()


def _used(usage: Usage) -> dict[str, float]:
    """What a stage cost since it was started or resumed: the longest time, and the sums over all processes."""
    each = of_all(usage.as_dict())
    found = {name: round(sum(one[name] for one in each), 2) for name in each[0]}
    return found | {"wall_s": max(one["wall_s"] for one in each)}


class _Cost(Callback):
    """What a stage takes, with what it took before it was stopped: noted with each epoch."""

    def __init__(self, folder: Path) -> None:
        self.usage = Usage()
        self._path = folder / "cost.json"
        self._before: dict[str, float] = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}

    def so_far(self) -> dict[str, float]:
        now = _used(self.usage)
        return added_up([self._before, now]) if self._before else now

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        cost = self.so_far()
        if trainer.is_global_zero:
            write_files(self._path.parent, {self._path.name: json.dumps(cost).encode()})


def _trainer(recipe: Recipe, number: int, folder: Path, settings: TrainSettings, cost: _Cost) -> L.Trainer:
    stage = recipe.stages[number]
    mode = "min" if _validation.falls(recipe.monitor) else "max"
    # `save_last` would write only where the epoch is also the best
    callbacks: list[Callback] = [
        History(folder / "metrics.csv"),
        cost,
        ModelCheckpoint(folder, "best", monitor=recipe.monitor, mode=mode, enable_version_counter=False),
        ModelCheckpoint(folder, "last", enable_version_counter=False),
    ]
    if stage.patience:
        callbacks.append(EarlyStopping(recipe.monitor, mode=mode, patience=stage.patience))
    if is_watched() and not (dist.is_initialized() and dist.get_rank()):
        n_steps = stage.epochs * stage.steps_per_epoch
        callbacks.append(FitProgress(stage=number, n_stages=len(recipe.stages), n_steps=n_steps))
    on_gpu = torch.cuda.is_available()
    several: dict[str, Any] = {"devices": 1, "plugins": [Checkpoints()]}
    if settings.n_processes > 1:
        several = {
            "devices": settings.devices,
            "num_nodes": settings.nodes,
            "strategy": DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo"),
            "plugins": [LightningEnvironment(), Checkpoints()],
        }
    return L.Trainer(
        accelerator="auto" if on_gpu else "cpu",
        precision=recipe.precision,
        max_epochs=stage.epochs,
        callbacks=callbacks,
        logger=False,
        gradient_clip_val=recipe.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **several,
    )
