"""Logistic regression with far more features than faces, solved in the faces: Newton's method on their Gram matrix.

The best weights are a sum over the faces, w = sum of alpha_i z_i (Kimeldorf & Wahba, 1971), so the problem has as many
unknowns as there are faces, not 307,200. It is scikit-learn's: C times the log loss plus |w|^2 / 2, bias unpenalised.
The optimum is reached to rounding in about ten steps of one Cholesky factorisation each (Rasmussen & Williams,
"Gaussian Processes", 2006, algorithm 3.1), where first-order solvers on the pixels took a day.

>>> rng = np.random.default_rng(0)
>>> pixels = rng.integers(0, 256, (300, 100), dtype=np.uint8)
>>> label = rng.integers(0, 2, 100)
>>> model = Logistic(LogisticOptions())
>>> model.fit(pixels, label, np.arange(80))
>>> model.logit(pixels, np.arange(80, 100)).shape
(20,)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telltale.aggregate import sigmoid
from telltale.errors import require
from telltale.models._gram import Bytes, Rows, Scale, combine, fit_scale, gram
from telltale.types import Float64Array

_MAX_STEPS = 100
_TOLERANCE = 1e-6
"""Largest entry of the gradient, as a share of C: what one face of the wrong side would add is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticOptions:
    """scikit-learn's names and defaults, on standardised pixels."""

    c: float = 1.0
    standardise: bool = True

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"c must be above 0, got {self.c}")


class Logistic:
    """`fit`, then `logit`."""

    scale: Scale
    weight: Float64Array
    """(features,) of the standardised pixels."""
    bias: float
    n_steps: int

    def __init__(self, options: LogisticOptions) -> None:
        self.options = options

    def fit(
        self,
        pixels: Bytes,
        label: npt.NDArray[np.int64],
        rows: Rows,
        *,
        n_threads: int = 1,
        on_share: Callable[[float], None] | None = None,
    ) -> None:
        """`pixels` uint8 (features, faces), `label` (faces,), `rows` the faces to learn from."""
        self.scale = fit_scale(pixels, rows, standardise=self.options.standardise)
        inner = gram(pixels, self.scale, rows, n_threads=n_threads, on_block=on_share)
        alpha, self.bias, self.n_steps = solve(inner, label[rows].astype(np.float64), c=self.options.c)
        self.weight = combine(pixels, self.scale, rows, alpha)

    def logit(self, pixels: Bytes, rows: Rows, *, n_threads: int = 1) -> Float64Array:  # noqa: ARG002 - as its peers
        found = np.full(len(rows), self.bias)
        folded = self.weight * self.scale.factor
        step = max(1, (1 << 25) // max(len(rows), 1))
        for start in range(0, len(pixels), step):
            block = slice(start, start + step)
            centred = pixels[block].take(rows, axis=1) - self.scale.mean[block, None]
            found += folded[block] @ centred
        return found


def solve(inner: Float64Array, y: Float64Array, *, c: float) -> tuple[Float64Array, float, int]:
    """alpha (n,), bias and the number of steps for the Gram matrix `inner` (n, n) and `y` (n,) of 0 and 1.

    Raises ValueError where a class is missing, RuntimeError if a hundred steps do not reach the optimum.
    """
    linalg = require("scipy.linalg", "analyze")
    if len(np.unique(y)) < 2:
        raise ValueError("a classifier needs real and fake faces to learn from")
    n = len(y)
    at = _Weights(np.zeros(n), np.zeros(n), float(np.log(y.mean() / (1 - y.mean()))))
    for step in range(_MAX_STEPS):
        p = sigmoid(at.wx + at.bias)
        if max(np.abs(at.alpha - c * (y - p)).max() / c, abs((y - p).sum()) / n) < _TOLERANCE:
            return c * (y - p), at.bias, step
        root = np.sqrt(c * np.maximum(p * (1 - p), 1e-12))
        system = inner * root
        system *= root[:, None]
        system.flat[:: n + 1] += 1.0
        factor = linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        del system
        target = root * (at.wx + at.bias) + c * (y - p) / root
        solved = linalg.cho_solve(factor, np.stack([target, root], axis=1), check_finite=False)
        del factor
        bias = float(root @ solved[:, 0] / (root @ solved[:, 1]))
        alpha = root * (solved[:, 0] - bias * solved[:, 1])
        at = _line_search(at, _Weights(alpha, inner @ alpha, bias), y, c)
    raise RuntimeError(f"logistic regression did not converge in {_MAX_STEPS} steps; try a smaller c than {c}")


@dataclass(frozen=True, slots=True)
class _Weights:
    alpha: Float64Array
    wx: Float64Array
    """(n,) what the weights say of each face, without the bias."""
    bias: float

    def towards(self, other: _Weights, share: float) -> _Weights:
        return _Weights(
            self.alpha + share * (other.alpha - self.alpha),
            self.wx + share * (other.wx - self.wx),
            self.bias + share * (other.bias - self.bias),
        )

    def objective(self, y: Float64Array, c: float) -> float:
        f = self.wx + self.bias
        return float(c * (np.logaddexp(0, f) - y * f).sum() + self.alpha @ self.wx / 2)


def _line_search(at: _Weights, to: _Weights, y: Float64Array, c: float) -> _Weights:
    """Where the largest of 1, 1/2, 1/4 ... of the step to `to` lowers the objective."""
    before, share = at.objective(y, c), 1.0
    while share > 1e-6 and at.towards(to, share).objective(y, c) > before + 1e-12 * abs(before):
        share /= 2
    return at.towards(to, share)
