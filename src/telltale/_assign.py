"""Optimal one-to-one assignment, for tables of a few dozen rows: linking faces needs no scipy.

>>> cheapest_pairs(np.array([[0.1, 0.2], [0.1, 0.9]]), 1.0)
[(0, 1), (1, 0)]
"""

from __future__ import annotations

import numpy as np

from telltale.types import Float64Array


def cheapest_pairs(cost: Float64Array, unpaired: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost (N, M), where leaving a row or column alone costs `unpaired`.

    Pairs that cost `unpaired` or more are never made. The same table gives the same pairs.
    """
    possible = cost < unpaired
    pairs, contested = [], []
    for row in np.flatnonzero(possible.any(axis=1)):
        columns = np.flatnonzero(possible[row])
        if len(columns) == 1 and possible[:, columns[0]].sum() == 1:
            pairs.append((int(row), int(columns[0])))
        else:
            contested.append(int(row))
    columns = np.flatnonzero(possible[contested].any(axis=0))
    if len(contested) and len(columns):
        table = np.minimum(cost[contested][:, columns], unpaired)
        pairs += [(contested[i], int(columns[j])) for i, j in _hungarian(table)]
    return sorted((i, j) for i, j in pairs if possible[i, j])


def _hungarian(cost: Float64Array) -> list[tuple[int, int]]:
    """Every row of the smaller side paired, at least total cost (Jonker & Volgenant, 1987: shortest paths, prices)."""
    if cost.shape[0] > cost.shape[1]:
        return [(j, i) for i, j in _hungarian(cost.T)]
    n, m = cost.shape
    row_price, column_price = np.zeros(n + 1), np.zeros(m + 1)
    owner = np.zeros(m + 1, np.int64)  # 1-based row that holds each column; column 0 is where a search starts
    for row in range(1, n + 1):
        owner[0], column = row, 0
        slack, came_from = np.full(m + 1, np.inf), np.zeros(m + 1, np.int64)
        used = np.zeros(m + 1, bool)
        while owner[column]:
            used[column] = True
            reduced = cost[owner[column] - 1] - row_price[owner[column]] - column_price[1:]
            better = ~used[1:] & (reduced < slack[1:])
            slack[1:][better], came_from[1:][better] = reduced[better], column
            nearest = 1 + int(np.argmin(np.where(used[1:], np.inf, slack[1:])))
            step = slack[nearest]
            row_price[owner[used]] += step
            column_price[used] -= step
            slack[~used] -= step
            column = nearest
        while column:
            owner[column] = owner[came_from[column]]
            column = int(came_from[column])
    return [(int(owner[j]) - 1, j - 1) for j in range(1, m + 1) if owner[j]]
