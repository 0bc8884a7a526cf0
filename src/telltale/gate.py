"""Faces unlike those a model knows: how far they are, and from where on nobody is called fake.

    gate = fit(known, clean, fitted_on="dfdc: 400 training faces")     # pooled feature maps, (n, C) each
    gate.distance(pooled) > gate.limit

A Gaussian is fitted to the features of training faces, with some principal directions and one variance for all the rest
(Tipping & Bishop, J. R. Stat. Soc. B, 1999). The limit is what a share of clean faces, not trained on, lie beyond.

>>> rng = np.random.default_rng(0)
>>> gate = fit(rng.normal(size=(200, 8)), rng.normal(size=(100, 8)), n_directions=2, fitted_on="noise")
>>> bool(gate.distance(np.full((1, 8), 9.0))[0] > gate.limit)
True
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from telltale.types import Float64Array, Written

N_DIRECTIONS = 64
ABSTAIN = 0.05
_STORED = np.dtype("<f2")
"""Features are averages of at most a few units, directions have length 1: three digits are enough."""


class Gate(Written):
    """Part of a bundle's card."""

    limit: float = Field(gt=0)
    """A track whose faces' median distance is beyond it is not called fake."""
    mean: str
    """Of the features: base64 of C float16, little-endian."""
    directions: str
    """The same for (k, C)."""
    variance: tuple[float, ...] = Field(min_length=1)
    """Along each direction, k."""
    rest: float = Field(gt=0)
    """Across all of them."""
    fitted_on: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        n, k = self.n_features, len(self.variance)
        if not n > k or _decoded(self.directions).size != n * k:
            raise ValueError(f"a gate of {n} features and {k} variances needs {k} directions of {n}, and n above k")
        if not (np.isfinite([self.limit, self.rest]).all() and np.isfinite(self.variance).all()):
            raise ValueError("a gate's limit and variances must be numbers")
        if min(self.variance) <= 0 or not all(np.isfinite(_decoded(s)).all() for s in (self.mean, self.directions)):
            raise ValueError("a gate's variances must be above 0, its mean and directions numbers")
        return self

    @property
    def n_features(self) -> int:
        """C"""
        return int(_decoded(self.mean).size)

    def distance(self, pooled: npt.ArrayLike) -> Float64Array:
        """(n, C) mean feature maps -> (n,), squared and divided by C: about 1 for the faces it was fitted to."""
        off = np.asarray(pooled, np.float64) - _decoded(self.mean)
        directions = _decoded(self.directions).reshape(len(self.variance), -1)
        along = np.einsum("nc,dc->nd", off, directions)  # after a product so small BLAS threads spin on
        across = np.maximum((off**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        return np.asarray(((along**2 / self.variance).sum(axis=1) + across / self.rest) / self.n_features)


def fit(known: Float64Array, clean: Float64Array, *, n_directions: int = N_DIRECTIONS, fitted_on: str) -> Gate:
    """`known` (n, C), n above `n_directions` + 1: of training faces; `clean` (m, C): those that set the limit."""
    mean = known.mean(axis=0)
    _, spread, directions = np.linalg.svd(known - mean, full_matrices=False)
    variance = spread**2 / len(known)
    rest = float(variance[n_directions:].sum() / (known.shape[1] - n_directions))
    fields = {
        "mean": _encoded(mean),
        "directions": _encoded(directions[:n_directions]),
        "variance": tuple(float(v) for v in variance[:n_directions]),
        "rest": rest,
        "fitted_on": fitted_on,
    }
    limit = float(np.quantile(Gate.model_validate({**fields, "limit": 1.0}).distance(clean), 1 - ABSTAIN))
    return Gate.model_validate({**fields, "limit": limit})


def _encoded(values: Float64Array) -> str:
    return base64.b64encode(values.astype(_STORED).tobytes()).decode("ascii")


@lru_cache(maxsize=8)  # asked for with every batch that is scored
def _decoded(text: str) -> Float64Array:
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), _STORED).astype(np.float64)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"not float16 in base64: {error}") from error
    values.setflags(write=False)
    return values


__all__ = ["ABSTAIN", "N_DIRECTIONS", "Gate", "fit"]
