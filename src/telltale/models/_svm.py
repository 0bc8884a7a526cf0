"""An exact support vector machine with a Gaussian kernel on faces of any size, from inner products (`_gram`).

    K(i, j) = exp(-gamma |z_i - z_j|^2),    |z_i - z_j|^2 = z_i.z_i + z_j.z_j - 2 z_i.z_j

The quadratic programme is libsvm's, through scikit-learn's `SVC(kernel="precomputed")`: the same machine as
`SVC(kernel="rbf")` on standardised pixels, which holds them as float64 (27 GB at 11,187 faces of 320 x 320 px) and
computes the same kernel row again whenever it falls out of its cache.

>>> rng = np.random.default_rng(0)
>>> pixels = rng.integers(0, 256, (30, 120), dtype=np.uint8)
>>> label = (pixels[:3].mean(axis=0) > 127).astype(np.int64)
>>> machine = Svm(SvmOptions())
>>> machine.fit(pixels, label, np.arange(100))
>>> machine.logit(pixels, np.arange(100, 120)).shape
(20,)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from telltale.errors import require
from telltale.models._gram import Bytes, Rows, Scale, fit_scale, gram, squared_norms
from telltale.types import Float64Array

_CACHE_MB = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class SvmOptions:
    """scikit-learn's names and defaults, on standardised pixels."""

    c: float = 1.0
    gamma: Literal["scale"] | float = "scale"
    standardise: bool = True

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"c must be above 0, got {self.c}")
        if self.gamma != "scale" and not (isinstance(self.gamma, (int, float)) and self.gamma > 0):
            raise ValueError(f"gamma must be scale or a number above 0, got {self.gamma!r}")


class Svm:
    """`fit`, then `logit`: the decision value, positive = fake."""

    scale: Scale
    gamma: float
    support: Rows
    """Faces that became support vectors: columns of the pixels it was fitted on."""
    weight: Float64Array
    """(support vectors,) label times multiplier."""
    bias: float

    def __init__(self, options: SvmOptions) -> None:
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
        svc = require("sklearn.svm", "analyze").SVC(C=self.options.c, kernel="precomputed", cache_size=_CACHE_MB)
        self.scale = fit_scale(pixels, rows, standardise=self.options.standardise)
        self.gamma = (
            1 / (len(pixels) * self.scale.variance) if self.options.gamma == "scale" else float(self.options.gamma)
        )
        kernel = gram(pixels, self.scale, rows, n_threads=n_threads, on_block=on_share)
        norms = kernel.diagonal().copy()
        self._to_kernel(kernel, norms, norms)
        svc.fit(kernel, label[rows])
        self._pixels = pixels
        self.support = rows[svc.support_]
        self.weight = svc.dual_coef_[0].copy()
        self.bias = float(svc.intercept_[0])

    def logit(self, pixels: Bytes, rows: Rows, *, n_threads: int = 1) -> Float64Array:
        """Decision values of `rows` of the pixels that it was fitted on, or of other ones with as many features."""
        if pixels is not self._pixels:
            joined = np.concatenate([self._pixels[:, self.support], pixels[:, rows]], axis=1)
            return self._decide(
                joined, np.arange(len(self.support)), np.arange(len(self.support), joined.shape[1]), n_threads
            )
        return self._decide(pixels, self.support, rows, n_threads)

    def _decide(self, pixels: Bytes, support: Rows, rows: Rows, n_threads: int) -> Float64Array:
        kernel = gram(pixels, self.scale, support, rows, n_threads=n_threads)
        self._to_kernel(kernel, squared_norms(pixels, self.scale, rows), squared_norms(pixels, self.scale, support))
        return np.asarray(kernel @ self.weight + self.bias)

    def support_pixels(self) -> Bytes:
        """(features, support vectors)"""
        return self._pixels[:, self.support]

    def _to_kernel(self, inner: Float64Array, down: Float64Array, across: Float64Array) -> None:
        """Inner products -> kernel values, in place."""
        inner *= 2 * self.gamma
        inner -= self.gamma * down[:, None]
        inner -= self.gamma * across
        np.minimum(inner, 0, out=inner)  # a distance is no less than 0, rounding or not
        np.exp(inner, out=inner)
