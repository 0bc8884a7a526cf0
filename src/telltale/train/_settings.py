"""How a run goes, beside its recipe.

>>> TrainSettings(weights="none", workers=0).n_threads_here() > 0
True
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from telltale import models
from telltale._cores import usable_cores
from telltale.errors import UsageError
from telltale.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Where a run begins, what it may learn from, and what does the work.

    A model on pixels is fitted at once, from nothing, in one process: of these it takes `split`, `allow_leaks` and
    `n_threads`, refuses those that would change what is learned or where, and has no use for `workers`.
    """

    weights: str | None = None
    """Where the network begins: `hub` (timm's), a file, a bundle, or `none` for random ones. None: what the recipe
    says, or `hub`."""
    split: str | None = None
    """Of the stores. None: the only one there is."""
    allow_leaks: bool = False
    """Go on where a group is on two sides; the card's limits count them."""
    resume: bool = False
    """Go on with the run that OUT holds."""
    workers: int = 1
    """Processes that load and augment; 0 = none of their own. They do not change the result, nor do threads."""
    n_threads: int | None = None
    """Threads that compute. None: one a core that this process may use."""
    cache: str | Path | None = None
    """Keeps the features of frozen backbones for other runs. None: in OUT."""
    devices: int = 1
    """Processes on this machine that share the recipe's batch. Beyond rounding, batch norm and the losses of
    embeddings they do not change the result, nor do nodes."""
    nodes: int = 1
    """Machines, each with the same command (`_ranks`)."""

    def __post_init__(self) -> None:
        if self.devices < 1 or self.nodes < 1:
            raise UsageError(f"--devices and --nodes want 1 or more, got {self.devices} and {self.nodes}")

    def begin(self, recipe: Recipe) -> models.Weights:
        """What the network of `recipe` begins with."""
        return models.Weights(self.weights or recipe.weights or "hub")

    @property
    def n_processes(self) -> int:
        """On all machines."""
        return self.devices * self.nodes

    def n_threads_here(self) -> int:
        """`n_threads`, counted on this machine where they are one a core."""
        return self.n_threads or usable_cores()
