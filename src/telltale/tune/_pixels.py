"""Folds of a store for models on pixels: one matrix of bytes for all of them, each fold a choice of its columns."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from telltale.evaluate import choose_split, load_faces, split_leaks
from telltale.models.pixels import Bytes, Forest, ForestOptions, PixelModel, PixelOptions, create, matrix
from telltale.recipe import Recipe
from telltale.split import k_fold
from telltale.store import Store
from telltale.train import TrainSettings, common_detector, train_pixels
from telltale.tune._settings import Held, TuneSettings, check_folds
from telltale.types import VideoRecord


class PixelFolds:
    """See `tune.Folds`."""

    def __init__(self, stores: Sequence[Store], settings: TuneSettings) -> None:
        self._stores, self._n_threads, self._resume = stores, settings.n_threads, settings.resume
        common_detector(stores)  # refuses now what refit would
        self._split = choose_split(stores, settings.split, "train")
        split_leaks(stores, self._split, allow_leaks=False)
        found = load_faces(stores, split=self._split, side="train+val")
        self._faces = found.take(~found.is_filled)  # as training and judging do
        self._fold = self._dealt(settings.folds, settings.seed)
        check_folds(self._faces.label, [self._fold == fold for fold in range(settings.folds)])
        self._size_px = 0
        self._pixels: Bytes | None = None
        self.n_faces = len(self._faces)
        self.n_groups = len(np.unique(self._faces.cluster))

    def digest(self) -> str:
        faces = self._faces
        rows = zip(faces.columns["video_id"].tolist(), faces.row.tolist(), strict=True)
        names = "\n".join(f"{video}\t{row}" for video, row in rows)
        return hashlib.sha256(names.encode() + faces.label.tobytes() + self._fold.tobytes()).hexdigest()

    def run(self, fold: int, recipes: Sequence[Recipe], wanted: Collection[int]) -> Iterator[Held]:
        options = [PixelOptions.parse(recipe.model.options) for recipe in recipes]
        # One size at a time, so that one matrix is in memory.
        for size_px in sorted({option.size_px for option in options}):
            mine = [i for i, option in enumerate(options) if i in wanted and option.size_px == size_px]
            for members in _grown_together(mine, recipes, options):
                yield from self._run(fold, members, recipes, options)

    def refit(self, recipe: Recipe, out: Path) -> str | None:
        self._pixels = None
        if self._resume and out.exists():  # of a search that was stopped as it ended; a fit begins anew in any case
            shutil.rmtree(out)
        settings = TrainSettings(split=self._split, n_threads=self._n_threads)
        run = train_pixels(self._stores, recipe, out=out, settings=settings)
        return None if run.bundle is None else str(run.bundle.path)

    def _run(
        self, fold: int, members: Sequence[int], recipes: Sequence[Recipe], options: Sequence[PixelOptions]
    ) -> Iterator[Held]:
        """Settings that differ in the number of trees alone, fewest first: one forest, grown on."""
        pixels, label = self._matrix(options[members[0]].size_px), self._faces.label
        train, held = np.flatnonzero(self._fold != fold), np.flatnonzero(self._fold == fold)
        forest: Forest | None = None
        for index in members:
            began_s = time.perf_counter()
            model: PixelModel = create(seed=recipes[index].seed, **recipes[index].model.options)
            if isinstance(model.machine, Forest):
                if forest is not None:
                    model.machine.trees = forest.trees
                forest = model.machine
            model.fit(pixels, label, train, n_threads=self._n_threads)
            logit = model.logit(pixels, held, n_threads=self._n_threads)
            yield Held(index, label[held], logit, time.perf_counter() - began_s)

    def _matrix(self, size_px: int) -> Bytes:
        if self._pixels is None or self._size_px != size_px:
            self._pixels = None  # the old one goes before the new one comes
            faces = self._faces
            crops = (faces.crop(index, size_px) for index in range(len(faces)))
            self._pixels, self._size_px = matrix(crops, n_faces=len(faces), size_px=size_px), size_px
        return self._pixels

    def _dealt(self, n_folds: int, seed: int) -> npt.NDArray[np.int64]:
        """The fold in which each face is held out."""
        faces = self._faces
        number_of: dict[str, int] = {}
        for store, video_id, video in zip(
            faces.store.tolist(), faces.columns["video_id"].tolist(), faces.video.tolist(), strict=True
        ):
            number_of[f"{store}/{video_id}"] = video
        records: list[VideoRecord] = [
            replace(record, video_id=f"{number}/{record.video_id}")
            for number, store in enumerate(self._stores)
            for record in store.records()
            if f"{number}/{record.video_id}" in number_of
        ]
        fold_of_video = np.full(max(number_of.values()) + 1, -1)
        for fold, dealt in enumerate(k_fold(records, k=n_folds, seed=seed)):
            for name, side in dealt.sides.items():
                if side == "val":
                    fold_of_video[number_of[name]] = fold
        return fold_of_video[faces.video]


def _grown_together(
    members: Sequence[int], recipes: Sequence[Recipe], options: Sequence[PixelOptions]
) -> list[list[int]]:
    """Settings whose forests are the same but for the number of trees, fewest trees first; others alone."""
    groups: dict[object, list[int]] = {}
    for index in members:
        settings = options[index].settings
        key: object = index
        if isinstance(settings, ForestOptions):
            key = (replace(settings, n_trees=1), recipes[index].seed)
        groups.setdefault(key, []).append(index)

    def n_trees(index: int) -> int:
        settings = options[index].settings
        return settings.n_trees if isinstance(settings, ForestOptions) else 0

    return [sorted(group, key=n_trees) for group in groups.values()]
