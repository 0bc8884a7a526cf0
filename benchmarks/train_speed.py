"""What loading costs training: the time of a step with faces read, cut and degraded, over one on a batch in memory.

    python benchmarks/train_speed.py                                # recipe mobilenetv2, two loader workers
    python benchmarks/train_speed.py --faces STORE --steps 40 --rounds 3

Both run under Lightning as `telltale train` does, by turns, so that what else the machine does falls on both; the
ratio is that of the medians over all steps but the first of each turn. The last figure is a step in memory whose freed
blocks go back to the system, as they do by default. The second pair has a quarter of the batch self-blended. Faces are
the crops of the deepfake-faces set, or made ones where that is absent: the network's weights are random, and no figure
but time is stated.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from telltale import models
from telltale.recipe import Recipe, load_recipe
from telltale.train import FaceTable, _begin, load_all
from telltale.train._allocator import kept_memory
from telltale.train._data import Batch, MixedBatches, epoch_loader
from telltale.train._module import Fit

LIMIT = 1.10
WARM_STEPS = 5
DATA = Path(__file__).parents[2] / "shared" / "data" / "dfdc_faces"
BLENDED = ("mix.*.fake=8", "mix.*.blend=8")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--faces", type=Path, default=DATA, help="A store, a table, or a data set of face crops.")
    arguments.add_argument("--recipe", default="mobilenetv2")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    table = _table(given.faces)
    missed = False
    ours = ["model.options.backbone=mobilenetv2"] if given.recipe == "mobilenetv2" else []  # the shipped model's
    for name, overrides in (("as the recipe says", ()), ("with self-blending", BLENDED)):
        recipe = load_recipe(given.recipe, overrides=[*ours, *given.set, *overrides])
        loaded, held, given_back, alone_s = _measure(table, recipe, given)
        ratio = median(loaded) / median(held)
        missed |= not overrides and ratio > LIMIT
        n = sum(mix.real + mix.fake + mix.blend for mix in recipe.mix.values())
        print(
            f"{given.recipe}, {name}: {median(loaded) * 1000:.0f} ms a step of {n} faces with {given.workers} loader "
            f"workers, {median(held) * 1000:.0f} ms on a batch in memory = {ratio:.3f}"
            + (f" (at most {LIMIT:.2f})" if not overrides else "")
            + f"; loading alone, one process: {alone_s / n * 1000:.2f} ms a face; "
            f"{median(given_back) / median(held):.2f} x as long where freed memory goes back to the system",
            flush=True,
        )
    return int(missed)


def _measure(
    table: FaceTable, recipe: Recipe, given: argparse.Namespace
) -> tuple[list[float], list[float], list[float], float]:
    """Seconds of each step with loading, of each on one batch, of each on one batch without memory kept, and of loading
    a batch in this process."""
    batches = MixedBatches(table, recipe, stage=0)
    began = time.perf_counter()
    for step in range(10):
        one = batches[step]
    alone_s = (time.perf_counter() - began) / 10
    fit = Fit(_begin.start(table, recipe, models.Weights("none")), recipe, stage=0, validation=None)
    fit.to(memory_format=torch.channels_last)
    loaded: list[float] = []
    held: list[float] = []
    given_back: list[float] = []
    n_steps = given.steps + WARM_STEPS
    for number in range(given.rounds):
        real = epoch_loader(batches, epoch=number, steps_per_epoch=n_steps, workers=given.workers)
        same = DataLoader(_Held(one, n_steps), batch_size=None)
        with kept_memory():
            loaded += _steps(fit, real, recipe)
            held += _steps(fit, same, recipe)
        given_back += _steps(fit, same, recipe)
    return loaded, held, given_back, alone_s


def _steps(fit: Fit, loader: DataLoader[Batch], recipe: Recipe) -> list[float]:
    clock = _Clock()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        precision=recipe.precision,
        max_epochs=1,
        callbacks=[clock],
        logger=False,
        gradient_clip_val=recipe.gradient_clip,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(fit, train_dataloaders=loader)
    return [after - before for before, after in zip(clock.at, clock.at[1:], strict=False)][WARM_STEPS:]


class _Clock(L.Callback):
    """When each step ended: what lies between two is waiting for a batch, and the step."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.at.append(time.perf_counter())


class _Held(Dataset[Batch]):
    def __init__(self, batch: Batch, n: int) -> None:
        self.batch, self.n = batch, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, _step: int) -> Batch:
        return self.batch


def _table(faces: Path) -> FaceTable:
    if faces.exists():
        return load_all([faces]).on("train")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import make_faces

    return make_faces.table(n=2000).on("train")


if __name__ == "__main__":
    sys.exit(main())
