"""From a fitted network to a bundle: export, judge on validation, write the card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import nn

from telltale._files import write_files
from telltale.bundle import MODEL_NAME, WEIGHTS_NAME, Bundle, ModelCard, load_bundle, write_card
from telltale.errors import require
from telltale.export import PARITY_FACES, export_onnx
from telltale.recipe import Recipe, TeacherPart
from telltale.train import _validation
from telltale.train._begin import ready
from telltale.train._calibrate import limits_of
from telltale.train._faces import MARGIN_TOLERANCE, FaceTable
from telltale.train._gate import fit_gate
from telltale.train._judge import Reading, ask, fit_reading, measure
from telltale.train._origin import Origin
from telltale.train._pictures import learning_curves, validation_pictures
from telltale.train._prune import pruned, to_prune_by
from telltale.types import Side


def finish(
    net: nn.Module,
    table: FaceTable,
    recipe: Recipe,
    *,
    size_px: int,
    out: Path,
    origin: Origin,
    sides: tuple[Side, ...] = ("val",),
    with_weights: bool = True,
    pictures: Path | None = None,
) -> Bundle:
    """Write the bundle of `net`, pruned if the recipe says so, into `out`.

    Figures are stated for `sides`; calibration only ever sees validation. With `pictures`, the folder of the run,
    learning curves are drawn there and validation's ROC, confusion and reliability in its `val`. Raises BundleInvalid
    if the graph does not say what the network says.
    """
    out.mkdir(parents=True, exist_ok=True)
    if recipe.prune_to < 1 or getattr(net, "is_folded", False):
        clips = to_prune_by(table.on("train"), recipe, size_px)
        net = pruned(net, clips, keep=recipe.prune_to, seed=recipe.seed) if recipe.prune_to < 1 else net
        net = ready(net, clips, seed=recipe.seed)  # whoever goes on from the weights cannot tell that they were folded
    graph, val = out / MODEL_NAME, _validation.build(table, recipe, size_px=size_px, side="val")
    off = export_onnx(
        net, val.clips[:PARITY_FACES], graph, mask=val.mask[:PARITY_FACES], flip_average=recipe.card.flip_average
    )
    answers = ask(graph, val)
    gate = fit_gate(graph, table, recipe, size_px=size_px, val=answers) if recipe.card.gate else None
    reading = fit_reading(answers, gate)
    figures: dict[str, object] = {"val": measure(answers, reading)}
    for side in sides:
        if side != "val":
            faces = _validation.build(table, recipe, size_px=size_px, side=side)
            figures[side] = measure(ask(graph, faces), reading)
    figures["export_parity"] = off
    if with_weights:
        _write_weights(net, out / WEIGHTS_NAME)
    else:
        (out / WEIGHTS_NAME).unlink(missing_ok=True)  # the card would vouch for those of a model that was here before
    write_card(out, _card(net, recipe, size_px=size_px, origin=origin, reading=reading, figures=figures))
    if pictures is not None:
        learning_curves(pictures, monitor=recipe.monitor)
        validation_pictures(val, answers.logit, reading.calibration, pictures / "val")
    return load_bundle(out)


def _card(
    net: nn.Module, recipe: Recipe, *, size_px: int, origin: Origin, reading: Reading, figures: Mapping[str, object]
) -> ModelCard:
    return ModelCard(
        name=recipe.card.name,
        description=recipe.description,
        input_kind="frame" if recipe.n_frames == 1 else "clip",
        n_frames=recipe.n_frames,
        sample=recipe.sample,
        detector=origin.detector,
        size_px=size_px,
        mean=cast(tuple[float, float, float], net.mean),
        std=cast(tuple[float, float, float], net.std),
        crop=recipe.crop(size_px),
        margins_tolerated=_margins(recipe),
        calibration=reading.calibration,
        thresholds=reading.thresholds,
        gate=reading.gate,
        flip_average=recipe.card.flip_average,
        training=origin.training,
        recipe=_without_paths(recipe).model_dump(mode="json", exclude={"card"}),
        metrics=dict(figures),
        resources=dict(origin.resources),
        licence=recipe.card.licence,
        limits=(*limits_of(reading.thresholds), *reading.limits, *recipe.card.limits),
    )


def _margins(recipe: Recipe) -> tuple[float, float]:
    """What the sources of all stages were cut with, as margins; without augmentation, a little around the only one.
    Of members what all of them tolerate."""
    if recipe.members:
        each = [_margins(member.recipe) for member in recipe.members]
        return max(low for low, _ in each), min(high for _, high in each)
    stages = [recipe.in_stage(number) for number in range(len(recipe.stages))]
    scales = [stage.augmentation_for(source).scale for stage in stages for source in stage.mix]
    side, around = 1 + 2 * recipe.crop_margin_frac, 0.0 if recipe.augment else MARGIN_TOLERANCE
    low, high = (min(s[0] for s in scales) * side - 1) / 2, (max(s[1] for s in scales) * side - 1) / 2
    return round(low - around, 3), round(high + around, 3)


def _without_paths(recipe: Recipe) -> Recipe:
    """A card is handed on: where its maker keeps files is nobody's business."""

    def named(teacher: TeacherPart) -> TeacherPart:
        return teacher.model_copy(update={"bundle": Path(teacher.bundle).name}) if teacher.bundle else teacher

    own = {"weights": Path(recipe.weights).name if recipe.weights else None, "teacher": named(recipe.teacher)}
    stages = [
        stage.model_copy(update={"teacher": named(stage.teacher)}) if stage.teacher else stage
        for stage in recipe.stages
    ]
    return recipe.model_copy(update=own | {"stages": tuple(stages)})


def _write_weights(net: nn.Module, path: Path) -> None:
    save = require("safetensors.torch", "train").save
    write_files(path.parent, {path.name: save({name: value.contiguous() for name, value in net.state_dict().items()})})
