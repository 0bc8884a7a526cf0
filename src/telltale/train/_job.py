"""Everything one training run needs, so that it can be handed to other processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from telltale import models
from telltale.bundle import Bundle, DetectorSettings
from telltale.errors import UsageError
from telltale.recipe import Recipe
from telltale.train import _run
from telltale.train._begin import check_beginnings
from telltale.train._clips import cut_clips
from telltale.train._faces import FaceTable
from telltale.train._finish import finish
from telltale.train._origin import origin_of
from telltale.train._parents import parents_of
from telltale.train._settings import TrainSettings
from telltale.train._teacher import teacher_of


@dataclass(frozen=True)
class Job:
    """`out` ends with `bundle/` in it."""

    table: FaceTable
    recipe: Recipe
    out: Path
    settings: TrainSettings
    detector: DetectorSettings
    """What found the faces."""


def check_job(job: Job) -> nn.Module:
    """The network that a run would begin with.

    Raises, of what would end the run, what can be told without a look at pictures.
    """
    recipe, learned = job.recipe, job.table.on("train")
    check_beginnings(recipe)
    _run.check_free(job.out, resume=job.settings.resume)
    _run.with_steps(recipe, cut_clips(learned, recipe.n_frames).heads(learned))
    for number in range(len(recipe.stages)):
        teacher_of(recipe.in_stage(number))
    return models.create(
        recipe.model.name, weights=job.settings.begin(recipe), options=recipe.model.options,
        size_px=recipe.stages[-1].size_px,
    )  # fmt: skip


def check_crops(recipe: Recipe) -> None:
    """Raises UsageError where a member cuts faces in another way than the recipe that joins it."""
    for number, member in enumerate(recipe.members):
        if member.recipe.crop(8) != recipe.crop(8):
            raise UsageError(
                f"members.{number}.recipe cuts faces in another way than the recipe that joins it: give both the same "
                "crop_kind, crop_margin_frac, crop_down_frac and crop_align"
            )


def fit_job(job: Job, *, rank: int = 0) -> nn.Module:
    return _run.fit(job.table, job.recipe, out=job.out, settings=job.settings, rank=rank)


def finish_job(job: Job, net: nn.Module) -> Bundle:
    parents = parents_of(job.recipe, job.settings.begin(job.recipe))
    return finish(
        net, job.table, job.recipe, size_px=job.recipe.stages[-1].size_px, out=job.out / "bundle",
        origin=origin_of(job.table, job.recipe, run=job.out, detector=job.detector, parents=parents),
        pictures=job.out,
    )  # fmt: skip
