"""Selective prediction: how wrong a model is about the videos of which it is most sure, for every share of them.

Risk is the share of wrong calls at p(fake) = .5 among the videos kept, coverage the share kept, the surest first
(El-Yaniv & Wiener, JMLR 2010). A model that knows when it does not know falls steeply to the left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from telltale.types import Float64Array, Written

_POINTS = 100


class Selective(Written):
    """One risk-coverage curve. Videos about which nothing was said are the first to be left out."""

    coverage: tuple[float, ...]
    """Ascending shares of all videos."""
    risk: tuple[float, ...]
    aurc: float
    """Mean risk over the coverages up to that at which something is said about every video; lower is better."""
    coverage_at_risk: dict[str, float]
    """"0.01", "0.05", "0.1" -> the largest share that can be kept with at most that risk; 0 where none can."""


def risk_coverage(label: npt.NDArray[np.int64], p_fake: Float64Array) -> Selective | None:
    """Of videos (n,); NaN in `p_fake` where nothing was said. None where nothing was said about any."""
    known = np.isfinite(p_fake)
    if not known.any():
        return None
    p, truth = p_fake[known], label[known]
    order = np.argsort(-np.abs(p - 0.5), kind="stable")
    wrong = ((p >= 0.5).astype(np.int64) != truth)[order]
    kept = np.arange(1, len(p) + 1)
    risk, coverage = np.cumsum(wrong) / kept, kept / len(label)
    at = np.unique(np.linspace(0, len(p) - 1, min(_POINTS, len(p))).round().astype(np.int64))
    return Selective(
        coverage=tuple(round(float(v), 6) for v in coverage[at]),
        risk=tuple(round(float(v), 6) for v in risk[at]),
        aurc=float(risk.mean()),
        coverage_at_risk={f"{limit:g}": float(coverage[risk <= limit].max(initial=0.0)) for limit in (0.01, 0.05, 0.1)},
    )


__all__ = ["Selective", "risk_coverage"]
