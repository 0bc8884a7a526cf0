"""Train a recipe on faces and get a bundle: fit every stage, calibrate on validation, export with a parity check.

    begin = TrainSettings(weights="mobilenet_v2_imagenet.npz")
    bundle = train(["dfdc.store", "portraits.store"], recipe="default", out="run", settings=begin)
    bundle.card.metrics["val"]["dfdc"]["auc"]

OUT then holds `bundle/`, `val/` (ROC, confusion, reliability), `learning_curves.png` and `stage-N/` (checkpoints,
metrics.csv, TensorBoard events). Of a recipe with members, as `default` is one, each member has such a run in
`member-N/`, and OUT the `bundle/` and `val/` of them joined. A run that was stopped goes on with
`TrainSettings(resume=True)` and ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from torch import nn

from telltale import models
from telltale.bundle import Bundle, DetectorSettings
from telltale.crops import CropSpec
from telltale.errors import DataError, UsageError
from telltale.evaluate import as_stores, choose_split, copied
from telltale.models.transfer import Transfer, joined
from telltale.recipe import Recipe, load_recipe
from telltale.split import Member, check_leaks
from telltale.store import Store, check_distinct, is_store
from telltale.train import _run
from telltale.train._begin import check_beginnings, load_stage
from telltale.train._faces import (
    FaceTable,
    common_crop,
    common_detector,
    common_margin,
    common_plan,
    concat,
    copied_files,
    median_side_px,
    read_faces,
)
from telltale.train._finish import finish
from telltale.train._job import Job, check_crops, check_job, finish_job, fit_job
from telltale.train._join import check_members, join
from telltale.train._origin import leak_limits, origin_of
from telltale.train._parents import check_parents, parents_of
from telltale.train._pixels import train_pixels
from telltale.train._prune import check_prunable
from telltale.train._resume import check_began_with
from telltale.train._run import fit
from telltale.train._settings import TrainSettings
from telltale.train._validation import build as build_validation
from telltale.types import Side

Given = str | Path | Store | FaceTable
"""A store, a table of faces (`FaceTable.write`), or a data set of face crops."""
_Loaded = tuple[FaceTable, list[str]]
"""Faces, and the groups among them that are on more than one side."""


def train(
    faces: Given | Sequence[Given],
    *,
    recipe: str | Path | Recipe = "mobilenetv2",
    out: str | Path,
    settings: TrainSettings | None = None,
) -> Bundle:
    """Fit `recipe` on `faces` (stores, tables or data sets of face crops) and write OUT/bundle.

    Faces of stores are framed as the stores framed them, whatever the recipe says. A recipe whose model is `pixels`
    takes stores alone, and of `settings` what `TrainSettings` names.

    Raises UsageError where OUT holds another run that is not to be resumed, a store's crops are smaller than the
    recipe learns at, or a model on pixels is too large for a bundle; LeakFound where a group is on two sides, DataError
    where faces are missing, StoreInvalid where a store is damaged, UnknownName for no recipe, model or teacher of that
    name, BundleInvalid where weights do not fit, WeightsMissing where a bundle has none to begin from, ModelError where
    weights cannot be fetched, OutputError where features or pictures cannot be kept, MissingExtra where a library is
    missing.
    """
    settings = settings or TrainSettings()
    chosen = _recipe(recipe)
    check_prunable(chosen)
    faces = as_list(faces)
    if chosen.model.name == "pixels":
        return _train_pixels(faces, chosen, out=Path(out), settings=settings)
    faces, out = opened(faces), Path(out)
    if chosen.members:
        if settings.nodes > 1:
            raise UsageError("a recipe with members is trained on one machine: train the members' recipes on several")
        check_members(chosen.members)
        _run.check_free(out, resume=settings.resume, begins="member-0")
    loaded = _loaded(faces, split=settings.split, allow_leaks=settings.allow_leaks)
    if chosen.members:
        _begun(faces, loaded, chosen, out, settings)
    return _fitted(faces, loaded, chosen, out, settings)


def _fitted(faces: Sequence[Given], loaded: _Loaded, recipe: Recipe, out: Path, settings: TrainSettings) -> Bundle:
    """A run, or those of a recipe's members, from beginning to end."""
    if recipe.members:
        bundles = [
            _fitted(faces, loaded, member.recipe, out / f"member-{number}", settings)
            for number, member in enumerate(recipe.members)
        ]
        table, torn = loaded
        return join(
            bundles, table, framed(_limited(recipe, leak_limits(torn)), faces),
            shares=[member.share for member in recipe.members], out=out / "bundle", pictures=out,
            allow_leaks=settings.allow_leaks,
        )  # fmt: skip
    job = _job(faces, loaded, recipe, out, settings)
    if settings.n_processes == 1:
        return finish_job(job, fit_job(job))
    from telltale.train._ranks import launch

    return launch(job)


def _begun(faces: Sequence[Given], loaded: _Loaded, recipe: Recipe, out: Path, settings: TrainSettings) -> nn.Module:
    """The network that a run would begin with, of members as they would join.

    Raises, before anything is trained, what else would end one of several runs hours after the first.
    """
    if not recipe.members:
        return check_job(_job(faces, loaded, recipe, out, settings))
    check_members(recipe.members)
    nets = [
        _begun(faces, loaded, member.recipe, out / f"member-{number}", settings)
        for number, member in enumerate(recipe.members)
    ]
    check_crops(framed(recipe, faces))
    return joined(cast("list[Transfer]", nets), [member.share for member in recipe.members])


def _job(faces: Sequence[Given], loaded: _Loaded, recipe: Recipe, out: Path, settings: TrainSettings) -> Job:
    """The run, with all that faces say of it checked; leaks that are accepted are among the limits of its card."""
    table, torn = loaded
    recipe = framed(recipe, faces)
    check_sizes(recipe, faces, table)
    leaks = check_parents(parents_of(recipe, settings.begin(recipe)), table, allow_leaks=settings.allow_leaks)
    leaks += leak_limits(torn)
    return Job(table, _limited(recipe, leaks), out, settings, _detector(faces))


def _limited(recipe: Recipe, limits: Sequence[str]) -> Recipe:
    """`recipe`, whose card names these limits, too."""
    card = recipe.card.model_copy(update={"limits": (*recipe.card.limits, *limits)})
    return recipe.model_copy(update={"card": card})


def _train_pixels(faces: Sequence[Given], recipe: Recipe, *, out: Path, settings: TrainSettings) -> Bundle:
    run = train_pixels(faces, recipe, out=out, settings=settings)
    if run.bundle is None:
        raise UsageError(
            f"the {recipe.card.name} is too large for a bundle at this size; its figures are in {out}. A smaller "
            "--set model.options.size_px gives one"
        )
    return run.bundle


def export_checkpoint(
    checkpoint: str | Path,
    faces: Given | Sequence[Given],
    *,
    recipe: str | Path | Recipe,
    out: str | Path,
    sides: tuple[Side, ...] = ("val",),
    with_weights: bool = True,
    split: str | None = None,
    weights: str | None = None,
    allow_leaks: bool = False,
) -> Bundle:
    """The bundle of one checkpoint of a run, finished or not: its averaged weights, calibrated and measured.

    `checkpoint` is RUN/stage-N/{best,last}.ckpt of a run of `recipe`; the stage's `begin_share` is mixed in, and its
    `size_px` is the bundle's. OUT is the bundle's folder. Figures are stated for `sides`; `with_weights` off leaves out
    what training could go on from. `weights` and `allow_leaks` are those of the run (`TrainSettings`): what its
    beginning and its teachers until then learned from, the card names too.

    Raises UsageError where there is no such checkpoint, or its run is known to have begun with another bundle than
    `weights`, BundleInvalid if the graph does not say what the network says, and what `train` raises of faces.
    """
    faces = opened(as_list(faces))
    path, chosen = Path(checkpoint), framed(_recipe(recipe), faces)
    if chosen.members:
        raise UsageError("a recipe with members has no checkpoints: give the recipe of the member, and one of its own")
    stage = path.parent.name.removeprefix("stage-")
    if not path.is_file() or not stage.isdigit() or int(stage) >= len(chosen.stages):
        raise UsageError(f"no checkpoint {path}; a run leaves stage-N/best.ckpt and stage-N/last.ckpt")
    check_beginnings(chosen)
    run, size_px = path.parent.parent, chosen.stages[int(stage)].size_px
    begin = TrainSettings(weights=weights).begin(chosen)
    check_began_with(run, begin)
    table, torn = _loaded(faces, split=split, allow_leaks=allow_leaks)
    parents = parents_of(chosen.model_copy(update={"stages": chosen.stages[: int(stage) + 1]}), begin)
    leaks = check_parents(parents, table, allow_leaks=allow_leaks) + leak_limits(torn)
    net = models.create(
        chosen.model.name, weights=models.Weights("none"), options=chosen.model.options, size_px=size_px
    )
    return finish(
        load_stage(net, run, chosen, int(stage), checkpoint=path.name), table, _limited(chosen, leaks),
        size_px=size_px, out=Path(out),
        origin=origin_of(table, chosen, run=run, detector=_detector(faces), parents=parents),
        sides=sides, with_weights=with_weights,
    )  # fmt: skip


def load_all(faces: Sequence[Given], *, split: str | None = None, allow_leaks: bool = False) -> FaceTable:
    """All faces in one table. Raises LeakFound where a group or a copied file is on two sides, over all of them."""
    return _loaded(faces, split=split, allow_leaks=allow_leaks)[0]


def _loaded(faces: Sequence[Given], *, split: str | None, allow_leaks: bool) -> _Loaded:
    """See `load_all`; and the originals that are on more than one side: their own faces or copies."""
    given_faces = opened(faces)
    stores = [given for given in given_faces if isinstance(given, Store)]
    if split is not None and not stores:
        raise UsageError("--split names a split of a store, and there is no store among the faces")
    name = choose_split(stores, split, "train") if stores else None
    tables = [_table(given, name) for given in given_faces]
    # two data sets of one name may both have a video of one name, whose faces do not follow each other
    table = concat([replace(one, track=np.char.add(f"{number}/", one.track)) for number, one in enumerate(tables)])
    if not len(table):
        raise DataError("there are no faces to train on")
    missing = {"train", "val"} - set(table.side.tolist())
    if missing:
        raise DataError(f"there is no face on side {' and '.join(sorted(missing))}: split with --ratio 80/10/10")
    sides = {side: np.unique(table.group_id[table.side == side]) for side in np.unique(table.side).tolist()}
    members = {side: [Member(group) for group in groups.tolist()] for side, groups in sides.items()}
    torn = check_leaks(members, allow_leaks=allow_leaks, stores=[store.path for store in stores]).groups
    torn_files = copied(stores, name, allow_leaks=allow_leaks) | copied_files(table, allow_leaks=allow_leaks)
    return table, sorted({*torn, *torn_files})


def as_list(faces: Given | Sequence[Given]) -> list[Given]:
    """One of them is a list of one: a path is a sequence of letters, too."""
    return [faces] if isinstance(faces, (str, Path, Store, FaceTable)) else list(faces)


def opened(faces: Sequence[Given]) -> list[Given]:
    """The same, with the stores among the paths opened. Raises UsageError where a store is named twice, or copied."""
    found = [as_stores(given)[0] if isinstance(given, (str, Path)) and is_store(given) else given for given in faces]
    check_distinct([given for given in found if isinstance(given, Store)])
    return found


def _detector(faces: Sequence[Given]) -> DetectorSettings:
    return common_detector([given for given in faces if isinstance(given, Store)])


def _table(given: Given, split: str | None) -> FaceTable:
    if isinstance(given, FaceTable):
        return given
    if isinstance(given, Store):
        return FaceTable.from_store(given, given.sides(split or ""))
    return read_faces(given)


def framed(recipe: Recipe, faces: Sequence[Given]) -> Recipe:
    """`recipe`, which then frames faces as the stores did, and its members too: evaluating on them must show the model
    what it learned. Pictures that came as they were, with one margin and nothing beside them, are taken whole.

    A model of sequences then samples as they did, where they agree: what it learned lies so far apart.
    """
    stores = [given for given in faces if isinstance(given, Store)]
    crop, plan = common_crop(stores), common_plan(stores) if recipe.n_frames > 1 else None
    if crop is None and len(stores) == len(faces) and (margin := common_margin(stores)):
        crop = replace(recipe.crop(8), margin_frac=margin[0], down_frac=margin[1])
    if crop is None:
        return recipe
    members = [member.model_copy(update={"recipe": framed(member.recipe, stores)}) for member in recipe.members]
    return recipe.model_copy(
        update={
            "members": tuple(members),
            "crop_kind": crop.kind,
            "crop_margin_frac": crop.margin_frac,
            "crop_down_frac": crop.down_frac,
            "crop_align": crop.align,
            "sample": plan or recipe.sample,
        }
    )


def check_sizes(recipe: Recipe, faces: Sequence[Given], table: FaceTable) -> None:
    """Raises UsageError where a store holds smaller crops than the recipe learns at, or pictures that came as they were
    are mostly smaller. `table` is that of `faces` (`load_all`)."""
    size_px = max(stage.size_px for stage in recipe.stages)
    as_came: dict[Path, int] = {}
    for number, given in enumerate(faces):
        path, spec = _pictures(given), given.crop if isinstance(given, Store) else CropSpec()
        if path and (side_px := median_side_px(table, number, spec)) < size_px:
            as_came[path] = int(side_px)
    if as_came:
        path = min(as_came, key=as_came.__getitem__)
        raise UsageError(
            f"half of the pictures in {path} are no larger than {as_came[path]} px and the recipe learns at {size_px}: "
            f"give it larger ones, or learn at what is there with {_sizes_down(recipe, as_came[path])}"
        )
    held = {given.path: given.crop for given in faces if isinstance(given, Store)}
    smaller = {path: cut.size_px for path, cut in held.items() if cut.kind != "as_given" and cut.size_px < size_px}
    if smaller:
        path = min(smaller, key=smaller.__getitem__)
        raise UsageError(
            f"{path} holds crops of {smaller[path]} px and the recipe learns at {size_px}: prepare it with "
            f"`--size {size_px}`, or learn at what is there with {_sizes_down(recipe, smaller[path])}"
        )


def _pictures(given: Given) -> Path | None:
    """Where it is, if it holds pictures as they came."""
    if isinstance(given, Store):
        return given.path if given.crop.kind == "as_given" else None
    if isinstance(given, FaceTable) or Path(given).suffix == ".parquet":
        return None  # of whole frames, it may be
    return Path(given)


def _sizes_down(recipe: Recipe, side_px: int) -> str:
    large = [number for number, stage in enumerate(recipe.stages) if stage.size_px > side_px]
    return " ".join(f"--set stages.{number}.size_px={side_px}" for number in large)


def _recipe(recipe: str | Path | Recipe) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


__all__ = [
    "FaceTable",
    "TrainSettings",
    "as_list",
    "build_validation",
    "check_parents",
    "check_sizes",
    "common_detector",
    "export_checkpoint",
    "fit",
    "framed",
    "join",
    "load_all",
    "opened",
    "parents_of",
    "read_faces",
    "train",
    "train_pixels",
]
