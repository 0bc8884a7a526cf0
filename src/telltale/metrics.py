"""Every figure in one place: for a set as it is, and for a thousand resamples of it at once.

A resample is a vector of weights, so one implementation gives the figure (weights of one) and its bootstrap
interval. Groups are drawn, not faces: the frames of one video are one observation. 1 = fake = positive.

Everywhere `label` is (n,) of 0 and 1, `score` (n,) of any numbers but NaN, `p_fake` (n,) in 0-1; `ValueError` for
anything else, and for n = 0.

>>> label, p_fake = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
>>> auc(label, p_fake), accuracy(label, p_fake)
(0.75, 0.75)
>>> bootstrap_ci(accuracy, label, p_fake, groups=np.array(["a", "b", "a", "b"]), rng=np.random.default_rng(0))
(0.5, 1.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from telltale.types import Float64Array

Interval = tuple[float, float]
Pair = tuple[int, int]

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "auc": True,
    "ap": True,
    "eer": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "log_loss": False,
    "brier": False,
    "ece": False,
    "tpr_at_1pct_fpr": True,
    "tpr_at_5pct_fpr": True,
}
"""Every figure that `figures` gives.

`tpr_at_1pct_fpr` is the share of fakes found at the threshold that at most 1 % of reals reach.
"""

NO_INTERVAL = frozenset({"ece"})
"""Figures that a resample only makes larger: chance enters twice, and percentiles of them hold the true value of a
calibrated model never. `ece_by_chance` says what chance makes of it."""

AT_HALF = "at a score of .5, not at the lines of the verdicts"
"""Where `confusion` parts real and fake, in words for whoever sees it."""
N_ECE_BINS = 15

_CHUNK_ELEMENTS = 1 << 21
_CHANCE_DRAWS = 200


def figures(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> dict[str, float]:
    """All of `HIGHER_IS_BETTER` for n probabilities; NaN where a class is missing and the figure needs both.

    `label` (n,) of 0 and 1, `p_fake` (n,) in 0-1. Raises ValueError for anything else, and for n = 0.
    """
    truth, p = _checked(label, p_fake)
    found = _Evaluator(truth, p)(np.ones((1, len(p))))
    return {name: float(values[0]) for name, values in found.items()}


def resampled(
    label: npt.ArrayLike, p_fake: npt.ArrayLike, weights: Callable[[], Iterator[Float64Array]]
) -> dict[str, Float64Array]:
    """`figures` for every row of the weights (chunks of (R, n), from `group_weights`): name -> (R in all,)."""
    truth, p = _checked(label, p_fake)
    evaluator = _Evaluator(truth, p)
    chunks = [evaluator(chunk) for chunk in weights()]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in HIGHER_IS_BETTER}


def group_weights(
    groups: npt.ArrayLike, *, rng: np.random.Generator, repeats: int = 1000
) -> Callable[[], Iterator[Float64Array]]:
    """Resamples of whole groups with replacement: how often each of the n rows is drawn, in chunks of (R, n).

    Two calls of what is returned give the same resamples, so that models are compared on the same draws.
    """
    names, of_row = np.unique(np.asarray(groups), return_inverse=True)
    n_groups, n = len(names), len(of_row)
    seed = int(rng.integers(2**63))
    step = max(1, _CHUNK_ELEMENTS // max(n, n_groups))

    def chunks() -> Iterator[Float64Array]:
        draws = np.random.default_rng(seed)
        for start in range(0, repeats, step):
            n_rows = min(step, repeats - start)
            drawn = draws.integers(0, n_groups, (n_rows, n_groups)) + np.arange(n_rows)[:, None] * n_groups
            counts = np.bincount(drawn.ravel(), minlength=n_rows * n_groups).reshape(n_rows, n_groups)
            yield counts[:, of_row].astype(np.float64)

    return chunks


def bootstrap_figures(
    label: npt.ArrayLike,
    p_fake: npt.ArrayLike,
    *,
    groups: npt.ArrayLike,
    rng: np.random.Generator,
    repeats: int = 1000,
) -> dict[str, Interval]:
    """95 % percentile intervals over resampled groups (n,) of all figures but `NO_INTERVAL`; NaN where there are fewer
    than two."""
    if len(np.unique(np.asarray(groups))) < 2:
        return dict.fromkeys((name for name in HIGHER_IS_BETTER if name not in NO_INTERVAL), (float("nan"),) * 2)
    found = resampled(label, p_fake, group_weights(groups, rng=rng, repeats=repeats))
    return {name: interval(values) for name, values in found.items() if name not in NO_INTERVAL}


def bootstrap_ci(
    metric: Callable[..., float],
    label: npt.ArrayLike,
    p_fake: npt.ArrayLike,
    *,
    groups: npt.ArrayLike,
    rng: np.random.Generator,
    repeats: int = 1000,
) -> Interval:
    """The 95 % interval of one figure; `metric` is `auc`, `accuracy` or another function of this module, not `ece`."""
    known = [name for name in HIGHER_IS_BETTER if name not in NO_INTERVAL]
    if metric.__name__ not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, got {metric.__name__}")
    return bootstrap_figures(label, p_fake, groups=groups, rng=rng, repeats=repeats)[metric.__name__]


def interval(values: npt.ArrayLike) -> Interval:
    """The middle 95 % of resampled figures. Resamples without one of the classes (NaN) are left out."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def auc(label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Area under the ROC curve of any scores. Raises ValueError where a class is missing."""
    return float(_auc(_curve(label, score, "an AUC"))[0])


def ap(label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Average precision: the steps of recall times the precision there. Raises ValueError where a class is missing."""
    return float(_ap(_curve(label, score, "an average precision"))[0])


def eer(label: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Equal error rate: where the ROC curve, straight between its points, crosses false alarms = misses."""
    return float(_eer(_curve(label, score, "an equal error rate"))[0])


def accuracy(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> float:
    """Share of answers that are right when `p_fake >= 0.5` is called fake."""
    return figures(label, p_fake)["accuracy"]


def balanced_accuracy(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> float:
    """The mean of the share of reals and the share of fakes that are called right; NaN where a class is missing."""
    return figures(label, p_fake)["balanced_accuracy"]


def log_loss(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> float:
    """Mean of -ln of the probability given to the truth, kept 2e-16 away from 0 as in scikit-learn."""
    return figures(label, p_fake)["log_loss"]


def brier(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> float:
    """Mean squared distance between probability and truth (Brier, 1950)."""
    return figures(label, p_fake)["brier"]


def ece(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> float:
    """Expected calibration error over 15 bins of equal width (Guo et al., ICML 2017)."""
    return figures(label, p_fake)["ece"]


def ece_by_chance(p_fake: npt.ArrayLike, *, rng: np.random.Generator) -> float:
    """The mean `ece` that a model measures whose probabilities are true: labels are drawn from them, 200 times.

    Each of the n is drawn alone: the faces of a video, whose label is one, make it larger still. Raises ValueError for
    probabilities outside 0-1, and for n = 0.
    """
    _, p = _checked(np.zeros(np.shape(p_fake), np.int64), p_fake)
    in_bin = np.eye(N_ECE_BINS)[_bins(p)]
    step = max(1, _CHUNK_ELEMENTS // len(p))
    found = []
    for start in range(0, _CHANCE_DRAWS, step):
        draws = rng.random((min(step, _CHANCE_DRAWS - start), len(p)))
        found.append(np.abs(((draws < p) - p) @ in_bin).sum(axis=1) / len(p))
    return float(np.concatenate(found).mean())


def confusion(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> tuple[Pair, Pair]:
    """((true real, real called fake), (fake called real, true fake)) when `p_fake >= 0.5` is called fake."""
    truth, p = _checked(label, p_fake)
    said = p >= 0.5
    counts = np.bincount(truth * 2 + said, minlength=4)
    return (int(counts[0]), int(counts[1])), (int(counts[2]), int(counts[3]))


def report(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of `real` and `fake`, their plain mean (`macro`) and by support (`weighted`).

    0 where nothing was called by that name, as scikit-learn's `classification_report` with `zero_division=0`.
    """
    (tn, fp), (fn, tp) = confusion(label, p_fake)
    rows = {"real": _precision_recall(tn, fn, fp), "fake": _precision_recall(tp, fp, fn)}
    supports = np.array([tn + fp, fn + tp], np.float64)
    for name, shares in (("macro", np.full(2, 0.5)), ("weighted", supports / supports.sum())):
        mean = {key: float(shares @ [rows["real"][key], rows["fake"][key]]) for key in ("precision", "recall", "f1")}
        rows[name] = mean | {"support": float(supports.sum())}
    return rows


def _precision_recall(right: int, called_wrongly: int, missed: int) -> dict[str, float]:
    def share(part: float, whole: float) -> float:
        return part / whole if whole else 0.0

    return {
        "precision": share(right, right + called_wrongly),
        "recall": share(right, right + missed),
        "f1": share(2 * right, 2 * right + called_wrongly + missed),
        "support": float(right + missed),
    }


class _Curves(NamedTuple):
    """ROC curves of R resamples, from (0, 0) to (1, 1) in k steps."""

    fpr: Float64Array
    """(R, k + 1)"""
    tpr: Float64Array
    """(R, k + 1)"""
    reals_per_fake: Float64Array
    """(R, 1)"""


class _Ranking:
    """Labels from the most to the least suspicious, equal scores in one step."""

    def __init__(self, label: npt.NDArray[np.int64], score: Float64Array) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.is_fake = label[self.order].astype(np.float64)
        ordered = score[self.order]
        self.steps = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def curves(self, weights: Float64Array) -> _Curves:
        """Of (R, n) weights; NaN where they leave a class without any."""
        w = weights[:, self.order]
        fakes = w * self.is_fake
        tp = fakes.cumsum(axis=1)[:, self.steps]
        fp = (w - fakes).cumsum(axis=1)[:, self.steps]
        n_fake, n_real = tp[:, -1:], fp[:, -1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            fpr, tpr, odds = fp / n_real, tp / n_fake, n_real / n_fake
        first = ((0, 0), (1, 0))
        return _Curves(np.pad(fpr, first), np.pad(tpr, first), odds)


def _auc(of: _Curves) -> Float64Array:
    heights = (of.tpr[:, 1:] + of.tpr[:, :-1]) / 2
    return np.asarray((np.diff(of.fpr, axis=1) * heights).sum(axis=1))


def _ap(of: _Curves) -> Float64Array:
    found = of.tpr[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        called = found + of.fpr[:, 1:] * of.reals_per_fake
        precision = np.where(called == 0, 0.0, found / called)
    return np.asarray((np.diff(of.tpr, axis=1) * precision).sum(axis=1))


def _eer(of: _Curves) -> Float64Array:
    gap = of.fpr + of.tpr - 1  # rises from -1 to 1
    rows = np.arange(len(gap))
    after = np.maximum((gap >= 0).argmax(axis=1), 1)
    low, high = gap[rows, after - 1], gap[rows, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = -low / (high - low)
        return np.asarray(of.fpr[rows, after - 1] + share * (of.fpr[rows, after] - of.fpr[rows, after - 1]))


def _tpr_at(of: _Curves, limit: float) -> Float64Array:
    # fpr never falls: the last point within the limit is the highest one. Weights add up with rounding.
    last = np.maximum((of.fpr <= limit + 1e-12).sum(axis=1) - 1, 0)
    found = of.tpr[np.arange(len(last)), last]
    return np.where(np.isfinite(of.fpr[:, -1] + of.tpr[:, -1]), found, np.nan)


class _Evaluator:
    """All figures of one set for many weightings of its rows."""

    def __init__(self, label: npt.NDArray[np.int64], p: Float64Array) -> None:
        self._ranking = _Ranking(label, p)
        fake = label.astype(np.float64)
        right = (p >= 0.5) == label
        safe = np.clip(p, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        loss = -np.log(np.where(label == 1, safe, 1 - safe))
        self._columns = np.stack(
            [np.ones_like(p), fake, right * (1 - fake), right * fake, loss, (p - fake) ** 2], axis=1
        )
        self._excess = np.zeros((len(p), N_ECE_BINS))
        self._excess[np.arange(len(p)), _bins(p)] = fake - p

    def __call__(self, weights: Float64Array) -> dict[str, Float64Array]:
        """(R, n) -> figure -> (R,)."""
        curves = self._ranking.curves(weights)
        n, n_fake, right_real, right_fake, loss, squares = (weights @ self._columns).T
        with np.errstate(divide="ignore", invalid="ignore"):
            recalls = right_real / (n - n_fake), right_fake / n_fake
        return {
            "auc": _auc(curves),
            "ap": _ap(curves),
            "eer": _eer(curves),
            "accuracy": (right_real + right_fake) / n,
            "balanced_accuracy": (recalls[0] + recalls[1]) / 2,
            "log_loss": loss / n,
            "brier": squares / n,
            "ece": np.abs(weights @ self._excess).sum(axis=1) / n,
            "tpr_at_1pct_fpr": _tpr_at(curves, 0.01),
            "tpr_at_5pct_fpr": _tpr_at(curves, 0.05),
        }


def _bins(p: Float64Array) -> npt.NDArray[np.int64]:
    """The bin of the calibration error that each probability falls into."""
    return np.clip((p * N_ECE_BINS).astype(np.int64), 0, N_ECE_BINS - 1)


def _curve(label: npt.ArrayLike, score: npt.ArrayLike, what: str) -> _Curves:
    """Of one set as it is."""
    truth, values = _as_pair(label, score)
    if len(np.unique(truth)) < 2:
        raise ValueError(f"{what} needs both classes, 0 and 1, got only {truth[0]}")
    return _Ranking(truth, values).curves(np.ones((1, len(values))))


def _as_pair(label: npt.ArrayLike, score: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], Float64Array]:
    truth, values = np.asarray(label), np.asarray(score, np.float64)
    if truth.ndim != 1 or truth.shape != values.shape or not len(truth):
        raise ValueError(f"label and score must be (n,), n >= 1, got {truth.shape} and {values.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"label must be 0 or 1, got {np.unique(truth)}")
    if np.isnan(values).any():
        raise ValueError("score must be a number everywhere, got NaN")
    return truth.astype(np.int64), values


def _checked(label: npt.ArrayLike, p_fake: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], Float64Array]:
    truth, p = _as_pair(label, p_fake)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_fake must be 0-1, got {p.min()} to {p.max()}")
    return truth, p


__all__ = [
    "AT_HALF",
    "HIGHER_IS_BETTER",
    "NO_INTERVAL",
    "N_ECE_BINS",
    "Interval",
    "accuracy",
    "ap",
    "auc",
    "balanced_accuracy",
    "bootstrap_ci",
    "bootstrap_figures",
    "brier",
    "confusion",
    "ece",
    "ece_by_chance",
    "eer",
    "figures",
    "group_weights",
    "interval",
    "log_loss",
    "report",
    "resampled",
]
