"""Everything one training run needs, so that it can be handed to other processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from telltale.bundle import Bundle, DetectorSettings
from telltale.recipe import Recipe
from telltale.train import _run
from telltale.train._faces import FaceTable
from telltale.train._finish import finish
from telltale.train._origin import origin_of
from telltale.train._parents import parents_of
from telltale.train._settings import TrainSettings


@dataclass(frozen=True)
class Job:
    """`out` ends with `bundle/` in it."""

    table: FaceTable
    recipe: Recipe
    out: Path
    settings: TrainSettings
    detector: DetectorSettings
    """What found the faces."""


def fit_job(job: Job, *, rank: int = 0) -> nn.Module:
    return _run.fit(job.table, job.recipe, out=job.out, settings=job.settings, rank=rank)


def finish_job(job: Job, net: nn.Module) -> Bundle:
    parents = parents_of(job.recipe, job.settings.begin(job.recipe))
    return finish(
        net, job.table, job.recipe, size_px=job.recipe.stages[-1].size_px, out=job.out / "bundle",
        origin=origin_of(job.table, job.recipe, run=job.out, detector=job.detector, parents=parents),
        pictures=job.out,
    )  # fmt: skip
