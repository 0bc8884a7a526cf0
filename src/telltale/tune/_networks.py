"""Folds of faces for networks: each setting trained as `train` trains it, on the faces of all folds but one."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from telltale.export import torch_logits
from telltale.recipe import Recipe
from telltale.split import k_fold
from telltale.store import Store
from telltale.train import (
    FaceTable,
    TrainSettings,
    build_validation,
    check_parents,
    check_sizes,
    common_detector,
    fit,
    framed,
    load_all,
    opened,
    parents_of,
    train,
)
from telltale.tune._settings import Held, TuneSettings, check_folds
from telltale.types import FaceRecord


class NetworkFolds:
    """See `tune.Folds`."""

    def __init__(self, faces: Sequence[str | Path | Store | FaceTable], settings: TuneSettings, *, out: Path) -> None:
        self._faces, self._out = opened(faces), out
        self._settings = TrainSettings(
            weights=settings.weights,
            split=settings.split,
            workers=settings.workers,
            n_threads=settings.n_threads,
            cache=out / "features",
            resume=settings.resume,
        )
        common_detector([given for given in self._faces if isinstance(given, Store)])  # refuses now what refit would
        self._table = load_all(self._faces, split=settings.split)
        self._searched = self._table.take(self._table.side != "test")
        self._judged = replace(self._searched, side=np.full(len(self._searched), "val"))  # each face is in some fold
        self._sides = _sides(self._searched, settings.folds, settings.seed)
        check_folds(self._searched.label, [sides == "val" for sides in self._sides])
        self.n_faces = len(self._searched)
        self.n_groups = len(np.unique(self._searched.group_id))

    def digest(self) -> str:
        columns = (self._searched.dataset, self._searched.image_id, self._searched.label, *self._sides)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return hashlib.sha256("\n".join("\t".join(map(str, row)) for row in rows).encode()).hexdigest()

    def run(self, fold: int, recipes: Sequence[Recipe], wanted: Collection[int]) -> Iterator[Held]:
        table = replace(self._searched, side=self._sides[fold])
        for recipe in recipes:
            check_sizes(recipe, self._faces, self._table)
            check_parents(
                parents_of(recipe, self._settings.begin(recipe)), self._judged, allow_leaks=False,
                way_out="search with faces that it never saw, or from other weights",
            )  # fmt: skip
        for index in sorted(wanted):
            recipe, began_s = framed(recipes[index], self._faces), time.perf_counter()
            folder = self._out / f"setting-{index}-fold-{fold}"
            if folder.exists() and not self._settings.resume:  # of a search that was stopped
                shutil.rmtree(folder)
            net = fit(table, recipe, out=folder, settings=self._settings)
            held = build_validation(table.on("val"), recipe, size_px=recipe.stages[-1].size_px, robust=False)
            logit = torch_logits(net.eval(), held.clips, mask=held.mask)
            shutil.rmtree(folder)  # checkpoints of every trial would fill a disk
            yield Held(index, held.label, logit, time.perf_counter() - began_s)

    def refit(self, recipe: Recipe, out: Path) -> str | None:
        began = self._settings.resume and out.exists()
        return str(train(self._faces, recipe=recipe, out=out, settings=replace(self._settings, resume=began)).path)


def _sides(table: FaceTable, n_folds: int, seed: int) -> list[npt.NDArray[np.str_]]:
    """For each fold, train or val for each row."""
    records = [
        FaceRecord(dataset=dataset, image_id=str(row), path="", name=str(row), label=label, group_id=group)
        for row, (dataset, label, group) in enumerate(
            zip(table.dataset.tolist(), table.label.tolist(), table.group_id.tolist(), strict=True)
        )
    ]
    return [
        np.array([dealt.sides[str(row)] for row in range(len(table))], np.str_)
        for dealt in k_fold(records, k=n_folds, seed=seed)
    ]
