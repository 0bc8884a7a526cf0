"""How a search goes, beside what is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from telltale.errors import DataError, UsageError
from telltale.types import BoolArray, Float64Array

Metric = Literal["auc", "ap", "accuracy", "balanced_accuracy"]
METRICS: tuple[Metric, ...] = ("auc", "ap", "accuracy", "balanced_accuracy")
"""Higher is better in all. Accuracy is at a logit of 0: what the model itself would say."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """Which settings are tried, how they are judged, and what does the work."""

    split: str | None = None
    """Its test side is left alone. None: the only one there is."""
    folds: int = 5
    """No group is in two."""
    n_random: int | None = None
    """So many settings, drawn from the grid. None: all."""
    metric: Metric = "auc"
    """What settings are judged by: its mean over the folds."""
    seed: int = 0
    """Of the folds and of the draw."""
    refit: bool = True
    """Train the best setting on the split itself."""
    weights: str | None = None
    """Where networks begin, as in `TrainSettings`. Models on pixels begin from nothing."""
    workers: int = 1
    """Processes that load and augment, for networks."""
    n_threads: int = 2
    """Threads that compute."""
    resume: bool = False
    """Go on with the search that OUT holds."""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"--metric must be one of {', '.join(METRICS)}, got {self.metric!r}")
        if self.folds < 2:
            raise UsageError(f"--folds wants 2 or more, got {self.folds}")
        if self.n_random is not None and self.n_random < 1:
            raise UsageError(f"--random wants 1 or more, got {self.n_random}")


class Held(NamedTuple):
    """What a setting said of the faces that a fold held out."""

    setting: int
    """Its place among the recipes."""
    label: npt.NDArray[np.int64]
    """(n,)"""
    logit: Float64Array
    """(n,), in the order of `label`."""
    seconds: float
    """What training and judging took."""


def check_folds(label: npt.NDArray[np.int64], held: Sequence[BoolArray]) -> None:
    """`label` (n,) of the faces, `held` (n,) which of them each fold holds out. Raises DataError where a fold has
    faces of one class only: nothing can be judged on it."""
    for number, mine in enumerate(held, start=1):
        for value, name in ((0, "real"), (1, "fake")):
            if not (label[mine] == value).any():
                raise DataError(
                    f"fold {number} of {len(held)} holds no {name} face: there are too few groups with one, so ask for "
                    "fewer --folds"
                )
