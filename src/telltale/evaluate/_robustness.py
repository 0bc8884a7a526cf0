"""The grid of a suite of robustness: what is left of a model's figures for each kind of perturbation and each level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from telltale.errors import UsageError
from telltale.evaluate._grid import Grid, Robustness, RobustnessDifference, grid_mean
from telltale.evaluate._measure import Measures, Perturbed
from telltale.types import Float64Array

CLEAN_RATE = 0.05
"""Of reals, as they are: the score that so many reach is the bar at which degraded reals are counted."""


def gather(perturbed: Sequence[Perturbed], clean: Measures, bar: float | None) -> Robustness | None:
    """The grid of those that have a kind; None where none has."""
    cells = {(one.kind, one.level): one for one in perturbed if one.kind}
    if not cells:
        return None
    kinds = tuple(dict.fromkeys(kind for kind, _ in cells))
    levels = tuple(sorted({level for _, level in cells}))

    def grid(figure: str) -> Grid:
        return tuple(
            tuple(None if (kind, level) not in cells else _figure(cells[kind, level], figure) for level in levels)
            for kind in kinds
        )

    return Robustness(kinds=kinds, levels=levels, auc=grid("auc"), fpr=grid("fpr"), clean_auc=clean.auc, clean_bar=bar)


def _figure(one: Perturbed, name: str) -> float | None:
    return one.fpr if name == "fpr" else one.video.auc


def differences(first: str, one: Robustness, second: str, other: Robustness) -> RobustnessDifference:
    """Raises UsageError where the suites differ."""
    if (one.kinds, one.levels) != (other.kinds, other.levels):
        raise UsageError("the two grids are of different suites; judge both models with the same --perturb")
    grid = tuple(
        tuple(None if a is None or b is None else b - a for a, b in zip(row, other_row, strict=True))
        for row, other_row in zip(one.auc, other.auc, strict=True)
    )
    return RobustnessDifference(
        first=first,
        second=second,
        kinds=one.kinds,
        levels=one.levels,
        auc=grid,
        mean=grid_mean(grid),
    )


def clean_bar(label: npt.NDArray[np.int64], p_fake: Float64Array) -> float | None:
    """The score that `CLEAN_RATE` of the reals reach; None without reals. NaN in `p_fake`: nothing was said."""
    reals = p_fake[(label == 0) & np.isfinite(p_fake)]
    return float(np.quantile(reals, 1 - CLEAN_RATE, method="higher")) if len(reals) else None


def share_above(label: npt.NDArray[np.int64], p_fake: Float64Array, bar: float | None) -> float | None:
    """Share of the judged reals above `bar`."""
    reals = p_fake[(label == 0) & np.isfinite(p_fake)]
    return float((reals > bar).mean()) if bar is not None and len(reals) else None
