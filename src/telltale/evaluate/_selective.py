"""Selective prediction: how wrong a model is about the videos of which it is most sure, for every share of them.

Risk is the share of wrong calls at p(fake) = .5 among the videos kept, coverage the share kept, the surest first
(El-Yaniv & Wiener, JMLR 2010). A model that knows when it does not know falls steeply to the left. Videos of which it
is equally sure are kept or left out together: no threshold parts them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from telltale.types import Float64Array, Written

_POINTS = 100
_LIMITS = (0.01, 0.05, 0.1)
_CONFIDENCE = 0.95
_DECIMALS = 9
"""Of sureness: 1e-6 and 1 - 1e-6 are as far from .5, and as floats not quite."""


class Selective(Written):
    """One risk-coverage curve. Videos about which nothing was said are the first to be left out."""

    coverage: tuple[float, ...]
    """Ascending shares of all videos, each with everything as sure as its last."""
    risk: tuple[float, ...]
    aurc: float
    """Mean risk, over the videos about which something is said, of keeping each and all as sure; lower is better."""
    coverage_at_risk: dict[str, float]
    """"0.01", "0.05", "0.1" -> the largest share that can be kept with, in 95 of 100 such samples, at most that risk
    (one-sided bound of Clopper & Pearson, 1934; each video by itself); 0 where none can."""


def risk_coverage(label: npt.NDArray[np.int64], p_fake: Float64Array) -> Selective | None:
    """Of videos (n,); NaN in `p_fake` where nothing was said. None where nothing was said about any."""
    known = np.isfinite(p_fake)
    if not known.any():
        return None
    p, truth = p_fake[known], label[known]
    sureness = np.round(np.abs(p - 0.5), _DECIMALS)
    order = np.argsort(-sureness)
    wrong = ((p >= 0.5).astype(np.int64) != truth)[order]
    last = np.flatnonzero(np.diff(sureness[order], append=-1.0))  # of those equally sure
    kept, n_wrong = last + 1, np.cumsum(wrong)[last]
    risk, coverage = n_wrong / kept, kept / len(label)
    at = np.unique(np.linspace(0, len(kept) - 1, min(_POINTS, len(kept))).round().astype(np.int64))
    return Selective(
        coverage=tuple(round(float(v), 6) for v in coverage[at]),
        risk=tuple(round(float(v), 6) for v in risk[at]),
        aurc=float(np.average(risk, weights=np.diff(kept, prepend=0))),
        coverage_at_risk={f"{limit:g}": _most_kept(kept, n_wrong, limit) / len(label) for limit in _LIMITS},
    )


def _most_kept(kept: npt.NDArray[np.int64], n_wrong: npt.NDArray[np.int64], limit: float) -> int:
    """The largest of `kept` whose risk is at most `limit` by its upper bound; not where so few wrong calls may be
    luck: the surest ten without one say nothing of 5 %."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, kept[-1] + 1)))])
    for n, wrong in zip(kept[::-1].tolist(), n_wrong[::-1].tolist(), strict=True):
        if wrong > limit * n:
            continue
        i = np.arange(wrong + 1)
        ways = log_factorial[n] - log_factorial[i] - log_factorial[n - i]
        # The bound is below `limit` where that rate would seldom give so few: no inverse is needed.
        if np.exp(ways + i * math.log(limit) + (n - i) * math.log1p(-limit)).sum() <= 1 - _CONFIDENCE:
            return int(n)
    return 0
