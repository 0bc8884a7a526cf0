"""Train a recipe on faces and get a bundle: fit every stage, calibrate on validation, export with a parity check.

    bundle = train(["dfdc.parquet", "portraits.parquet"], recipe="default", weights="mobilenet_v2.npz", out="run")
    bundle.card.metrics["val"]["dfdc"]["auc"]

OUT then holds `stage-N/` (checkpoints and metrics.csv) and `bundle/`. A run that was stopped goes on with
`resume=True` and ends with the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from telltale import models
from telltale.bundle import Bundle
from telltale.errors import DataError, LeakFound, UsageError
from telltale.recipe import Recipe, load_recipe, override
from telltale.train import _run
from telltale.train._faces import FaceTable, concat, read_faces
from telltale.train._finish import finish, read_resources
from telltale.types import Side


def train(
    faces: Sequence[str | Path | FaceTable],
    *,
    recipe: str | Path | Recipe = "mobilenetv2",
    out: str | Path,
    weights: str = "hub",
    overrides: Sequence[str] = (),
    workers: int = 1,
    threads: int | None = None,
    resume: bool = False,
    split: str | None = None,
) -> Bundle:
    """Fit `recipe` on `faces` (tables or data sets of face crops) and write OUT/bundle.

    A recipe whose model is `pixels` takes stores, and `split` names one of theirs (None: the only one).

    `weights` is where the network begins: `hub` (timm's), a file, or `none` for random ones. `workers` processes load
    and augment; `threads` compute (None = one a core). Neither changes the result.

    Raises UsageError where OUT holds another run and `resume` is off, LeakFound where a group is on two sides,
    DataError where faces are missing, BundleInvalid where weights do not fit.
    """
    chosen = _recipe(recipe, overrides)
    if chosen.model.name == "pixels":
        return _train_pixels(faces, chosen, split=split, out=Path(out), threads=threads or os.cpu_count() or 1)
    table = load_all(faces)
    net = _run.fit(
        table,
        chosen,
        out=Path(out),
        weights=models.Weights(weights),
        workers=workers,
        threads=threads or os.cpu_count() or 1,
        resume=resume,
    )
    return finish(
        net,
        table,
        chosen,
        size_px=chosen.stages[-1].size_px,
        out=Path(out) / "bundle",
        resources=read_resources(Path(out)),
    )


def _train_pixels(
    faces: Sequence[str | Path | FaceTable], recipe: Recipe, *, split: str | None, out: Path, threads: int
) -> Bundle:
    from telltale.evaluate import as_stores
    from telltale.train._pixels import train_pixels

    stores = as_stores([given for given in faces if not isinstance(given, FaceTable)])
    run = train_pixels(stores, recipe, split=split, out=out, n_threads=threads)
    if run.bundle is None:
        raise UsageError(
            f"the {recipe.card.name} is too large for a bundle at this size; its figures are in {out}. A smaller "
            "--set model.options.size_px gives one"
        )
    return run.bundle


def export_checkpoint(
    checkpoint: str | Path,
    faces: Sequence[str | Path | FaceTable],
    *,
    recipe: str | Path | Recipe,
    size_px: int,
    out: str | Path,
    overrides: Sequence[str] = (),
    sides: tuple[Side, ...] = ("val",),
    with_weights: bool = True,
) -> Bundle:
    """The bundle of one checkpoint of a run, finished or not: its averaged weights, calibrated and measured."""
    path, chosen = Path(checkpoint), _recipe(recipe, overrides)
    if not path.is_file():
        raise UsageError(f"no checkpoint {path}; a run leaves stage-N/best.ckpt and stage-N/last.ckpt")
    net = models.create(chosen.model.name, weights=models.Weights("none"), options=chosen.model.options)
    return finish(
        _run.load_averaged(net, path),
        load_all(faces),
        chosen,
        size_px=size_px,
        out=Path(out),
        sides=sides,
        with_weights=with_weights,
        resources=read_resources(path.parent.parent),
    )


def load_all(faces: Sequence[str | Path | FaceTable]) -> FaceTable:
    """All faces in one table. Raises LeakFound where a group is on two sides, over all of them."""
    table = concat([given if isinstance(given, FaceTable) else read_faces(given) for given in faces])
    if not len(table):
        raise DataError("there are no faces to train on")
    sides: dict[str, str] = {}
    for group, side in zip(table.group_id.tolist(), table.side.tolist(), strict=True):
        if sides.setdefault(group, side) != side:
            raise LeakFound(f"group {group} is on {sides[group]} and {side}: split by group, with one seed for all")
    return table


def _recipe(recipe: str | Path | Recipe, overrides: Sequence[str]) -> Recipe:
    if isinstance(recipe, Recipe):
        return override(recipe, overrides) if overrides else recipe
    return load_recipe(recipe, overrides=overrides)


__all__ = ["FaceTable", "export_checkpoint", "finish", "load_all", "read_faces", "train"]
