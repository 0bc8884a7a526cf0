"""From a fitted network to a bundle: export, calibrate on validation, measure, write the card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from telltale import metrics
from telltale._group_hashes import hash_groups
from telltale.aggregate import Calibration, Thresholds, calibrate
from telltale.bundle import (
    MODEL_NAME,
    WEIGHTS_NAME,
    Bundle,
    DetectorSettings,
    ModelCard,
    TrainingSource,
    load_bundle,
    write_card,
)
from telltale.errors import require
from telltale.export import export_onnx, onnx_outputs
from telltale.gate import Gate
from telltale.recipe import Recipe
from telltale.train import _calibrate, _validation
from telltale.train._faces import FaceTable
from telltale.train._gate import fit_gate
from telltale.train._parents import inherited
from telltale.train._pictures import learning_curves, validation_pictures
from telltale.types import BoolArray, Float64Array, Side

_PARITY_FACES = 64


def finish(
    net: nn.Module,
    table: FaceTable,
    recipe: Recipe,
    *,
    size_px: int,
    out: Path,
    sides: tuple[Side, ...] = ("val",),
    with_weights: bool = True,
    resources: dict[str, float] | None = None,
    pictures: Path | None = None,
    parents: Sequence[ModelCard] = (),
    detector: DetectorSettings | None = None,
) -> Bundle:
    """Write the bundle of `net` into `out`. Figures are stated for `sides`; calibration only ever sees validation.

    With `pictures`, the folder of the run, learning curves are drawn there and validation's ROC, confusion and
    reliability in its `val`. What `parents` learned from is named beside the own faces. `detector` found them.

    Raises BundleInvalid if the graph does not say what the network says.
    """
    out.mkdir(parents=True, exist_ok=True)
    flip = recipe.card.flip_average
    val = _validation.build(table.on("val"), recipe, size_px=size_px)
    off = export_onnx(
        net, val.clips[:_PARITY_FACES], out / MODEL_NAME, mask=val.mask[:_PARITY_FACES], flip_average=flip
    )
    logit, pooled = onnx_outputs(out / MODEL_NAME, val.clips, mask=val.mask, n_threads=2)
    gate = None
    if recipe.card.gate:
        gate = fit_gate(out / MODEL_NAME, table, recipe, size_px=size_px, val=val, pooled=pooled)
    is_strange = _beyond(gate, pooled, len(val))
    known = _known(val)
    calibration = _calibrate.fit_platt(logit[known], val.label[known], fitted_on=_population(val))
    judged = _calibrate.of_tracks(_clips(val.take(known)), logit[known], calibration)
    if judged is None:
        # people beyond the gate are never called fake, so they do not set the line; whole tracks all do
        lines = known & ~(strangers(is_strange, val.group, val.label) & (val.label == 0))
        thresholds = _calibrate.fit_thresholds(_clips(val.take(lines)), logit[lines], calibration)
    else:
        calibration, thresholds = judged
    figures: dict[str, object] = {"val": measure(val, logit, calibration, thresholds, is_strange)}
    for side in sides:
        if side != "val":
            faces = _validation.build(table.on(side), recipe, size_px=size_px)
            scores, maps = onnx_outputs(out / MODEL_NAME, faces.clips, mask=faces.mask, n_threads=2)
            strange = _beyond(gate, maps, len(faces))
            figures[side] = measure(faces, scores, calibration, thresholds, strange)
    if with_weights:
        _write_weights(net, out / WEIGHTS_NAME)
    card = ModelCard(
        name=recipe.card.name,
        description=recipe.description,
        input_kind="frame" if recipe.n_frames == 1 else "clip",
        n_frames=recipe.n_frames,
        sample=recipe.sample,
        detector=detector or DetectorSettings(),
        size_px=size_px,
        mean=cast(tuple[float, float, float], net.mean),
        std=cast(tuple[float, float, float], net.std),
        crop=recipe.crop(size_px),
        margins_tolerated=_margins(recipe),
        calibration=calibration,
        thresholds=thresholds,
        gate=gate,
        flip_average=flip,
        training=inherited(_sources(table, recipe), parents),
        recipe=_without_paths(recipe).model_dump(mode="json", exclude={"card"}),
        metrics={**figures, "export_parity": off},
        resources=resources or {},
        licence=recipe.card.licence,
        limits=recipe.card.limits,
    )
    write_card(out, card)
    if pictures is not None:
        learning_curves(pictures, monitor=recipe.monitor)
        validation_pictures(val, logit, calibration, pictures / "val")
    return load_bundle(out)


def _known(of: _validation.ValidationSet) -> BoolArray:
    """(N,): what calibration is fitted on: the faces as they are, and blends of the reals where no face is fake."""
    plain = of.kind == "plain"
    if (of.label[plain] == 1).any():
        return np.asarray(plain)
    return np.asarray(plain | (of.kind == "blend"))


def _clips(of: _validation.ValidationSet) -> _calibrate.Clips:
    """A blend is on another track than the real it was made of."""
    track = np.char.add(of.track, np.char.add("/", of.kind))
    return _calibrate.Clips(label=of.label, source=of.source, group=of.group, track=track, pts_s=of.pts_s)


def measure(
    of: _validation.ValidationSet,
    logit: Float64Array,
    calibration: Calibration,
    thresholds: Thresholds,
    is_strange: BoolArray,
) -> dict[str, Any]:
    """Figures by source: those of `metrics.summary` where both classes are there, else what the reals were called.

    `is_strange` (N,): beyond the model's gate, so not called fake.
    """
    p = calibrate(logit, calibration)
    found: dict[str, Any] = {}
    for source in sorted(set(of.source.tolist())):
        here, plain = of.source == source, of.kind == "plain"
        rows = here & plain
        entry: dict[str, Any] = {"n_real": int((of.label[rows] == 0).sum()), "n_fake": int((of.label[rows] == 1).sum())}
        for label, name in ((0, "real"), (1, "fake")):
            if (rows & (of.label == label)).any():
                ours = rows & (of.label == label)
                entry[f"{name}_called"] = called(p[ours], thresholds, is_strange[ours])
        if entry["n_real"] and entry["n_fake"]:
            entry |= _balanced(of.label[rows], p[rows], of.group[rows])
            for kind in ("jpeg30", "half"):
                entry[f"auc_{kind}"] = _rounded(
                    metrics.auc(of.label[here & (of.kind == kind)], p[here & (of.kind == kind)])
                )
        blended = here & ((of.kind == "blend") | (plain & (of.label == 0)))
        if (of.kind[blended] == "blend").any() and entry["n_real"]:
            entry["auc_blend"] = _rounded(metrics.auc(of.label[blended], p[blended]))
        found[source] = entry
    return found


def _beyond(gate: Gate | None, pooled: Float64Array | None, n: int) -> BoolArray:
    """(n,)"""
    if gate is None or pooled is None:
        return np.zeros(n, bool)
    return np.asarray(gate.distance(pooled) > gate.limit)


def strangers(is_strange: BoolArray, group: npt.NDArray[np.str_], label: npt.NDArray[np.int64]) -> BoolArray:
    """(N,): the faces of those of whose faces more than half are beyond the gate. A scan judges people, not faces, and
    takes the median of their distances (`aggregate`)."""
    _, person = np.unique(np.char.add(group, np.char.mod("#%d", label)), return_inverse=True)
    return np.asarray((np.bincount(person, is_strange) / np.bincount(person) > 0.5)[person])


def called(p: Float64Array, thresholds: Thresholds, is_strange: BoolArray) -> dict[str, float]:
    """Shares called real, uncertain and fake, one face at a time."""
    above = p >= max(thresholds.fake_above, thresholds.real_below)
    fake = above & ~is_strange
    real = ~above & (p < thresholds.real_below)
    return {
        "real": _rounded(float(real.mean())),
        "uncertain": _rounded(float((~fake & ~real).mean())),
        "fake": _rounded(float(fake.mean())),
    }


def _balanced(label: npt.NDArray[np.int64], p: Float64Array, groups: npt.NDArray[np.str_]) -> dict[str, Any]:
    """Every figure on as many reals as fakes, taken evenly from the larger class, with intervals over groups."""
    sides = [np.flatnonzero(label == value) for value in (0, 1)]
    n = min(len(side) for side in sides)
    rows = np.concatenate([_validation.spread(side, n) for side in sides])
    y, q, of_row = label[rows], p[rows], groups[rows]
    found: dict[str, Any] = {"balanced_n": 2 * n}
    found |= {name: _rounded(value) for name, value in metrics.figures(y, q).items()}
    intervals = metrics.bootstrap_figures(y, q, groups=of_row, rng=np.random.default_rng(0))
    found["ci95"] = {name: [_rounded(low), _rounded(high)] for name, (low, high) in intervals.items()}
    return found


def _rounded(x: float) -> float:
    return round(x, 4)


def _population(of: _validation.ValidationSet) -> str:
    known = _known(of)
    blended = "self-blended" if (of.kind[known] == "blend").any() else "fake"
    parts = []
    for source in sorted(set(of.source.tolist())):
        rows = known & (of.source == source)
        parts.append(f"{source} {int((of.label[rows] == 0).sum())} real {int((of.label[rows] == 1).sum())} {blended}")
    return "validation faces: " + ", ".join(parts)


def _margins(recipe: Recipe) -> tuple[float, float]:
    """What the widest source of the mix was cut with, as margins."""
    scales = [mix.scale or recipe.augmentation.scale for mix in recipe.mix.values()]
    side = 1 + 2 * recipe.crop_margin_frac
    low, high = min(s[0] for s in scales) * side, max(s[1] for s in scales) * side
    return round((low - 1) / 2, 3), round((high - 1) / 2, 3)


def _sources(table: FaceTable, recipe: Recipe) -> tuple[TrainingSource, ...]:
    found = []
    learned, chosen_on = table.on("train"), table.on("val")
    for source in sorted(set(learned.dataset.tolist())):
        mine = learned.take(learned.dataset == source)
        found.append(
            TrainingSource(
                name=source,
                n_real=int((mine.label == 0).sum()),
                n_fake=int((mine.label == 1).sum()),
                terms=recipe.card.terms.get(source, ""),
                digest=mine.digest(),
                group_hashes=hash_groups(mine.group_id.tolist()),
                validation_hashes=hash_groups(chosen_on.group_id[chosen_on.dataset == source].tolist()),
            )
        )
    return tuple(found)


def _without_paths(recipe: Recipe) -> Recipe:
    """A card is handed on: where its maker keeps files is nobody's business."""
    weights, teacher = recipe.weights, recipe.teacher
    if teacher.bundle:
        teacher = teacher.model_copy(update={"bundle": Path(teacher.bundle).name})
    return recipe.model_copy(update={"weights": Path(weights).name if weights else None, "teacher": teacher})


def _write_weights(net: nn.Module, path: Path) -> None:
    save = require("safetensors.torch", "train").save_file
    staged = path.with_name(path.name + ".part")
    save({name: value.contiguous() for name, value in net.state_dict().items()}, str(staged))
    staged.replace(path)


def read_resources(run: Path) -> dict[str, float]:
    """Over the stages of a run: wall_s and cpu_s summed, the largest peak_memory_mb, mean_memory_mb over time."""
    stages: list[dict[str, float]] = [
        json.loads(text) for done in sorted(run.glob("stage-*/done")) if (text := done.read_text(encoding="utf-8"))
    ]
    if not stages:
        return {}
    total = {name: round(sum(stage[name] for stage in stages), 2) for name in ("wall_s", "cpu_s")}
    if all("peak_memory_mb" in stage for stage in stages):
        total["peak_memory_mb"] = max(stage["peak_memory_mb"] for stage in stages)
    if all("mean_memory_mb" in stage for stage in stages):
        held = sum(stage["mean_memory_mb"] * stage["wall_s"] for stage in stages)
        total["mean_memory_mb"] = round(held / max(total["wall_s"], 1e-9), 1)
    return total
