"""How far `prepare` is, and how fast."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far `prepare` is; counted in videos, or in pictures where the data set has only those."""

    n_total: int
    n_done: int = 0
    n_skipped: int = 0
    """Of those done: done by an earlier run."""
    n_failed: int = 0
    n_faces: int = 0
    n_stored: int | None = None
    """How many are in the new shards; None until all are done."""


class Rate:
    """Records a second and seconds left, from what this run did itself: what an earlier run did took no time now."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def of(self, progress: Progress) -> tuple[float, float | None]:
        """(records a second, seconds left or None as long as nothing was done)."""
        done = progress.n_done - progress.n_skipped
        rate = done / max(time.monotonic() - self._started, 1e-9)
        return rate, (progress.n_total - progress.n_done) / rate if rate > 0 else None
