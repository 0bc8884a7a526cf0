"""Search a recipe's settings with grouped cross-validation, and refit the best.

    tuning = tune(["faces.store"], recipe="random-forest", out="search", settings=TuneSettings(split="main"))
    tuning.best, tuning.points[0].mean

Every setting is judged on the same folds, dealt out by group over the train and val sides of a split; the test side is
never looked at. The grid is the recipe's own, or the one given: key of the recipe -> values. OUT then holds
`tuning.json`, `results.csv`, `search.png`, and in `best/` the run of the best setting on the split itself. A search
that was stopped goes on with `TuneSettings(resume=True)`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import Field

from telltale import metrics
from telltale._csv import to_csv
from telltale._files import check_writable, write_files
from telltale._versions import versions
from telltale.aggregate import sigmoid
from telltale.errors import UsageError
from telltale.recipe import Recipe, load_recipe, override
from telltale.store import Store
from telltale.tune._settings import METRICS, Held, Metric, TuneSettings
from telltale.tune._trials import NAME as TRIALS
from telltale.tune._trials import Trial, Trials
from telltale.types import Written

if TYPE_CHECKING:
    from telltale.train import Given

Grid = Mapping[str, Sequence[Any]]
Progress = Callable[[float, str], None]


class Point(Written):
    """One setting and what each fold gave, on the faces that were held out."""

    setting: dict[str, Any]
    folds: tuple[float, ...]
    mean: float
    std: float
    seconds: float
    """Training and judging in all folds together; for forests grown on from a smaller one, the growing on."""


class Tuning(Written):
    """A finished search, best setting first."""

    schema_version: Literal[1] = 1
    recipe: str
    metric: Metric
    n_folds: int
    seed: int
    n_faces: int
    n_groups: int
    points: tuple[Point, ...]
    best: dict[str, Any]
    bundle: str | None = None
    """The folder of the refitted model; None without a refit, or where the model is too large for a bundle."""
    versions: dict[str, str] = Field(default_factory=dict)


class Folds(Protocol):
    """A recipe's data, dealt out."""

    n_faces: int
    n_groups: int

    def digest(self) -> str:
        """Of which faces there are and how they were dealt out."""
        ...

    def run(self, fold: int, recipes: Sequence[Recipe], wanted: Collection[int]) -> Iterator[Held]:
        """Train those of `recipes` that are `wanted`, by their places, without `fold`; in any order."""
        ...

    def refit(self, recipe: Recipe, out: Path) -> str | None:
        """Train on the split itself; returns the bundle's folder."""
        ...


def tune(
    faces: Given | Sequence[Given],
    *,
    recipe: str | Path | Recipe,
    out: str | Path,
    grid: Grid | None = None,
    overrides: Sequence[str] = (),
    settings: TuneSettings | None = None,
    on_progress: Progress | None = None,
) -> Tuning:
    """Try every setting of `grid` (None: the recipe's), or some of them, with grouped cross-validation.

    `faces` are stores for a model on pixels, and what `train` takes for a network. `overrides` are KEY=VALUE, as
    `--set` takes them, and change the recipe first. Raises `UsageError` for a grid that the recipe does not know,
    weights for a model on pixels, or where OUT holds a search that is not to be gone on with, or another one than this;
    `LeakFound`, `DataError`, `OutputError`.
    """
    settings = settings or TuneSettings()
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    chosen = override(chosen, overrides) if overrides else chosen
    if chosen.members:
        raise UsageError("a recipe with members has no settings of its own to try: tune the recipe of a member")
    tried = list(_tried(grid or chosen.grid, n_random=settings.n_random, seed=settings.seed))
    recipes = [override(chosen, [f"{key}={json.dumps(value)}" for key, value in one.items()]) for one in tried]
    folder = Path(out)
    if (folder / "tuning.json").exists() and not (folder / TRIALS).exists():
        raise UsageError(f"{folder} holds a search: choose another --out, or delete it first")
    check_writable(folder)
    data = _folds(faces, recipes, out=folder, settings=settings)
    trials = Trials(folder, _searched(recipes, settings, data), resume=settings.resume)
    points = sorted(_judge(data, tried, recipes, settings, trials, on_progress), key=lambda point: -point.mean)
    best = points[0].setting
    tuning = Tuning(
        recipe=recipe if isinstance(recipe, str) else chosen.card.name, metric=settings.metric,
        n_folds=settings.folds, seed=settings.seed, n_faces=data.n_faces, n_groups=data.n_groups,
        points=tuple(points), best=best, versions=versions(),
    )  # fmt: skip
    _write(tuning, folder)
    if settings.refit:
        if on_progress is not None:
            on_progress(1.0, "refitting the best")
        tuning = tuning.model_copy(update={"bundle": data.refit(recipes[tried.index(best)], folder / "best")})
        _write(tuning, folder)
    trials.end()
    return tuning


def _searched(recipes: Sequence[Recipe], settings: TuneSettings, data: Folds) -> dict[str, Any]:
    """What a search must not change where it is gone on with."""
    parts = [recipe.model_dump(mode="json", exclude={"description", "grid", "card"}) for recipe in recipes]
    return {
        "settings": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
        "faces": data.digest(),
        "folds": settings.folds,
        "metric": settings.metric,
        "weights": settings.weights,
    }


def _tried(grid: Grid, *, n_random: int | None, seed: int) -> Iterator[dict[str, Any]]:
    if not grid or not all(len(values) for values in grid.values()):
        raise UsageError("there is nothing to try: the recipe has no grid, so give one with --grid KEY=A,B,C")
    different = [list({json.dumps(value): value for value in values}.values()) for values in grid.values()]
    every = [dict(zip(grid, values, strict=True)) for values in itertools.product(*different)]
    if n_random is None or n_random >= len(every):
        yield from every
        return
    drawn = np.random.default_rng(seed).choice(len(every), n_random, replace=False)
    yield from (every[i] for i in np.sort(drawn))


def _folds(given: Given | Sequence[Given], recipes: Sequence[Recipe], *, out: Path, settings: TuneSettings) -> Folds:
    kinds = {recipe.model.name == "pixels" for recipe in recipes}
    if len(kinds) > 1:
        raise UsageError("a grid over model.name cannot mix models on pixels with networks: search each on its own")
    from telltale.train import as_list

    faces = as_list(given)
    if kinds == {True}:
        from telltale.evaluate import as_stores
        from telltale.tune._pixels import PixelFolds

        if settings.weights is not None:
            raise UsageError("a model on pixels is fitted from nothing: leave out --weights")
        if any(not isinstance(one, (str, Path, Store)) for one in faces):
            raise UsageError("a model on pixels learns from stores: make one with `telltale prepare`")
        stores = as_stores([one for one in faces if isinstance(one, (str, Path, Store))])
        return PixelFolds(stores, settings)
    from telltale.tune._networks import NetworkFolds

    return NetworkFolds(faces, settings, out=out / "trials")


def _judge(
    data: Folds,
    tried: Sequence[dict[str, Any]],
    recipes: Sequence[Recipe],
    settings: TuneSettings,
    trials: Trials,
    on_progress: Progress | None,
) -> list[Point]:
    """What every fold says of every setting, in the order of `tried`."""
    for fold in range(settings.folds):
        wanted = [index for index in range(len(tried)) if (index, fold) not in trials.done]
        for held in data.run(fold, recipes, wanted):
            value = metrics.figures(held.label, sigmoid(held.logit))[settings.metric]
            trials.add(Trial(setting=held.setting, fold=fold, value=value, seconds=held.seconds))
            if on_progress is not None:
                on_progress(len(trials.done) / (len(tried) * settings.folds), f"fold {fold + 1} of {settings.folds}")
    each = [[trials.done[index, fold] for fold in range(settings.folds)] for index in range(len(tried))]
    return [_point(setting, done) for setting, done in zip(tried, each, strict=True)]


def _point(setting: dict[str, Any], done: Sequence[Trial]) -> Point:
    folds = np.array([trial.value for trial in done])
    return Point(
        setting=setting,
        folds=tuple(folds.tolist()),
        mean=float(folds.mean()),
        std=float(folds.std(ddof=1)),
        seconds=round(sum(trial.seconds for trial in done), 2),
    )


def _write(tuning: Tuning, out: Path) -> None:
    from telltale import plots

    keys = list(tuning.points[0].setting)
    names = [*keys, *(f"fold_{i + 1}" for i in range(tuning.n_folds)), "mean", "std", "seconds"]
    rows = [[*(p.setting[key] for key in keys), *p.folds, p.mean, p.std, p.seconds] for p in tuning.points]
    figure = plots.search_results(
        [
            plots.SearchPoint({key.rpartition(".")[2]: v for key, v in p.setting.items()}, p.folds)
            for p in tuning.points
        ],
        quantity=tuning.metric.replace("_", " "),
        title=tuning.recipe,
    )
    write_files(
        out,
        {
            "tuning.json": (tuning.model_dump_json(indent=1) + "\n").encode(),
            "results.csv": to_csv(names, rows),
            "search.png": plots.to_png(figure),
        },
    )


__all__ = ["METRICS", "Metric", "Point", "TuneSettings", "Tuning", "tune"]
