"""The grid of a suite of robustness as it is written: a row a kind of perturbation, a column a level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from telltale.types import Written

Grid = tuple[tuple[float | None, ...], ...]


class Robustness(Written):
    """Videos (or pictures), whole grid: a row a kind, a column a level; None where nothing was judged."""

    kinds: tuple[str, ...]
    levels: tuple[int, ...]
    auc: Grid
    fpr: Grid
    """Share of reals that reach the score which 5 % of them reach as they are."""
    clean_auc: float | None
    clean_bar: float | None
    """That score."""

    @property
    def kind_means(self) -> dict[str, float | None]:
        """Mean AUC over the levels."""
        return {kind: mean_of(row) for kind, row in zip(self.kinds, self.auc, strict=True)}

    @property
    def grand_mean(self) -> float | None:
        """Mean of the kinds' means, so that a kind with fewer levels counts as much as another."""
        return grid_mean(self.auc)

    @property
    def fpr_mean(self) -> float | None:
        return grid_mean(self.fpr)

    def weakest(self, n: int = 5) -> list[tuple[str, int, float]]:
        """(kind, level, AUC) of the cells with the lowest AUC."""
        cells = [
            (kind, level, value)
            for kind, row in zip(self.kinds, self.auc, strict=True)
            for level, value in zip(self.levels, row, strict=True)
            if value is not None
        ]
        return sorted(cells, key=lambda cell: cell[2])[:n]


class RobustnessDifference(Written):
    """AUC of `second` less that of `first`, cell by cell; None where either has none."""

    first: str
    second: str
    kinds: tuple[str, ...]
    levels: tuple[int, ...]
    auc: Grid
    mean: float | None
    """Mean of the kinds' means, over the cells that both have; None where there is none."""


def grid_mean(grid: Grid) -> float | None:
    """Mean of its rows' means; None where it has no value."""
    return mean_of([mean_of(row) for row in grid])


def mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
