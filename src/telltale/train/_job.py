"""Everything one training run needs, so that it can be handed to other processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from telltale import models
from telltale.bundle import Bundle, DetectorSettings
from telltale.recipe import Recipe
from telltale.train import _run
from telltale.train._faces import FaceTable
from telltale.train._finish import finish
from telltale.train._origin import origin_of
from telltale.train._parents import parents_of


@dataclass(frozen=True)
class Job:
    """`out` ends with `bundle/` in it."""

    table: FaceTable
    recipe: Recipe
    out: Path
    weights: models.Weights
    workers: int
    threads: int
    resume: bool
    cache: Path | None = None
    devices: int = 1
    nodes: int = 1
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    """What found the faces."""


def fit_job(job: Job, *, rank: int = 0) -> nn.Module:
    return _run.fit(
        job.table, job.recipe, out=job.out, weights=job.weights, workers=job.workers, threads=job.threads,
        resume=job.resume, cache=job.cache, processes=(job.devices, job.nodes), rank=rank,
    )  # fmt: skip


def finish_job(job: Job, net: nn.Module) -> Bundle:
    return finish(
        net, job.table, job.recipe, size_px=job.recipe.stages[-1].size_px, out=job.out / "bundle",
        origin=origin_of(
            job.table, job.recipe, run=job.out, detector=job.detector, parents=parents_of(job.recipe, job.weights)
        ),
        pictures=job.out,
    )  # fmt: skip


__all__ = ["Job", "finish_job", "fit_job"]
