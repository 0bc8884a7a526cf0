"""How far a clip's score might have been elsewhere, had other frames of it been looked at.

>>> p_face = 0.5 + 0.1 * np.random.default_rng(0).normal(size=20)
>>> round(half_width(p_face, trim_frac=0.1), 2)
0.36
"""

from __future__ import annotations

import numpy as np

from telltale.types import Float64Array

_FEWEST = 8
"""Of fewer faces nobody can tell how alike neighbours are."""
_MOST_ALIKE = 0.95


def half_width(p_face: Float64Array, *, trim_frac: float) -> float | None:
    """Half of the 95 % interval, in log-odds, of a trimmed mean of probabilities in the order of time. None of too few.

    The spread is that of the faces with the trimmed ones put to the nearest kept value (Tukey and McLaughlin, 1963).
    Neighbours are alike: n faces count as n (1 - r) / (1 + r), with the correlation r of neighbours, which so few
    faces show too low by (1 + 4 r) / n (Kendall, 1954).
    """
    n = len(p_face)
    if n < _FEWEST:
        return None
    cut = int(n * trim_frac)
    ordered = np.sort(p_face)
    kept = ordered[cut : n - cut]
    off = np.clip(p_face, kept[0], kept[-1])
    off = off - off.mean()
    squares = float(off @ off)
    alike = float(off[1:] @ off[:-1]) / squares if squares else 0.0
    alike = min(max(alike + (1 + 4 * alike) / n, 0.0), _MOST_ALIKE)
    n_apart = max(n * (1 - alike) / (1 + alike), 2.0)
    left = 1 - 2 * cut / n
    error = np.sqrt(squares / (n - 1) / n_apart) / left
    mean = float(np.clip(kept.mean(), 1e-6, 1 - 1e-6))
    return float(t_975(max(n_apart * left - 1, 1.0)) * error / (mean * (1 - mean)))


def t_975(freedom: float) -> float:
    """Student's t that 2.5 % lie above, from one degree of freedom on (Abramowitz and Stegun, 26.7.5); 1 % off at 2."""
    v = freedom
    return 1.960 + 2.372 / v + 2.823 / v**2 + 2.556 / v**3 + 1.590 / v**4
