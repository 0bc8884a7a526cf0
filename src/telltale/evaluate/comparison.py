"""Models side by side on the same faces, and whether a difference is more than chance.

Each resample of groups is drawn once and used for every model (a paired bootstrap): what is hard in a resample is hard
for all, so the interval of a difference is narrower than the intervals of the figures suggest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from telltale import metrics
from telltale.evaluate._grid import RobustnessDifference
from telltale.evaluate._measure import ROUGH_BELOW, Evaluation, rarer_groups
from telltale.evaluate._robustness import differences as grid_differences
from telltale.evaluate._summary import EvaluateSettings, Scored
from telltale.types import Float64Array, Written


class Difference(Written):
    """One figure of `second` less that of `first`, on the faces or videos that both judged."""

    value: float
    ci95: tuple[float, float]
    clear: bool
    """The interval leaves out 0, and the rarer class has groups enough to believe it (`ROUGH_BELOW`)."""


class ModelPair(Written):
    first: str
    second: str
    n_faces: int
    n_videos: int
    """That both judged: abstentions of either are in neither figure."""
    n_groups: int = 0
    """Of these videos: what is resampled."""
    n_rarer_groups: int = 0
    """Of those of the class that has fewer."""
    frame: dict[str, Difference] = Field(default_factory=dict)
    video: dict[str, Difference] = Field(default_factory=dict)


class Comparison(Written):
    schema_version: Literal[1] = 1
    names: tuple[str, ...]
    """One for each model, told apart where two cards have the same name."""
    evaluations: tuple[Evaluation, ...]
    differences: tuple[ModelPair, ...]
    robustness: tuple[RobustnessDifference, ...] = ()
    """Of each pair, with --perturb and a suite that has levels."""
    settings: dict[str, Any] = Field(default_factory=dict)


def compared(scored: Sequence[Scored], settings: EvaluateSettings) -> Comparison:
    """Of models that judged the same faces with these settings."""
    names = _names(scored)
    pairs = [_pair(names[i], names[j], scored[i], scored[j], settings) for i, j in combinations(range(len(scored)), 2)]
    return Comparison(
        names=names,
        evaluations=tuple(one.evaluation for one in scored),
        differences=tuple(pairs),
        robustness=tuple(_grids(names, scored)),
        settings={"split": scored[0].evaluation.split, "side": settings.side, **settings.written},
    )


def _grids(names: Sequence[str], scored: Sequence[Scored]) -> Iterator[RobustnessDifference]:
    grids = [one.evaluation.robustness for one in scored]
    for i, j in combinations(range(len(scored)), 2):
        first, second = grids[i], grids[j]
        if first is not None and second is not None:
            yield grid_differences(names[i], first, names[j], second)


def _names(scored: Sequence[Scored]) -> tuple[str, ...]:
    plain = [one.card.name for one in scored]
    return tuple(
        name if plain.count(name) == 1 else f"{name} {one.evaluation.model.sha256[:8]} ({number})"
        for number, (name, one) in enumerate(zip(plain, scored, strict=True), start=1)
    )


def _pair(first: str, second: str, one: Scored, other: Scored, settings: EvaluateSettings) -> ModelPair:
    faces = one.faces
    judged = np.isfinite(one.p_video) & np.isfinite(other.p_video)
    at, seen = one.first[judged], one.counted & other.counted
    return ModelPair(
        first=first,
        second=second,
        n_faces=int(seen.sum()),
        n_videos=int(judged.sum()),
        n_groups=len(np.unique(faces.cluster[at])),
        n_rarer_groups=rarer_groups(faces.label[at], faces.cluster[at]),
        frame=_differences(faces.label[seen], one.p_face[seen], other.p_face[seen], faces.cluster[seen], settings),
        video=_differences(faces.label[at], one.p_video[judged], other.p_video[judged], faces.cluster[at], settings),
    )


def _differences(
    label: npt.NDArray[np.int64],
    first: Float64Array,
    second: Float64Array,
    cluster: npt.NDArray[np.int64],
    settings: EvaluateSettings,
) -> dict[str, Difference]:
    """Of every figure that both have, and that has an interval; none where there are fewer than two groups."""
    if len(np.unique(cluster)) < 2:
        return {}
    is_enough = rarer_groups(label, cluster) >= ROUGH_BELOW
    rng = np.random.default_rng([settings.seed, 13])
    weights = metrics.group_weights(cluster, rng=rng, repeats=settings.repeats)
    points = metrics.figures(label, first), metrics.figures(label, second)
    draws = metrics.resampled(label, first, weights), metrics.resampled(label, second, weights)
    found = {}
    for name in metrics.HIGHER_IS_BETTER:
        if name in metrics.NO_INTERVAL:
            continue
        value = points[1][name] - points[0][name]
        low, high = metrics.interval(draws[1][name] - draws[0][name])
        if np.isfinite([value, low, high]).all():
            found[name] = Difference(value=value, ci95=(low, high), clear=is_enough and not low <= 0 <= high)
    return found


__all__ = ["Comparison", "Difference", "ModelPair", "compared"]
