"""A random forest on bytes (Breiman, 2001): exact best splits without a floating-point copy of the pixels.

scikit-learn's forest turns its input into float32: four times the memory, 13.8 GB for 11,187 faces of 320 x 320 px.
A byte has 256 values, so the best split of a node comes from a histogram, or in small nodes from sorting keys of
16 bits. The trees are those of scikit-learn's `RandomForestClassifier` (Gini, every cut between neighbouring values,
`sqrt` features a node without replacement, bootstrap, grown until pure); only the random numbers differ.

>>> rng = np.random.default_rng(0)
>>> pixels = rng.integers(0, 256, (12, 200), dtype=np.uint8)      # (features, faces)
>>> label = (pixels[3] > 100).astype(np.int64)
>>> forest = Forest(ForestOptions(n_trees=5), seed=1)
>>> forest.fit(pixels, label, np.arange(150))
>>> float(((forest.logit(pixels, np.arange(150, 200)) > 0) == label[150:]).mean()) > 0.8
True
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from telltale.models._gram import Bytes, Rows
from telltale.types import BoolArray, Float32Array, Float64Array, Int32Array

_SORT_BELOW = 256
"""Nodes with fewer faces are sorted; in larger ones counting 256 values is less work. Measured, docs/decisions.md."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestOptions:
    """scikit-learn's names and defaults."""

    n_trees: int = 100
    max_features: Literal["sqrt", "all"] | int = "sqrt"
    """Features looked at in each node."""
    bootstrap: bool = True
    max_depth: int | None = None
    min_samples_leaf: int = 1

    def __post_init__(self) -> None:
        if self.n_trees < 1 or self.min_samples_leaf < 1 or (self.max_depth is not None and self.max_depth < 1):
            raise ValueError(f"n_trees, min_samples_leaf and max_depth must be at least 1, got {self}")
        if isinstance(self.max_features, str) and self.max_features not in ("sqrt", "all"):
            raise ValueError(f"max_features must be sqrt, all or a number, got {self.max_features!r}")

    def n_features_of(self, n: int) -> int:
        if isinstance(self.max_features, int):
            return min(max(self.max_features, 1), n)
        return n if self.max_features == "all" else max(1, math.isqrt(n))


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes in columns; 0 is the root."""

    feature: Int32Array
    """-1 in a leaf."""
    threshold: Float32Array
    """To the left where the pixel is at most this: half-way between two values that occur."""
    left: Int32Array
    right: Int32Array
    p_fake: Float64Array
    """Share of fakes among the faces that came here."""

    def __len__(self) -> int:
        return len(self.feature)

    def predict(self, pixels: Bytes, rows: Rows) -> Float64Array:
        node = np.zeros(len(rows), np.int32)
        moving = np.arange(len(rows)) if self.feature[0] >= 0 else np.empty(0, np.int64)
        while len(moving):
            at = node[moving]
            goes_left = pixels[self.feature[at], rows[moving]] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
            node[moving] = at
            moving = moving[self.feature[at] >= 0]
        return self.p_fake[node]


class Forest:
    """Trees, grown a few at a time as one likes: tree i depends on the seed and i alone."""

    def __init__(self, options: ForestOptions, *, seed: int = 0) -> None:
        self.options, self.seed = options, seed
        self.trees: list[Tree] = []

    def fit(
        self,
        pixels: Bytes,
        label: npt.NDArray[np.int64],
        rows: Rows,
        *,
        n_trees: int | None = None,
        n_threads: int = 1,
        on_share: Callable[[float], None] | None = None,
    ) -> None:
        """Grow until there are `n_trees` (None: as the options say). Always on the same faces.

        `pixels` uint8 (features, faces), `label` (faces,) 0 or 1, `rows` the faces to learn from. `on_share` is called
        with the share of `n_trees` that is there.
        """
        n_wanted = self.options.n_trees if n_trees is None else n_trees

        def grown(number: int) -> Tree:
            return _Grower(pixels, label, self.options, np.random.default_rng([self.seed, number])).grow(rows)

        with ThreadPoolExecutor(n_threads) as pool:
            for tree in pool.map(grown, range(len(self.trees), n_wanted)):
                self.trees.append(tree)
                if on_share is not None:
                    on_share(len(self.trees) / n_wanted)

    def logit(self, pixels: Bytes, rows: Rows, *, n_threads: int = 1) -> Float64Array:  # noqa: ARG002 - as its peers
        """(len(rows),): the log-odds of the votes, half a vote added to each side."""
        votes = self.votes(pixels, rows)
        return np.asarray(np.log((votes + 0.5) / (len(self.trees) - votes + 0.5)))

    def votes(self, pixels: Bytes, rows: Rows) -> Float64Array:
        """Sum over the trees of the leaf's share of fakes, (len(rows),)."""
        total = np.zeros(len(rows))
        for tree in self.trees:
            total += tree.predict(pixels, rows)
        return total


@dataclass(frozen=True, slots=True)
class _Split:
    score: float
    feature: int
    low: int
    """The largest value that goes left."""
    high: int
    """The smallest that goes right."""


@dataclass(frozen=True, slots=True)
class _Faces:
    """The faces of a node, of which the bootstrap may have drawn some several times."""

    label: Bytes
    """(n,)"""
    n_fake: int
    is_first: BoolArray
    """(n,): the first time it was drawn. scikit-learn weighs faces by their draws, but counts each once for a leaf. All
    are, where a leaf may be of one face: it makes no difference there."""


class _Grower:
    """One tree."""

    def __init__(
        self, pixels: Bytes, label: npt.NDArray[np.int64], options: ForestOptions, rng: np.random.Generator
    ) -> None:
        self.pixels, self.label, self.options, self.rng = pixels, label.astype(np.uint8), options, rng
        self.n_features = options.n_features_of(len(pixels))

    def grow(self, rows: Rows) -> Tree:
        if self.options.bootstrap:
            rows = np.sort(self.rng.choice(rows, len(rows)))
        columns: list[list[Any]] = []  # feature, threshold, left, right, p_fake
        waiting = [(rows, 0, -1, False)]
        while waiting:
            rows, depth, parent, is_right = waiting.pop()
            number, n_fake = len(columns), int(self.label[rows].sum())
            if parent >= 0:
                columns[parent][3 if is_right else 2] = number
            columns.append([-1, 0.0, -1, -1, n_fake / len(rows)])
            deep = self.options.max_depth is not None and depth >= self.options.max_depth
            once = np.diff(rows, prepend=-1) != 0 if self.options.min_samples_leaf > 1 else np.ones(len(rows), bool)
            faces = _Faces(self.label[rows], n_fake, is_first=once)
            small = faces.is_first.sum() < 2 * self.options.min_samples_leaf
            split = None if deep or small or n_fake in (0, len(rows)) else self._best(rows, faces)
            if split is not None:
                columns[number][:2] = [split.feature, (split.low + split.high) / 2]
                goes_left = self.pixels[split.feature, rows] <= split.low
                waiting.append((rows[~goes_left], depth + 1, number, True))
                waiting.append((rows[goes_left], depth + 1, number, False))
        kinds = (np.int32, np.float32, np.int32, np.int32, np.float64)
        return Tree(*(np.array(column, kind) for column, kind in zip(zip(*columns, strict=True), kinds, strict=True)))

    def _best(self, rows: Rows, faces: _Faces) -> _Split | None:
        features = self.rng.choice(len(self.pixels), self.n_features, replace=False)
        best = self._best_of(features, rows, faces)
        if best is None and self.n_features < len(self.pixels):
            # As scikit-learn: where all that were drawn are constant, draw on until one is not.
            varied = self._varied(rows)
            if len(varied):
                best = self._best_of(self.rng.choice(varied, 1), rows, faces)
        return best

    def _best_of(self, features: Rows, rows: Rows, faces: _Faces) -> _Split | None:
        search = _by_sorting if len(rows) < _SORT_BELOW else _by_counting
        best = None
        step = max(1, _CHUNK // len(rows))
        for start in range(0, len(features), step):
            some = features[start : start + step]
            found = search(self.pixels[some[:, None], rows], faces, self.options.min_samples_leaf)
            if found is not None and (best is None or found.score > best.score):
                best = _Split(found.score, int(some[found.feature]), found.low, found.high)
        return best

    def _varied(self, rows: Rows) -> Rows:
        """Features with more than one value among `rows`."""
        step = max(1, _CHUNK // len(rows))
        blocks = (self.pixels[start : start + step][:, rows] for start in range(0, len(self.pixels), step))
        return np.flatnonzero(np.concatenate([block.min(axis=1) < block.max(axis=1) for block in blocks]))


def _gini(fakes: Float64Array, n: Float64Array, once: Float64Array, of: _Faces, least: int) -> Float64Array:
    """What grows as the Gini impurity of both sides falls, for `fakes` of `n` draws of `once` faces to the left; -1
    where too few."""
    with np.errstate(divide="ignore", invalid="ignore"):
        score = fakes * fakes / n + (of.n_fake - fakes) ** 2 / (len(of.label) - n)
    return np.where((once >= least) & (of.is_first.sum() - once >= least), score, -1.0)


def _by_counting(values: Bytes, of: _Faces, least: int) -> _Split | None:
    """Best cut over `values` (features, faces): classes counted for each value, `feature` an index into `values`."""
    n_features = len(values)
    key = values.astype(np.intp)
    key *= 2
    key += of.label
    key += (np.arange(n_features) * 512)[:, None]
    counts = np.bincount(key.ravel(), minlength=n_features * 512).reshape(n_features, 256, 2)
    below = counts.cumsum(axis=1)[:, :-1].astype(np.float64)
    n = once = below.sum(axis=2)
    if least > 1:
        key >>= 1
        firsts = np.bincount(key[:, of.is_first].ravel(), minlength=n_features * 256).reshape(n_features, 256)
        once = firsts.cumsum(axis=1)[:, :-1].astype(np.float64)
    score = _gini(below[..., 1], n, once, of, least)
    feature, low = divmod(int(score.argmax()), 255)
    if score[feature, low] < 0:
        return None
    present = np.flatnonzero(counts[feature].sum(axis=1))
    high = int(present[np.searchsorted(present, low, side="right")])
    return _Split(float(score[feature, low]), feature, low, high)


def _by_sorting(values: Bytes, of: _Faces, least: int) -> _Split | None:
    """The same for a few faces: sorted by value, the class and whether it is the first draw in the lowest bits."""
    n = values.shape[1]
    key = values.astype(np.uint16)
    key <<= 2
    key |= of.label << 1 | of.is_first
    key.sort(axis=1)
    fakes = ((key[:, :-1] >> 1) & 1).cumsum(axis=1, dtype=np.float64)
    once = np.arange(1.0, n) if least == 1 else (key[:, :-1] & 1).cumsum(axis=1, dtype=np.float64)
    key >>= 2
    score = _gini(fakes, np.arange(1.0, n), once, of, least)
    score[key[:, 1:] == key[:, :-1]] = -1.0
    feature, at = divmod(int(score.argmax()), n - 1)
    if score[feature, at] < 0:
        return None
    return _Split(float(score[feature, at]), feature, int(key[feature, at]), int(key[feature, at + 1]))
