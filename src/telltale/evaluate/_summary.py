"""From logits to an `Evaluation`: whatever gave the logits, a bundle or a model that is being trained."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale._text import encodable, plural
from telltale._versions import versions
from telltale.aggregate import calibrate
from telltale.bundle import ModelCard
from telltale.errors import UsageError
from telltale.evaluate._faces import SIDE_NAMES, Faces, SideName
from telltale.evaluate._measure import (
    ROUGH_BELOW,
    Evaluation,
    Measures,
    MethodMeasures,
    Perturbed,
    VideoColumns,
    by_method,
    counts,
    measure,
    rarer_groups,
)
from telltale.evaluate._perturb import kind_and_level
from telltale.evaluate._robustness import share_above
from telltale.evaluate._score import FaceScores, JudgedVideo, judge
from telltale.evaluate._selective import risk_coverage
from telltale.split import group_pieces
from telltale.store import Store
from telltale.types import BoolArray, Float64Array, ModelInfo

_NARROW_BELOW = 50
"""Groups of the rarer class. Of 150 drawn sets with a true AUC of .98 the interval held it in 89 % with 30 groups of
each class, and in 94 % with 60."""
_NEAR_1 = 0.95
_EVEN = (0.4, 0.6)
"""Shares of fakes that are near enough to the even odds at which probabilities are fitted."""
_FOR_1PCT, _MANY_FOR_1PCT = 100, 300
"""Reals of which 1 % is one, and of which it is three. Of drawn sets with a true figure of .61 it was .66 on average
with 100 of each class, .64 with 200, .61 with 400."""


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """How to look, as far as it changes the figures."""

    split: str | None = None
    """None: the only one there is."""
    side: SideName = "test"
    """`unseen`, of no split: groups that the model's card names neither as learned from nor as chosen on."""
    balanced: bool = False
    """As many real videos as fake ones: the larger class is thinned evenly."""
    repeats: int = 1000
    """Bootstrap resamples; 0 = no intervals."""
    seed: int = 0
    perturb: str | None = None
    """A suite of degradations whose figures are stated beside."""
    allow_leaks: bool = False
    n_threads: int = 2

    def __post_init__(self) -> None:
        if self.side not in SIDE_NAMES:
            raise UsageError(f"--side must be {', '.join(SIDE_NAMES[:-1])} or {SIDE_NAMES[-1]}, got {self.side!r}")
        if self.repeats < 0:
            raise UsageError(f"the number of resamples must be 0 or more, got {self.repeats}")

    @property
    def written(self) -> dict[str, Any]:
        """What an evaluation says of them beside its split and side."""
        names = ("repeats", "seed", "perturb", "balanced", "allow_leaks")
        return {name: getattr(self, name) for name in names}


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
    def counted(self) -> BoolArray:
        """(n,): the faces that are in the figures."""
        return counted(self.faces, self.p_face, self.videos)

    @property
    def p_video(self) -> Float64Array:
        """(videos,), NaN where nothing was said."""
        return p_of(self.videos)


def summarise(
    card: ModelCard,
    faces: Faces,
    logit: Float64Array,
    *,
    model: ModelInfo,
    settings: EvaluateSettings,
    split: str | None,
    leaked: Set[str] = frozenset(),
    distance: Float64Array | None = None,
) -> Scored:
    """Everything that follows from the logits (n,) of `faces`, NaN where nothing was said. `leaked` are groups."""
    videos = judge(faces, FaceScores(logit, distance), card)
    p_face = calibrate(logit, card.calibration)
    frame, video = _both(faces, p_face, videos, settings)
    evaluation = Evaluation(
        split=split or "all",
        side=settings.side,
        frame=frame,
        video=video,
        abstained=_abstained(videos),
        abstentions=counts(np.array([str(c) for v in videos if v.p_fake is None for c in v.codes], np.str_)),
        without_faces=_without_faces(faces.stores),
        model=model,
        verdicts=_verdicts(faces, videos),
        methods=_methods(faces, videos, settings),
        selective=risk_coverage(faces.label[[video.first for video in videos]], p_of(videos)),
        leaked_groups=sum(
            not leaked.isdisjoint((group, *group_pieces(group))) for group in set(faces.columns["group_id"].tolist())
        ),
        stores=tuple(encodable(store.path) for store in faces.stores),
        settings=settings.written,
        warnings=tuple(_warnings(video, _rarer_groups(faces, videos), settings)),
        versions=versions(),
    )
    return Scored(evaluation, card, faces, logit, p_face, videos)


def perturbation(
    name: str,
    faces: Faces,
    scores: FaceScores,
    card: ModelCard,
    settings: EvaluateSettings,
    *,
    bar: float | None = None,
) -> Perturbed:
    """The figures of the same faces after a change. `bar` is the score that few reals reach undegraded."""
    videos = judge(faces, scores, card)
    kind, level = kind_and_level(name)
    if kind:
        settings = replace(settings, repeats=0)  # a grid of a hundred cells has no intervals
    frame, video = _both(faces, calibrate(scores.logit, card.calibration), videos, settings)
    label = faces.label[[one.first for one in videos]]
    reals = [one.label for one, fake in zip(videos, label, strict=True) if not fake]
    return Perturbed(
        name=name,
        frame=frame,
        video=video,
        abstained=_abstained(videos),
        kind=kind,
        level=level,
        fpr=share_above(label, p_of(videos), bar),
        called_fake=reals.count("fake") / len(reals) if reals else None,
    )


def p_of(videos: Sequence[JudgedVideo]) -> Float64Array:
    """Their probabilities, NaN where nothing was said."""
    return np.array([np.nan if one.p_fake is None else one.p_fake for one in videos], np.float64)


def counted(faces: Faces, p_face: Float64Array, videos: Sequence[JudgedVideo]) -> BoolArray:
    """(n,): the scored faces of the videos about which something was said."""
    at = np.array([video.first for video in videos if video.p_fake is not None], np.int64)
    return np.asarray(np.isfinite(p_face) & np.isin(faces.video, faces.video[at]))


def _both(
    faces: Faces, p_face: Float64Array, videos: Sequence[JudgedVideo], settings: EvaluateSettings
) -> tuple[Measures, Measures]:
    """Frame level and video level, both of the videos about which something was said."""
    judged = [video for video in videos if video.p_fake is not None]
    at = np.array([video.first for video in judged], np.int64)
    seen = counted(faces, p_face, videos)
    p_video = np.array([video.p_fake for video in judged], np.float64)
    options = {"seed": settings.seed, "repeats": settings.repeats}
    return (
        measure(faces.label[seen], p_face[seen], faces.cluster[seen], **options),
        measure(faces.label[at], p_video, faces.cluster[at], **options),
    )


def _abstained(videos: Sequence[JudgedVideo]) -> int:
    return sum(video.p_fake is None for video in videos)


def _verdicts(faces: Faces, videos: Sequence[JudgedVideo]) -> dict[str, dict[str, int]]:
    labels = faces.label[[video.first for video in videos]]
    said = np.array([video.label for video in videos], np.str_)
    return {name: counts(said[labels == value]) for value, name in ((0, "real"), (1, "fake"))}


def _methods(faces: Faces, videos: Sequence[JudgedVideo], settings: EvaluateSettings) -> tuple[MethodMeasures, ...]:
    at = np.array([video.first for video in videos], np.int64)
    columns = VideoColumns(
        dataset=faces.columns["dataset"][at],
        method=faces.columns["method"][at],
        label=faces.label[at],
        p_fake=p_of(videos),
        verdict=np.array([video.label for video in videos], np.str_),
        cluster=faces.cluster[at],
    )
    return by_method(columns, seed=settings.seed, repeats=settings.repeats)


def _without_faces(stores: Sequence[Store]) -> dict[str, int]:
    codes = [
        row["code"] or "no_face"
        for store in stores
        for row in store.videos().select(["n_faces", "code"]).to_pylist()
        if not row["n_faces"]
    ]
    return counts(np.array(codes, np.str_))


def _rarer_groups(faces: Faces, videos: Sequence[JudgedVideo]) -> int:
    """Of the judged videos."""
    at = np.array([video.first for video in videos if video.p_fake is not None], np.int64)
    return rarer_groups(faces.label[at], faces.cluster[at])


def _warnings(video: Measures, n_rarer: int, settings: EvaluateSettings) -> list[str]:
    found = []
    if settings.repeats and n_rarer < ROUGH_BELOW:
        whose = "There are" if n_rarer == video.n_groups else "The rarer class has"
        found.append(
            f"{whose} only {plural(n_rarer, 'group')}: the intervals are rough, and those of AUC tend to be too high."
        )
    if video.n and video.n_fake in (0, video.n):
        found.append(f"Every video is {'fake' if video.n_fake else 'real'}: figures that need both are missing.")
    share = video.n_fake / video.n if video.n else 0.5
    if 0 < share < 1 and not _EVEN[0] <= share <= _EVEN[1]:
        found.append(
            f"{share:.0%} of the videos are fake, and the probabilities are at even odds: accuracy, log_loss, brier "
            "and ece are of this mix; --balanced judges as many of each class."
        )
    if "auc" in video.ci95 and video.ci95["auc"][1] > _NEAR_1 and n_rarer < _NARROW_BELOW:
        found.append(f"The rarer class has only {n_rarer} groups: intervals near an AUC of 1 are too narrow.")
    flat = [name for name, (low, high) in video.ci95.items() if low == high]
    if flat:
        found.append(
            f"The interval of {', '.join(flat)} has no width, because all resamples agree: that is too few videos, not "
            "certainty."
        )
    n_real = video.n - video.n_fake
    if video.tpr_at_1pct_fpr is not None and n_real < _FOR_1PCT:
        found.append(
            f"Of {n_real} real videos 1 % is less than one: tpr_at_1pct_fpr is the share found at no false alarm."
        )
    elif video.tpr_at_1pct_fpr is not None and n_real < _MANY_FOR_1PCT:
        found.append(
            f"Of {n_real} real videos 1 % is {n_real // 100}: tpr_at_1pct_fpr is rough, and tends to be too high."
        )
    return found
