"""What a model is worth: figures with intervals on faces and videos it was not trained on, and models side by side.

    evaluation = evaluate("my.bundle", "faces.store", settings=EvaluateSettings(split="main"), out="figures")
    evaluation.video.auc, evaluation.video.ci95["auc"]

    comparison = compare(["one.bundle", "other.bundle"], on="faces.store", settings=EvaluateSettings(split="main"))
    comparison.differences[0].video["auc"]

Stored crops go through the same `Scorer`, calibration, aggregation and decision as a scan, so abstentions count as
abstentions. Intervals are bootstrapped over groups: the frames of one video, and the fakes of one original, are not
independent. A group that the model learned from is an error, not a good figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from telltale._card_words import summarise_card
from telltale._files import check_writable
from telltale._group_hashes import seen_by
from telltale._text import encodable
from telltale.bundle import Bundle, ModelCard, load_bundle
from telltale.errors import LeakFound, UsageError, require
from telltale.evaluate import _faces
from telltale.evaluate._faces import Faces, choose_split, copied, split_leaks
from telltale.evaluate._faces import load as load_faces
from telltale.evaluate._grid import Robustness, mean_of
from telltale.evaluate._measure import (
    ROUGH_BELOW,
    Evaluation,
    Measures,
    MethodMeasures,
    Perturbed,
    leak_words,
    or_dash,
)
from telltale.evaluate._perturb import suite, suite_names
from telltale.evaluate._robustness import clean_bar, gather
from telltale.evaluate._score import Change, FaceScores, score
from telltale.evaluate._summary import EvaluateSettings, Scored, perturbation, summarise
from telltale.evaluate.comparison import Comparison, compared
from telltale.runtime import Scorer
from telltale.store import Store, check_distinct, open_store, undealt
from telltale.types import ModelInfo

Model = str | Path | Bundle | Scorer
Progress = Callable[[float, str], None]
"""Called with the share done and what is being done."""
_DRAWN_WITH = ("matplotlib", "sklearn.metrics")


def evaluate(
    model: Model,
    store: str | Path | Store | Sequence[str | Path | Store],
    *,
    settings: EvaluateSettings | None = None,
    out: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Judge `model` on one side of a split of one store or several; with `out`, write JSON, CSV and pictures there.

    Raises `UsageError` where the split is not there, a store is named twice or the faces were cut in another way than
    the model takes them, `LeakFound` where a group of this side was learned from, `DataError` where the side is empty,
    `UnknownName` for no model or suite of that name, `BundleInvalid` where the model cannot be used, `StoreInvalid`
    where a store is damaged; before any work `MissingExtra` where what draws the pictures of `out` is not installed,
    `OutputError` where `out` cannot be written.
    """
    if out is not None:
        _check_out(Path(out))
    scored = score_model(model, as_stores(store), settings=settings or EvaluateSettings(), on_progress=on_progress)
    if out is not None:
        write_figures(scored, Path(out))
    return scored.evaluation


def write_figures(scored: Scored, out: Path) -> None:
    """What `evaluate` writes. Raises `OutputError`."""
    from telltale.evaluate._files import write  # loads what draws

    write(scored, out)


def compare(
    models: Sequence[Model],
    *,
    on: str | Path | Store | Sequence[str | Path | Store],
    settings: EvaluateSettings | None = None,
    out: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Judge two or more models on the same faces, with the intervals of their differences. Raises as `evaluate`.

    The side `unseen` is what none of them knows.
    """
    settings = settings or EvaluateSettings()
    if len(models) < 2:
        raise UsageError("name two models or more to compare; `telltale evaluate` judges one")
    if not settings.repeats:
        raise UsageError("a comparison needs resamples: their number must be above 0")
    if out is not None:
        _check_out(Path(out))
    stores, scored = as_stores(on), []
    judged = [model if isinstance(model, Scorer) else _bundle(model) for model in models]
    cards = [_bundle(model).card for model in judged]
    for number, model in enumerate(judged):
        others = cards[:number] + cards[number + 1 :]

        def told(share: float, what: str, number: int = number) -> None:
            if on_progress is not None:
                on_progress((number + share) / len(models), what)

        scored.append(score_model(model, stores, settings=settings, beside=others, on_progress=told))
    found = compared(scored, settings)
    if out is not None:
        from telltale.evaluate._comparison_files import write

        write(found, scored, Path(out))
    return found


def _check_out(out: Path) -> None:
    """See, before any work, that figures can be drawn and kept. Raises `MissingExtra`, `OutputError`."""
    for module in _DRAWN_WITH:
        require(module, "analyze")
    check_writable(out)


def as_stores(given: str | Path | Store | Sequence[str | Path | Store]) -> list[Store]:
    """Opened, where they are not. Raises `UsageError` where there is none, or one twice."""
    several = [given] if isinstance(given, (str, Path, Store)) else list(given)
    if not several:
        raise UsageError("name at least one store")
    stores = [store if isinstance(store, Store) else open_store(store) for store in several]
    check_distinct(stores)
    return stores


def as_scorer(model: Model, *, n_threads: int) -> Scorer:
    return model if isinstance(model, Scorer) else Scorer(_bundle(model), n_threads=n_threads)


def _bundle(model: Model) -> Bundle:
    if isinstance(model, Scorer):
        return model.bundle
    return model if isinstance(model, Bundle) else load_bundle(model)


def score_model(
    model: Model,
    stores: Sequence[Store],
    *,
    settings: EvaluateSettings,
    beside: Sequence[ModelCard] = (),
    on_progress: Progress | None = None,
) -> Scored:
    """`evaluate`, with every score kept. Unseen is what none of the models `beside` has seen either."""
    started = time.perf_counter()
    scorer = as_scorer(model, n_threads=settings.n_threads)
    card = scorer.bundle.card
    for store in stores:
        _faces.check_crops(store, card)
    split = _faces.choose_split(stores, settings.split, settings.side)
    torn = _faces.split_leaks(stores, split, allow_leaks=settings.allow_leaks)
    faces = _faces.load(stores, split=split, side=settings.side)
    if settings.side == "unseen":
        for one in (card, *beside):
            faces = _faces.unseen(faces, one)
    if settings.balanced:
        faces = _faces.balance(faces)
    leaked = _check_learned(card, faces, stores, allow_leaks=settings.allow_leaks)
    changes = suite(settings.perturb) if settings.perturb else {}
    n_passes = 1 + len(changes)

    def run(number: int, name: str, change: Change | None) -> FaceScores:
        def on_face(n: int) -> None:
            if on_progress is not None:
                on_progress((number + n / len(faces)) / n_passes, name)

        return score(scorer, faces, change=change, name=name, on_face=on_face)

    logit, distance = run(0, "faces", None)
    scored = summarise(
        card,
        faces,
        logit,
        model=ModelInfo(name=card.name, sha256=scorer.bundle.sha256, card=summarise_card(card)),
        settings=settings,
        split=split,
        leaked=leaked | set(torn.groups),
        distance=distance,
    )
    bar = clean_bar(faces.label[scored.first], scored.p_video)
    perturbed = [
        perturbation(name, faces, run(number, name, change), card, settings, bar=bar)
        for number, (name, change) in enumerate(changes.items(), start=1)
    ]
    said_more = {
        "perturbed": tuple(perturbed),
        "robustness": gather(perturbed, scored.evaluation.video, bar),
        "warnings": (*_card_warnings(card), *map(encodable, undealt(stores, split)), *scored.evaluation.warnings),
        "timings_s": {"total": round(time.perf_counter() - started, 3)},
    }
    return replace(scored, evaluation=scored.evaluation.model_copy(update=said_more))


def _check_learned(card: ModelCard, faces: Faces, stores: Sequence[Store], *, allow_leaks: bool) -> set[str]:
    """Groups of `faces` that the card says were learned from, by name or by the content of a file. Raises LeakFound
    unless `allow_leaks`."""
    groups = faces.columns["group_id"].tolist()
    seen = seen_by(card, groups, faces.columns["file_hash"].tolist())
    if seen.groups and not allow_leaks:
        where = " and ".join(str(store.path) for store in stores)
        raise LeakFound(
            f"{card.name} was trained on {len(seen.groups)} of the {len(set(groups))} groups of this side of {where} "
            f"{seen.examples}: the figures would say nothing about people it never saw. Judge it with `telltale "
            "evaluate --side unseen` or on the split it was trained with, or accept it with --allow-leaks"
        )
    return set(seen.groups)


def _card_warnings(card: ModelCard) -> list[str]:
    if not any(source.group_hashes for source in card.training):
        return [f"The card of {card.name} does not list what it learned from: a leak would not be noticed."]
    if not any(source.file_hashes for source in card.training):
        return [
            f"The card of {card.name} lists the groups it learned from by name alone: the same files under other names "
            "would not be noticed."
        ]
    return []


__all__ = [
    "ROUGH_BELOW",
    "Comparison",
    "EvaluateSettings",
    "Evaluation",
    "Faces",
    "Measures",
    "MethodMeasures",
    "Perturbed",
    "Robustness",
    "Scored",
    "choose_split",
    "compare",
    "copied",
    "evaluate",
    "leak_words",
    "load_faces",
    "mean_of",
    "or_dash",
    "score_model",
    "split_leaks",
    "suite_names",
    "summarise",
    "write_figures",
]
