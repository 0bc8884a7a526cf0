"""What an evaluation says, as it is written: one JSON object, no NaN in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from telltale import metrics
from telltale._text import plural
from telltale.evaluate._grid import Robustness
from telltale.evaluate._selective import Selective
from telltale.types import ModelInfo, Written

Pair = tuple[int, int]

ROUGH_BELOW = 40
"""With fewer groups of the rarer class, intervals are rough, that of the AUC mostly too high, and no difference is
called clear. Of 250 drawn sets of pairs it held the true AUC in 64-88 % with 8 groups, 80-93 % with 20,
91-96 % with 40."""
_METHOD_GROUPS = 20
"""With fewer groups of the rarer class, a method's AUC has no interval: of one fake it would be its rank alone."""


def rarer_groups(label: npt.NDArray[np.int64], cluster: npt.NDArray[np.int64]) -> int:
    """Groups of the class that has fewer of them: so much an interval rests on. Of one class alone, its own."""
    return min((len(np.unique(cluster[label == value])) for value in np.unique(label)), default=0)


def leak_words(n_groups: int, *, of: str = "") -> str:
    """What must stand beside every figure of an evaluation on `n_groups` that were learned from."""
    groups = plural(n_groups, "group")
    return f"LEAK{of}: {groups} of this side were learned from; the figures say nothing about people it never saw."


def or_dash(value: float | None, number: str = ".3f") -> str:
    """A figure as it is written; a dash where there is none.

    >>> or_dash(0.5), or_dash(None)
    ('0.500', '–')
    """
    return "–" if value is None else format(value, number)


class Measures(Written):
    """Figures of one set: faces or videos. None where there is none, as an AUC of one class."""

    n: int
    n_fake: int
    auc: float | None = None
    ap: float | None = None
    eer: float | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    ece: float | None = None
    ece_by_chance: float | None = None
    """The `ece` of a model with these probabilities if they were true; None without resamples, as intervals."""
    tpr_at_1pct_fpr: float | None = None
    """Share of fakes found at the threshold that at most 1 % of reals reach."""
    tpr_at_5pct_fpr: float | None = None
    n_groups: int = 0
    ci95: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % bootstrap intervals over groups, of the figures that have one."""
    confusion: tuple[Pair, Pair] = ((0, 0), (0, 0))
    """((tn, fp), (fn, tp)) at p_fake = .5."""
    report: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Precision, recall, F1 and support of real, fake, macro, weighted."""


class MethodMeasures(Written):
    """One way to fake against the reals of the same data set, video by video."""

    dataset: str
    method: str
    n_fake: int
    n_real: int
    auc: float | None
    auc_ci95: tuple[float, float] | None
    """None below 20 groups of the rarer class, too."""
    found: float | None
    """Share of its videos with p_fake >= .5; None where nothing was said about any."""
    called: dict[str, int]
    """Verdict -> how many of its videos."""


class Perturbed(Written):
    """The same faces, degraded before the model saw them."""

    name: str
    frame: Measures
    video: Measures
    abstained: int
    kind: str = ""
    """Of a suite with levels (`telltale.perturb`); empty for others."""
    level: int = 0
    fpr: float | None = None
    """Share of real videos above the score that 5 % of them exceed undegraded."""
    called_fake: float | None = None
    """Share of all real videos called fake, thresholds as in a scan."""


class Evaluation(Written):
    """What a model is worth on one side of a split; `evaluate --json` prints it on one line."""

    schema_version: Literal[1] = 1
    split: str
    side: str
    frame: Measures
    video: Measures
    abstained: int
    """Videos with faces about which nothing was said; in no figure."""
    abstentions: dict[str, int] = Field(default_factory=dict)
    """Why: code -> how many."""
    without_faces: dict[str, int] = Field(default_factory=dict)
    """Code -> videos of the stores, on whatever side, in which no face was found or that could not be read."""
    model: ModelInfo
    verdicts: dict[str, dict[str, int]] = Field(default_factory=dict)
    """real and fake -> verdict -> how many videos; thresholds and abstentions as in a scan."""
    methods: tuple[MethodMeasures, ...] = ()
    perturbed: tuple[Perturbed, ...] = ()
    robustness: Robustness | None = None
    """The same as a grid, for suites with levels."""
    selective: Selective | None = None
    """What is gained by leaving unsure videos open."""
    leaked_groups: int = 0
    """Groups on this side that the model or another side also saw: the figures say nothing about people it never
    saw."""
    stores: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    timings_s: dict[str, float] = Field(default_factory=dict)


def measure(
    label: npt.NDArray[np.int64],
    p_fake: npt.NDArray[np.float64],
    cluster: npt.NDArray[np.int64],
    *,
    seed: int,
    repeats: int,
) -> Measures:
    """All figures of one set, with intervals where `repeats` is not 0. An empty set has none."""
    if not len(label):
        return Measures(n=0, n_fake=0)
    values = {name: _known(value) for name, value in metrics.figures(label, p_fake).items()}
    if repeats:
        rng = np.random.default_rng([seed, 17])
        values["ece_by_chance"] = metrics.ece_by_chance(p_fake, rng=rng)
    return Measures(
        n=len(label),
        n_fake=int(label.sum()),
        n_groups=len(np.unique(cluster)),
        **values,
        ci95=_intervals(label, p_fake, cluster, seed=seed, repeats=repeats) if repeats else {},
        confusion=metrics.confusion(label, p_fake),
        report=metrics.report(label, p_fake),
    )


def _intervals(
    label: npt.NDArray[np.int64],
    p_fake: npt.NDArray[np.float64],
    cluster: npt.NDArray[np.int64],
    *,
    seed: int,
    repeats: int,
) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng([seed, 11])
    found = metrics.bootstrap_figures(label, p_fake, groups=cluster, rng=rng, repeats=repeats)
    return {name: bounds for name, bounds in found.items() if np.isfinite(bounds).all()}


@dataclass(frozen=True)
class VideoColumns:
    """What was said of each of n videos, and what is true of it."""

    dataset: npt.NDArray[np.str_]
    """(n,), as all of them."""
    method: npt.NDArray[np.str_]
    """How the fake was made; empty where unknown, and of reals."""
    label: npt.NDArray[np.int64]
    p_fake: npt.NDArray[np.float64]
    """NaN: abstained."""
    verdict: npt.NDArray[np.str_]
    cluster: npt.NDArray[np.int64]
    """Of the same number: not independent."""


def by_method(videos: VideoColumns, *, seed: int, repeats: int) -> tuple[MethodMeasures, ...]:
    """Each method of each data set, sorted; `unknown` where none is named."""
    label, p_fake, known = videos.label, videos.p_fake, np.isfinite(videos.p_fake)
    ways = zip(videos.dataset.tolist(), videos.method.tolist(), label.tolist(), strict=True)
    found = []
    for name, way in sorted({(dataset, method) for dataset, method, is_fake in ways if is_fake}):
        fakes = (videos.dataset == name) & (label == 1) & (videos.method == way)
        reals = (videos.dataset == name) & (label == 0)
        rows = (fakes | reals) & known
        both = len(np.unique(label[rows])) == 2
        of_rows = (label[rows], p_fake[rows], videos.cluster[rows])
        is_enough = both and rarer_groups(label[rows], videos.cluster[rows]) >= _METHOD_GROUPS
        ci = _intervals(*of_rows, seed=seed, repeats=repeats) if is_enough and repeats else {}
        judged = fakes & known
        found.append(
            MethodMeasures(
                dataset=name,
                method=way or "unknown",
                n_fake=int(judged.sum()),
                n_real=int((reals & known).sum()),
                auc=metrics.auc(label[rows], p_fake[rows]) if both else None,
                auc_ci95=ci.get("auc"),
                found=float((p_fake[judged] >= 0.5).mean()) if judged.any() else None,
                called=counts(videos.verdict[fakes]),
            )
        )
    return tuple(found)


def counts(names: npt.NDArray[np.str_]) -> dict[str, int]:
    """How often each name occurs, the most frequent first."""
    found, n = np.unique(names, return_counts=True)
    order = np.argsort(-n, kind="stable")
    return {str(found[i]): int(n[i]) for i in order}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
