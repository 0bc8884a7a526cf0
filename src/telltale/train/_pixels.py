"""Train a classical model on raw pixels: from stores to a bundle, or to figures alone where it is too large for one.

OUT then holds `bundle/`, and `val/` and `test/` with the evaluation of each side: JSON, CSV and pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale._card_words import summarise_card
from telltale._files import check_writable, write_files
from telltale._group_hashes import hash_files, hash_groups
from telltale._usage import Usage
from telltale.bundle import MODEL_NAME, Bundle, DetectorSettings, ModelCard, TrainingSource, load_bundle, write_card
from telltale.crops import CropSpec
from telltale.errors import BundleInvalid, DataError, UsageError, require
from telltale.evaluate import (
    EvaluateSettings,
    Evaluation,
    Faces,
    Scored,
    as_stores,
    choose_split,
    load_faces,
    split_leaks,
    summarise,
    write_figures,
)
from telltale.export import PARITY_FACES, PARITY_LIMIT
from telltale.models.pixels import Bytes, PixelModel, PixelOptions, create, matrix
from telltale.recipe import Recipe
from telltale.runtime import Scorer
from telltale.sampling import SamplePlan
from telltale.store import Store
from telltale.train._calibrate import Clips, fit_platt, fit_thresholds, limits_of, limits_of_few, of_tracks
from telltale.train._faces import MARGIN_TOLERANCE, FaceTable, common_detector, common_plan, cut_differently
from telltale.train._origin import leak_limits
from telltale.train._settings import TrainSettings
from telltale.types import Clip, Float64Array, ModelInfo, RgbImage, Side

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class PixelRun:
    """What came of a run."""

    bundle: Bundle | None
    """None where the model is too large for one."""
    evaluations: Mapping[Side, Evaluation]
    model: PixelModel
    usage: Mapping[str, float]
    """wall_s, cpu_s, peak_memory_mb and mean_memory_mb of learning, reading included."""


def train_pixels(
    faces: Sequence[str | Path | Store | FaceTable],
    recipe: Recipe,
    *,
    out: Path,
    settings: TrainSettings | None = None,
    on_progress: Progress | None = None,
) -> PixelRun:
    """Fit `recipe` on the train side of a split of stores, calibrate on val, state figures of val and of test where
    there is one.

    Raises UsageError for options and settings that make no sense, for faces of no store or cut in several ways,
    LeakFound, DataError where a side is missing, BundleInvalid where the graph does not say what the model says,
    OutputError before any work where `out` cannot be written.
    """
    settings = settings or TrainSettings()
    _check_settings(settings, recipe)
    stores = _as_stores(faces)
    options, n_threads = PixelOptions.parse(recipe.model.options), settings.n_threads_here()
    require("sklearn", "analyze")
    if (out / "bundle").exists():
        raise UsageError(f"{out} holds a model: choose another --out, or delete it first")
    check_writable(out)
    split = choose_split(stores, settings.split, "train")
    torn = split_leaks(stores, split, allow_leaks=settings.allow_leaks)
    limits = (*recipe.card.limits, *leak_limits(torn.groups))
    recipe = recipe.model_copy(update={"card": recipe.card.model_copy(update={"limits": limits})})
    detector = common_detector(stores)
    with Usage() as usage:
        sides = _sides(stores, split, options.size_px)
        pixels, rows = _columns(sides, options.size_px, on_progress)
        model = create(seed=recipe.seed, **recipe.model.options)
        label = np.concatenate([faces.label for faces in sides.values()])

        def on_share(share: float) -> None:
            if on_progress is not None:
                on_progress(share, f"fitting {options.kind}")

        model.fit(pixels, label, rows["train"], n_threads=n_threads, on_share=on_share)
    logits = {side: model.logit(pixels, rows[side], n_threads=n_threads) for side in rows if side != "train"}
    card = _card(recipe, options, sides, logits["val"], usage.as_dict(), detector)
    scored = {
        side: summarise(
            card, sides[side], logit, model=ModelInfo(name=card.name, sha256=""),
            settings=EvaluateSettings(split=split, side=side, allow_leaks=settings.allow_leaks),
            split=split, leaked=set(torn.groups),
        )
        for side, logit in logits.items()
    }  # fmt: skip
    card = card.model_copy(update={"metrics": {side: _figures(one) for side, one in scored.items()}})
    bundle = _bundle(model, card, sides["val"], logits["val"], out / "bundle")
    evaluations: dict[Side, Evaluation] = {}
    info = ModelInfo(name=card.name, sha256=bundle.sha256 if bundle else "", card=summarise_card(card))
    for side, one in scored.items():
        evaluations[side] = one.evaluation.model_copy(update={"model": info})
        write_figures(replace(one, evaluation=evaluations[side]), out / side)
    return PixelRun(bundle, evaluations, model, usage.as_dict())


_SAYS_SOMETHING = {"description", "seed", "model", "card", "grid", "crop_down_frac"}
"""To a model on pixels, of a recipe's settings."""


def _check_settings(settings: TrainSettings, recipe: Recipe) -> None:
    is_from_nothing = settings.weights in (None, "none")
    if settings.n_processes > 1 or settings.cache is not None or settings.resume or not is_from_nothing:
        raise UsageError(
            "a model on pixels is fitted at once, from nothing, in one process: leave out --devices, --nodes, "
            "--cache, --resume, --weights"
        )
    usual, names = Recipe(), [name for name in Recipe.model_fields if name not in _SAYS_SOMETHING]
    idle = [name for name in names if getattr(recipe, name) != getattr(usual, name)]
    if idle:
        raise UsageError(f"a model on pixels knows no {', '.join(idle)}: leave that out of the recipe, and of --set")


def _as_stores(faces: Sequence[str | Path | Store | FaceTable]) -> list[Store]:
    stores = [one for one in faces if not isinstance(one, FaceTable)]
    if len(stores) < len(faces):
        raise UsageError("a model on pixels learns from stores: make one with `telltale prepare`")
    return as_stores(stores)


def _columns(
    sides: Mapping[Side, Faces], size_px: int, on_progress: Progress | None
) -> tuple[Bytes, dict[Side, npt.NDArray[np.int64]]]:
    """The faces of all sides as the columns of one matrix, and which of them each side has."""
    starts = np.cumsum([0, *(len(faces) for faces in sides.values())])
    pixels = matrix(_crops(sides, size_px, on_progress), n_faces=int(starts[-1]), size_px=size_px)
    return pixels, {side: np.arange(starts[i], starts[i + 1]) for i, side in enumerate(sides)}


def _sides(stores: Sequence[Store], split: str | None, size_px: int) -> dict[Side, Faces]:
    """The faces of each side; train and val must be there."""
    for store in stores:
        cut = store.crop
        if cut.kind != "as_given" and cut.size_px < size_px:
            raise UsageError(
                f"{store.path} holds crops of {cut.size_px} px and the recipe wants {size_px}: prepare it with "
                f"`--size {size_px}`, or take --set model.options.size_px={cut.size_px}"
            )
    specs = {replace(store.crop, size_px=8) for store in stores}
    if len(specs) > 1:
        raise cut_differently(stores)
    found: dict[Side, Faces] = {}
    for side in ("train", "val", "test"):
        try:
            faces = load_faces(stores, split=split, side=side)
            found[side] = faces.take(~faces.is_filled)
        except DataError as error:
            if side != "test":
                raise DataError(f"{error}; a model is calibrated on val: split with --ratio 80/10/10") from error
    return found


def _crops(sides: Mapping[Side, Faces], size_px: int, on_progress: Progress | None) -> Iterator[RgbImage]:
    n, done = sum(len(faces) for faces in sides.values()), 0
    for faces in sides.values():
        for index in range(len(faces)):
            yield faces.crop(index, size_px)
            done += 1
            if on_progress is not None and done % 100 == 0:
                on_progress(done / n, "reading faces")


def _card(
    recipe: Recipe,
    options: PixelOptions,
    sides: Mapping[Side, Faces],
    logit: Float64Array,
    usage: dict[str, float],
    detector: DetectorSettings,
) -> ModelCard:
    train, val = sides["train"], sides["val"]
    cut = train.stores[0].crop
    scan_crop = (
        CropSpec(size_px=options.size_px, margin_frac=cut.margin_frac, down_frac=recipe.crop_down_frac)
        if cut.kind == "as_given"
        else replace(cut, size_px=options.size_px)
    )
    calibration = fit_platt(logit, val.label, fitted_on=_population(val))
    clips = _clips(val)
    calibration, thresholds = of_tracks(clips, logit, calibration) or (
        calibration,
        fit_thresholds(clips, logit, calibration),
    )
    from_video: dict[str, Any] = {}
    if cut.kind != "as_given":
        from_video["sample"] = common_plan(train.stores) or SamplePlan()
    return ModelCard(
        name=recipe.card.name,
        description=recipe.description,
        input_kind="pixels",
        size_px=options.size_px,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        crop=scan_crop,
        detector=detector,
        margins_tolerated=(
            round(cut.margin_frac - MARGIN_TOLERANCE, 3),
            round(cut.margin_frac + MARGIN_TOLERANCE, 3),
        ),
        calibration=calibration,
        thresholds=thresholds,
        training=tuple(
            _source(name, train, val, recipe)
            for name in sorted({*train.columns["dataset"].tolist(), *val.columns["dataset"].tolist()})
        ),
        recipe=recipe.model_dump(mode="json", include={"description", "seed", "model"}),
        resources=usage,
        licence=recipe.card.licence,
        limits=(
            *limits_of(thresholds),
            *limits_of_few(val.label, clips.group, calibration),
            *recipe.card.limits,
        ),
        **from_video,
    )


def _clips(faces: Faces) -> Clips:
    track = np.char.add(np.char.add(faces.video.astype(str), "#"), faces.columns["track_id"].astype(str))
    columns = faces.columns
    return Clips(faces.label, columns["dataset"], columns["group_id"], track, faces.pts_s)


def _population(faces: Faces) -> str:
    parts = []
    for name in np.unique(faces.columns["dataset"]).tolist():
        label = faces.label[faces.columns["dataset"] == name]
        parts.append(f"{name} {int((label == 0).sum())} real {int((label == 1).sum())} fake")
    return "validation faces: " + ", ".join(parts)


def _source(name: str, faces: Faces, val: Faces, recipe: Recipe) -> TrainingSource:
    mine, judged = (np.flatnonzero(side.columns["dataset"] == name) for side in (faces, val))
    each = sorted(hashlib.sha256(faces.store_of(int(i)).image(int(faces.row[i]))).digest() for i in mine)
    return TrainingSource(
        name=name,
        n_real=int((faces.label[mine] == 0).sum()),
        n_fake=int((faces.label[mine] == 1).sum()),
        terms=recipe.card.terms.get(name, ""),
        digest=hashlib.sha256(b"".join(each)).hexdigest(),
        group_hashes=hash_groups(faces.columns["group_id"][mine].tolist()),
        validation_hashes=hash_groups(val.columns["group_id"][judged].tolist()),
        file_hashes=hash_files(faces.columns["file_hash"][mine].tolist()),
        validation_file_hashes=hash_files(val.columns["file_hash"][judged].tolist()),
    )


def _figures(scored: Scored) -> dict[str, Any]:
    """What a card states of one side: faces and videos, without the reports."""
    return {
        level: measures.model_dump(mode="json", exclude={"report"})
        for level, measures in (("frame", scored.evaluation.frame), ("video", scored.evaluation.video))
    }


def _bundle(model: PixelModel, card: ModelCard, faces: Faces, logit: Float64Array, folder: Path) -> Bundle | None:
    """Written, loaded as a scan loads it, and compared with the model; None where it is too large."""
    try:
        graph = model.to_onnx().SerializeToString()
    except UsageError:
        return None
    write_files(folder, {MODEL_NAME: graph})
    write_card(folder, card)
    bundle = load_bundle(folder)
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), PARITY_FACES)).round().astype(int))
    off = _parity(Scorer(bundle), faces, logit, chosen)
    if not off <= PARITY_LIMIT:
        (folder / MODEL_NAME).unlink()
        raise BundleInvalid(
            f"the exported graph differs from the model by {off:.2g} (at most {PARITY_LIMIT:g}); this is a fault in "
            "Telltale: please report it"
        )
    write_card(folder, card.model_copy(update={"metrics": {**card.metrics, "export_parity": off}}))
    return load_bundle(folder)


def _parity(scorer: Scorer, faces: Faces, logit: Float64Array, rows: npt.NDArray[np.int64]) -> float:
    size_px = scorer.bundle.card.size_px
    clips = [Clip(0, np.zeros(1), faces.crop(int(i), size_px)[None], np.ones(1, bool)) for i in rows]
    return float(np.abs(scorer.score(clips).logit - logit[rows]).max())
