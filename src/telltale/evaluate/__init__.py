"""What a model is worth: figures with intervals on faces and videos it was not trained on, and models side by side.

    evaluation = evaluate("my.bundle", "faces.store", split="main", out="figures")
    evaluation.video.auc, evaluation.video.ci95["auc"]

    comparison = compare(["default", "my.bundle"], on="faces.store", split="main")
    comparison.differences[0].video["auc"]

Stored crops go through the same `Scorer`, calibration, aggregation and decision as a scan, so abstentions count as
abstentions. Intervals are bootstrapped over groups: the frames of one video, and the fakes of one original, are not
independent. A group that the model learned from is an error, not a good figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from telltale._group_hashes import known_groups
from telltale._versions import versions
from telltale.aggregate import calibrate
from telltale.bundle import Bundle, ModelCard, load_bundle
from telltale.errors import LeakFound, UsageError
from telltale.evaluate import _faces
from telltale.evaluate._faces import Faces, SideName
from telltale.evaluate._measure import Evaluation, Measures, MethodMeasures, Perturbed, by_method, counts, measure
from telltale.evaluate._perturb import suite, suite_names
from telltale.evaluate._score import Change, JudgedVideo, judge, score
from telltale.runtime import Scorer
from telltale.store import Store, open_store
from telltale.types import Float64Array, ModelInfo

if TYPE_CHECKING:
    from telltale.evaluate.comparison import Comparison

Model = str | Path | Bundle | Scorer
Progress = Callable[[float, str], None]
"""Called with the share done and what is being done."""


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """How to look, as far as it changes the figures."""

    split: str | None = None
    """None: the only one there is."""
    side: SideName = "test"
    repeats: int = 1000
    """Bootstrap resamples; 0 = no intervals."""
    seed: int = 0
    perturb: str | None = None
    """A suite of degradations whose figures are stated beside."""
    allow_leaks: bool = False
    n_threads: int = 2

    def __post_init__(self) -> None:
        if self.side not in ("train", "val", "test", "all"):
            raise UsageError(f"--side must be train, val, test or all, got {self.side!r}")
        if self.repeats < 0:
            raise UsageError(f"the number of resamples must be 0 or more, got {self.repeats}")


@dataclass(frozen=True)
class Scored:
    """Everything behind an evaluation: a column for each face, a `JudgedVideo` for each video."""

    evaluation: Evaluation
    card: ModelCard
    faces: Faces
    logit: Float64Array
    """(n,), NaN where the model said nothing."""
    p_face: Float64Array
    """(n,) calibrated."""
    videos: list[JudgedVideo]

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """Each video's first face."""
        return np.array([video.first for video in self.videos], np.int64)

    @property
    def p_video(self) -> Float64Array:
        """(videos,), NaN where nothing was said."""
        return np.array([np.nan if video.p_fake is None else video.p_fake for video in self.videos])


def evaluate(
    model: Model,
    store: str | Path | Store | Sequence[str | Path | Store],
    *,
    settings: EvaluateSettings = EvaluateSettings(),
    out: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Judge `model` on one side of a split of one store or several; with `out`, write JSON, CSV and pictures there.

    Raises `UsageError` where the split is not there or the faces were cut in another way than the model takes them,
    `LeakFound` where a group of this side was learned from, `DataError` where the side is empty, `OutputError`.
    """
    scored = score_model(model, as_stores(store), settings=settings, on_progress=on_progress)
    if out is not None:
        from telltale.evaluate._files import write

        write(scored, Path(out))
    return scored.evaluation


def compare(
    models: Sequence[Model],
    *,
    on: str | Path | Store | Sequence[str | Path | Store],
    settings: EvaluateSettings = EvaluateSettings(),
    out: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Judge two or more models on the same faces, with the intervals of their differences. Raises as `evaluate`."""
    from telltale.evaluate.comparison import compare as run

    return run(
        models, on=as_stores(on), settings=settings, out=None if out is None else Path(out), on_progress=on_progress
    )


def as_stores(given: str | Path | Store | Sequence[str | Path | Store]) -> list[Store]:
    several = [given] if isinstance(given, (str, Path, Store)) else list(given)
    if not several:
        raise UsageError("name at least one store")
    return [store if isinstance(store, Store) else open_store(store) for store in several]


def as_scorer(model: Model, *, n_threads: int) -> Scorer:
    if isinstance(model, Scorer):
        return model
    return Scorer(model if isinstance(model, Bundle) else load_bundle(model), n_threads=n_threads)


def score_model(
    model: Model, stores: Sequence[Store], *, settings: EvaluateSettings, on_progress: Progress | None = None
) -> Scored:
    """`evaluate`, with every score kept."""
    started = time.perf_counter()
    scorer = as_scorer(model, n_threads=settings.n_threads)
    card = scorer.bundle.card
    for store in stores:
        _faces.check_crops(store, card)
    split = _faces.choose_split(stores, settings.split, settings.side)
    torn = _faces.split_leaks(stores, split, allow_leaks=settings.allow_leaks)
    faces = _faces.load(stores, split=split, side=settings.side)
    leaked = _check_learned(card, faces, stores, allow_leaks=settings.allow_leaks)
    changes = suite(settings.perturb) if settings.perturb else {}
    n_passes = 1 + len(changes)

    def run(number: int, name: str, change: Change | None) -> tuple[Float64Array, list[JudgedVideo]]:
        def on_face(n: int) -> None:
            if on_progress is not None:
                on_progress((number + n / len(faces)) / n_passes, name)

        logit = score(scorer, faces, change=change, on_face=on_face)
        return logit, judge(faces, logit, card)

    logit, videos = run(0, "faces", None)
    perturbed = []
    for number, (name, change) in enumerate(changes.items(), start=1):
        changed, said = run(number, name, change)
        frame, video = _both(faces, calibrate(changed, card.calibration), said, settings)
        perturbed.append(Perturbed(name=name, frame=frame, video=video, abstained=_abstained(said)))
    frame, video = _both(faces, calibrate(logit, card.calibration), videos, settings)
    groups_on_side = set(faces.columns["group_id"].tolist())
    evaluation = Evaluation(
        split=split or "all",
        side=settings.side,
        frame=frame,
        video=video,
        abstained=_abstained(videos),
        abstentions=counts(np.array([str(c) for v in videos if v.p_fake is None for c in v.codes], np.str_)),
        without_faces=_without_faces(stores),
        model=ModelInfo(name=card.name, sha256=scorer.bundle.sha256),
        verdicts=_verdicts(faces, videos),
        methods=_methods(faces, videos, settings),
        perturbed=tuple(perturbed),
        leaked_groups=len(leaked | (set(torn.groups) & groups_on_side)),
        stores=tuple(str(store.path) for store in stores),
        settings={"repeats": settings.repeats, "seed": settings.seed, "perturb": settings.perturb},
        warnings=tuple(_warnings(card, video, settings)),
        versions=versions(),
        timings_s={"total": round(time.perf_counter() - started, 3)},
    )
    return Scored(evaluation, card, faces, logit, calibrate(logit, card.calibration), videos)


def _both(
    faces: Faces, p_face: Float64Array, videos: Sequence[JudgedVideo], settings: EvaluateSettings
) -> tuple[Measures, Measures]:
    """Frame level and video level."""
    seen = np.isfinite(p_face)
    judged = [video for video in videos if video.p_fake is not None]
    at = np.array([video.first for video in judged], np.int64)
    p_video = np.array([video.p_fake for video in judged], np.float64)
    options = {"seed": settings.seed, "repeats": settings.repeats}
    return (
        measure(faces.label[seen], p_face[seen], faces.cluster[seen], **options),
        measure(faces.label[at], p_video, faces.cluster[at], **options),
    )


def _check_learned(card: ModelCard, faces: Faces, stores: Sequence[Store], *, allow_leaks: bool) -> set[str]:
    """Groups of `faces` that the card says were learned from. Raises LeakFound unless `allow_leaks`."""
    groups = faces.columns["group_id"].tolist()
    found = {group for source in card.training for group in known_groups(source.group_hashes, groups)}
    if found and not allow_leaks:
        shown = ", ".join(sorted(found)[:3]) + (", ..." if len(found) > 3 else "")
        where = " and ".join(str(store.path) for store in stores)
        raise LeakFound(
            f"{card.name} was trained on {len(found)} of the {len(set(groups))} groups of this side of {where} "
            f"({shown}): the figures would flatter. Evaluate it on the split it was trained with, or accept it with "
            "--allow-leaks"
        )
    return found


def _abstained(videos: Sequence[JudgedVideo]) -> int:
    return sum(video.p_fake is None for video in videos)


def _verdicts(faces: Faces, videos: Sequence[JudgedVideo]) -> dict[str, dict[str, int]]:
    labels = faces.label[[video.first for video in videos]]
    said = np.array([video.label for video in videos], np.str_)
    return {name: counts(said[labels == value]) for value, name in ((0, "real"), (1, "fake"))}


def _methods(faces: Faces, videos: Sequence[JudgedVideo], settings: EvaluateSettings) -> tuple[MethodMeasures, ...]:
    at = np.array([video.first for video in videos], np.int64)
    return by_method(
        faces.columns["dataset"][at],
        faces.columns["method"][at],
        faces.label[at],
        np.array([np.nan if video.p_fake is None else video.p_fake for video in videos]),
        [video.label for video in videos],
        faces.cluster[at],
        seed=settings.seed,
        repeats=settings.repeats,
    )


def _without_faces(stores: Sequence[Store]) -> dict[str, int]:
    codes = [
        row["code"] or "no_face"
        for store in stores
        for row in store.videos().select(["n_faces", "code"]).to_pylist()
        if not row["n_faces"]
    ]
    return counts(np.array(codes, np.str_))


def _warnings(card: ModelCard, video: Measures, settings: EvaluateSettings) -> list[str]:
    found = []
    if not any(source.group_hashes for source in card.training):
        found.append(f"The card of {card.name} does not list what it learned from: a leak would not be noticed.")
    if settings.repeats and video.n_groups < 20:
        found.append(f"There are only {video.n_groups} groups: the intervals are rough.")
    if video.n and video.n_fake in (0, video.n):
        found.append(f"Every video is {'fake' if video.n_fake else 'real'}: figures that need both are missing.")
    return found


__all__ = [
    "EvaluateSettings",
    "Evaluation",
    "Measures",
    "MethodMeasures",
    "Perturbed",
    "Scored",
    "compare",
    "evaluate",
    "score_model",
    "suite_names",
]
